package bench

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gemello/gemello/persistence/eventlog"
)

// logProcess is a gemello log of its own.
type logProcess struct {
	*process
	addr string
}

// startLog starts binary with the log alone on a free port.
func startLog(ctx context.Context, binary, data string, args ...string) (*logProcess, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	args = append([]string{"log", "--data", data, "--listen", "127.0.0.1:0", "--log-level", "warn"}, args...)
	p, err := startProcessTo(w, binary, args...)
	w.Close()
	if err != nil {
		r.Close()
		return nil, err
	}
	line := make(chan string, 1)
	go func() {
		defer r.Close()
		s, _ := bufio.NewReader(r).ReadString('\n')
		line <- s
		_, _ = io.Copy(io.Discard, r) // until the process ends
	}()
	select {
	case s := <-line:
		addr, ok := strings.CutPrefix(strings.TrimSpace(s), "listening on ")
		if !ok {
			p.stop()
			return nil, fmt.Errorf("%s log said %q, not where it listens: %s", binary, s, p.stderr.b)
		}
		return &logProcess{p, addr}, nil
	case <-ctx.Done():
		p.stop()
		return nil, ctx.Err()
	}
}

// logTarget is a log under load.
type logTarget struct {
	name string
	// A log that is started for each round, in a directory of its own.
	binary    string
	syncDelay time.Duration
	dir       string
	// A log that runs already, and flush.messages of the topics made on it.
	seeds []string
	flush int64

	measures []*measure
}

// measure holds what rounds measured.
type measure struct {
	name   string
	values []float64
}

const measureSingle = "single_p50_us"

func (t *logTarget) add(name string, v float64) {
	for _, m := range t.measures {
		if m.name == name {
			m.values = append(m.values, v)
			return
		}
	}
	t.measures = append(t.measures, &measure{name, []float64{v}})
}

func (t *logTarget) values(name string) []float64 {
	for _, m := range t.measures {
		if m.name == name {
			return m.values
		}
	}
	return nil
}

// round measures everything once on topics of its own.
func (t *logTarget) round(ctx context.Context, o *LogOptions, round int, out io.Writer) (err error) {
	load := &logLoad{LogOptions: o, target: t, out: out, prefix: "bench-" + strings.ToLower(rand.Text()[:8])}
	seeds := t.seeds
	if t.binary != "" {
		data := filepath.Join(t.dir, fmt.Sprintf("%s-%d", strings.ReplaceAll(t.name, "/", "-"), round))
		var args []string
		if t.syncDelay > 0 {
			args = append(args, "--sync-delay", t.syncDelay.String())
		}
		load.process, err = startLog(ctx, t.binary, data, args...)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(data)) }()
		defer load.process.stop()
		seeds = []string{load.process.addr}
	}
	load.log, err = eventlog.Open(ctx, eventlog.Options{Seeds: seeds})
	if err != nil {
		return err
	}
	defer load.log.Close()
	if t.binary == "" {
		defer func() { err = errors.Join(err, load.log.DeleteTopics(context.WithoutCancel(ctx), load.topics...)) }()
	}
	for _, n := range o.Producers {
		if err := load.produce(ctx, n); err != nil {
			return fmt.Errorf("%d producers: %w", n, err)
		}
	}
	if err := load.single(ctx); err != nil {
		return fmt.Errorf("one record at a time: %w", err)
	}
	topic, err := load.fill(ctx, o.Records)
	if err != nil {
		return fmt.Errorf("fill a topic: %w", err)
	}
	for _, n := range o.Consumers {
		if err := load.consume(ctx, topic, n); err != nil {
			return fmt.Errorf("%d consumers: %w", n, err)
		}
	}
	return nil
}
