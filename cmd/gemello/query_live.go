package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

const (
	// liveSilence is how long a stream may say nothing, not even that it is alive,
	// before it is begun anew.
	liveSilence = 60 * time.Second
	// livePatience is how long a node may be away.
	livePatience = 2 * time.Minute
	liveFirstTry = 100 * time.Millisecond
	liveLastTry  = 5 * time.Second
	// maxLiveLine bounds an event: a row is at most a twin.
	maxLiveLine = 4 << 20
)

// liveFollower follows a query over ends of the stream and of the node.
type liveFollower struct {
	flags *adminFlags
	text  string
	id    string // position to resume from
	print func(line []byte) error
}

// liveEnd is the end of a stream that says why.
type liveEnd struct {
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

func (e *liveEnd) Error() string { return e.Message }

// final reports whether following again would end alike.
func (e *liveEnd) final() bool {
	return e.Reason != "slow" && e.Reason != "stopping" && e.Reason != "missed"
}

// followLive prints events until the command is interrupted, which is its regular
// end.
func (f *adminFlags) followLive(cmd *cobra.Command, text string) error {
	ctx, stop := interruptible(cmd.Context())
	defer stop()
	l := &liveFollower{flags: f, text: text, print: func(line []byte) error {
		_, err := fmt.Fprintf(f.app.stdout, "%s\n", line)
		return err
	}}
	err := l.run(ctx)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (l *liveFollower) run(ctx context.Context) error {
	wait := liveFirstTry
	since := time.Now()
	for began := false; ; {
		heard, err := l.once(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if heard {
			began, since, wait = true, time.Now(), liveFirstTry
		}
		var end *liveEnd
		var answer *adminError
		switch {
		case errors.As(err, &end) && end.final(), errors.Is(err, errPrint):
			return err
		case errors.As(err, &answer) && answer.Status != http.StatusServiceUnavailable && answer.Status != http.StatusTooManyRequests:
			return err
		case !began && end == nil, time.Since(since) > livePatience:
			return err // it never worked, or not for long
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
		wait = min(2*wait, liveLastTry)
	}
}

// errPrint means that standard output takes nothing.
var errPrint = errors.New("write to standard output")

// once follows one stream to its end, which is always an error; heard tells that
// it had begun.
func (l *liveFollower) once(ctx context.Context) (heard bool, err error) {
	// The node may have come back at another port.
	c, err := l.flags.client()
	if err != nil {
		return false, err
	}
	defer c.Close()
	body, err := json.Marshal(map[string]string{"query": l.text})
	if err != nil {
		return false, err
	}
	header := http.Header{"Accept": {"text/event-stream"}}
	if l.id != "" {
		header.Set("Last-Event-ID", l.id)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	silence := time.AfterFunc(liveSilence, cancel)
	defer silence.Stop()
	resp, err := c.request(ctx, http.MethodPost, "/query", nil, header, body)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(make([]byte, 0, 64<<10), maxLiveLine)
	var event, data string
	for lines.Scan() {
		silence.Reset(liveSilence)
		if strings.HasPrefix(lines.Text(), ":") {
			continue // a sign of life
		}
		name, value, _ := strings.Cut(lines.Text(), ": ")
		switch name {
		case "event":
			event = value
		case "data":
			data = value
		case "id":
			l.id = value
		case "":
			if event != "" {
				if err := l.take(event, data); err != nil {
					return true, err
				}
			}
			event, data = "", ""
		}
	}
	if err := lines.Err(); err != nil {
		return true, fmt.Errorf("read events: %w", err)
	}
	return true, errors.New("the node ended the events of the query; it has stopped, or look at its log")
}

// take prints an event as one line of JSON.
func (l *liveFollower) take(event, data string) error {
	if event == "cut" {
		end := &liveEnd{Message: "the node ended the events of the query"}
		if err := json.Unmarshal([]byte(data), end); err != nil {
			return fmt.Errorf("read the end of the events: %w", err)
		}
		return end
	}
	line := append([]byte(`{"event":`), quoteJSON(event)...)
	if rest := strings.TrimPrefix(data, "{"); rest != "}" {
		line = append(line, ',')
		line = append(line, rest...)
	} else {
		line = append(line, '}')
	}
	if !json.Valid(line) {
		return fmt.Errorf("the event %q is not the JSON expected", event)
	}
	if err := l.print(line); err != nil {
		return fmt.Errorf("%w: %w", errPrint, err)
	}
	return nil
}

// quoteJSON is a string as JSON.
func quoteJSON(s string) []byte {
	b, err := json.Marshal(s)
	if err != nil {
		return []byte(`""`) // no string fails
	}
	return b
}
