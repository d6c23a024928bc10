//go:build unix

package sim

import (
	"os"

	"golang.org/x/sys/unix"
)

func terminate(p *os.Process) error { return p.Signal(unix.SIGTERM) }
func freeze(p *os.Process) error    { return p.Signal(unix.SIGSTOP) }
func thaw(p *os.Process) error      { return p.Signal(unix.SIGCONT) }
