package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/gemello/gemello/device"
)

// Headers of log positions (docs/operate/admin-api.md).
const (
	headerAfter    = "x-gemello-after"
	headerPosition = "x-gemello-log-position"
)

// positionFlags are those of commands whose answer is read from the log or goes
// into it.
type positionFlags struct {
	after string // to wait for
	show  bool
	at    *device.Positions // what the answers so far reflect
}

// addPositionFlags declares them on a command.
func (f *adminFlags) addPositionFlags(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVar(&f.positions.after, "after", "", "answer only from a state that holds this log position, PARTITION:OFFSET[,…]")
	fs.BoolVar(&f.positions.show, "position", false, `print the log position that the answer reflects, to standard error; with --json, {"position":…,"result":…}`)
	f.positions.at = &device.Positions{}
}

// ask sets what a request has to wait for.
func (p *positionFlags) ask(h http.Header) {
	if p != nil && p.after != "" {
		h.Set(headerAfter, p.after)
	}
}

// note keeps what an answer reflects; of several answers the oldest counts.
func (p *positionFlags) note(h http.Header) {
	if p == nil || p.at == nil {
		return
	}
	list, err := device.ParsePositions(h.Get(headerPosition))
	if err != nil {
		return // of another version, which says it otherwise
	}
	ctx := device.WithPositions(context.Background(), p.at)
	for _, at := range list {
		device.NotePosition(ctx, at)
	}
}

// wrap is a result with its position.
func (p *positionFlags) wrap(result any) any {
	return struct {
		Position string `json:"position"`
		Result   any    `json:"result"`
	}{p.at.String(), result}
}

// printPosition ends a command's output for people.
func (f *adminFlags) printPosition() error {
	if !f.positions.show || f.json {
		return nil
	}
	_, err := fmt.Fprintf(f.app.stderr, "position %s\n", f.positions.at)
	return err
}

// withPosition is what --json prints of a result.
func (f *adminFlags) withPosition(result any) any {
	if !f.positions.show || !f.json {
		return result
	}
	return f.positions.wrap(result)
}

// rawWithPosition is withPosition of JSON as it was answered.
func (f *adminFlags) rawWithPosition(raw json.RawMessage) (json.RawMessage, error) {
	if !f.positions.show || !f.json {
		return raw, nil
	}
	return json.Marshal(f.positions.wrap(raw))
}
