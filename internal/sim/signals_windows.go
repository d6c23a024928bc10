package sim

import (
	"errors"
	"os"
)

var errNoSignal = errors.New("not on this system")

// terminate kills: there is no polite way for a process without a console.
func terminate(p *os.Process) error { return p.Kill() }
func freeze(*os.Process) error      { return errNoSignal }
func thaw(*os.Process) error        { return errNoSignal }
