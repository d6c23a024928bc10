package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gemello/gemello/persistence/eventlog"
)

// run is one Run under way.
type run struct {
	o       *Options
	hub     string
	base    time.Time
	rng     *rand.Rand
	log     *eventlog.Log
	ledger  *ledger
	fleet   fleet
	feeder  *feeder
	active  *node // serves the devices
	other   *node // its data directory may be old
	plain   bool  // devices connect without TLS
	replans int
	verdict Verdict
}

// roundWithin bounds a round, generously: what takes longer is stuck. A broker
// that was killed can take a minute to end the transactions it finds open.
const roundWithin = 4 * time.Minute

// settleWithin is how long committed rows may take to be complete at the end, and
// settleBad how long they are waited for when the verdict is certain.
const (
	settleWithin = 30 * time.Second
	settleBad    = 5 * time.Second
)

// Run starts everything, goes through the rounds and judges. The error says that
// the run could not be carried out; what it found is in the verdict.
func Run(ctx context.Context, o Options) (*Verdict, error) {
	o, err := o.ensureDefaults()
	if err != nil {
		return nil, err
	}
	started := time.Now()
	r := &run{
		o: &o, hub: fmt.Sprintf("%s%d_%d", HubPrefix, o.Seed, os.Getpid()), base: began(started),
		rng: rand.New(rand.NewPCG(o.Seed, 1)), ledger: newLedger(),
	}
	stop, err := r.startLogs(ctx)
	if err != nil {
		return nil, err
	}
	defer stop()
	defer r.fleet.leave()
	if err := r.setUp(ctx); err != nil {
		return nil, err
	}
	defer r.feeder.appender.Close()
	d := deck
	if o.OneProcess {
		d = together
	}
	for i, incident := range schedule(o.Rounds, d, r.rng) {
		if err := r.round(ctx, i, incident); err != nil {
			return &r.verdict, fmt.Errorf("round %d (%s): %w", i+1, incident, err)
		}
	}
	err = r.judge(ctx)
	r.verdict.Elapsed = time.Since(started)
	return &r.verdict, err
}

// startLogs brings up a log, alone or with the first node, and connects to it.
func (r *run) startLogs(ctx context.Context) (stop func(), err error) {
	var closers []func()
	stop = func() {
		for _, c := range slices.Backward(closers) {
			c()
		}
	}
	defer func() {
		if err != nil {
			stop()
		}
	}()
	args := []string{"--hub", r.hub, "--log.partitions", "4"}
	seeds := r.o.Kafka
	switch {
	case r.o.OneProcess:
		addr, err := freePort(loopback(1))
		if err != nil {
			return stop, err
		}
		seeds = []string{addr}
		args = append(args, "--log.listen", addr)
	case len(seeds) == 0:
		p, addr, err := startLog(ctx, r.o, filepath.Join(r.o.Dir, "log"))
		if err != nil {
			return stop, err
		}
		closers = append(closers, func() { p.stop(stopWithin) })
		seeds = []string{addr}
	}
	if !r.o.OneProcess {
		args = append(args, "--kafka", strings.Join(seeds, ","))
	}
	if r.plain {
		args = append(args, "--listeners.mqtt", loopback(1)+":0")
	}
	r.active, r.other = newNode(r.o, "a", 1, args...), newNode(r.o, "b", 2, args...)
	closers = append(closers, func() {
		for _, n := range []*node{r.active, r.other} {
			if n.running() {
				n.kill()
			}
		}
	})
	if r.o.OneProcess {
		if err := r.start(ctx, r.active); err != nil {
			return stop, err
		}
	}
	if r.log, err = eventlog.Open(ctx, eventlog.Options{Seeds: seeds}); err != nil {
		return stop, err
	}
	closers = append(closers, r.log.Close)
	return stop, nil
}

// setUp starts the first node, if it does not run, with pipelines and devices.
func (r *run) setUp(ctx context.Context) error {
	err := r.log.EnsureTopics(ctx, eventlog.TopicSpec{Name: inputTopic(r.hub), Partitions: inputPartitions})
	if err != nil {
		return err
	}
	if !r.o.OneProcess {
		if err := r.start(ctx, r.active); err != nil {
			return err
		}
		if err := r.active.lend(r.other); err != nil {
			return err
		}
	}
	for i := range queries {
		q := &queries[i]
		if err := r.active.call(ctx, http.MethodPut, "/pipelines/"+q.name, q.spec(r.hub), nil); err != nil {
			return err
		}
	}
	for i := range r.o.Devices {
		id := fmt.Sprintf("device-%d", i)
		key, err := r.active.device(ctx, id)
		if err != nil {
			return err
		}
		r.fleet.senders = append(r.fleet.senders, &sender{
			id: id, key: key, at: &r.fleet.at, ledger: r.ledger, spread: r.o.Spread,
			rng: rand.New(rand.NewPCG(r.o.Seed, uint64(100+i))),
		})
	}
	r.feeder = &feeder{topic: inputTopic(r.hub), seq: map[string]int64{}, ledger: r.ledger, rng: rand.New(rand.NewPCG(r.o.Seed, 2))}
	for i := range max(1, r.o.Devices/2) {
		r.feeder.keys = append(r.feeder.keys, fmt.Sprintf("unit-%d", i))
	}
	r.feeder.appender, err = r.log.NewAppender(eventlog.AppenderOptions{})
	return err
}

// start starts a node and sends the devices to it.
func (r *run) start(ctx context.Context, n *node) error {
	at, err := n.start(ctx, r.flushRecords())
	if err != nil {
		return err
	}
	r.fleet.at.Store(at)
	return nil
}

// flushRecords draws how often a node flushes: never, now and then, all the time.
func (r *run) flushRecords() int64 {
	const never = 1 << 40
	if r.o.HoldFlushes {
		return never
	}
	return [...]int64{never, 200, 10}[r.rng.IntN(3)]
}

// round lets everybody send and the incident happen meanwhile.
func (r *run) round(ctx context.Context, i int, incident Incident) error {
	ctx, cancel := context.WithTimeout(ctx, roundWithin)
	defer cancel()
	started := time.Now()
	from := r.base.Add(time.Duration(i) * roundSpan)
	sent := make(chan error, 2)
	go func() { sent <- r.fleet.batch(ctx, from, r.o.Batch) }()
	go func() { sent <- r.feeder.batch(ctx, from, r.o.Batch) }()
	disturbed := make(chan error, 1)
	if r.o.Disturb != nil && (i+1)%r.o.DisturbEvery == 0 {
		go func() { disturbed <- r.o.Disturb() }()
	} else {
		disturbed <- nil
	}
	err := r.suffer(ctx, incident)
	if err != nil {
		cancel() // nobody may be there to acknowledge
	}
	err = errors.Join(err, <-sent, <-sent, <-disturbed)
	if err != nil {
		return err
	}
	took := time.Since(started)
	r.verdict.Rounds++
	r.verdict.LongestRound = max(r.verdict.LongestRound, took)
	published, acked, resent := r.ledger.totals()
	fmt.Fprintf(r.o.Out, "round %d: %s, %.1f s; %d published, %d acknowledged, %d sent again, %d takeovers, %d replayed\n",
		i+1, incident, took.Seconds(), published, acked, resent, r.verdict.Takeovers, r.verdict.Replayed)
	return nil
}

// moment waits for a random part of the time that a batch takes.
func (r *run) moment(ctx context.Context) {
	pause(ctx, upTo(r.rng, r.o.Spread*5/4))
}

// suffer makes the incident happen.
func (r *run) suffer(ctx context.Context, incident Incident) error {
	r.moment(ctx)
	r.count(ctx)
	switch incident {
	case Kill:
		r.kill(r.active)
		if _, err := os.Stat(r.active.keptDir()); r.o.OneProcess && errors.Is(err, os.ErrNotExist) {
			if err := r.active.age(); err != nil { // for the first Old
				return err
			}
		}
	case KillTwo:
		r.kill(r.active)
		if err := r.start(ctx, r.active); err != nil {
			return err
		}
		pause(ctx, upTo(r.rng, 200*time.Millisecond))
		r.kill(r.active)
	case Stop:
		if err := r.active.process.stop(stopWithin); err != nil {
			return err
		}
	case Lose:
		r.kill(r.active)
		if err := r.active.lose(); err != nil {
			return err
		}
	case Old:
		r.kill(r.active)
		if r.o.OneProcess {
			if err := r.active.age(); err != nil {
				return err
			}
			break
		}
		r.active, r.other = r.other, r.active
	case Early:
		r.kill(r.active)
		if err := r.active.launch(r.flushRecords()); err != nil {
			return err
		}
		pause(ctx, upTo(r.rng, 400*time.Millisecond))
		r.kill(r.active)
	case Stall:
		return r.stall(ctx)
	case Takeover, Frozen:
		return r.takeOver(ctx, incident == Frozen)
	case Plans:
		if err := r.replan(ctx); err != nil {
			return err
		}
		pause(ctx, upTo(r.rng, 200*time.Millisecond))
		r.kill(r.active)
	}
	return r.start(ctx, r.active)
}

// stall freezes node and log for a while, so that everybody's time-outs pass.
func (r *run) stall(ctx context.Context) error {
	p := r.active.process.cmd.Process
	if err := freeze(p); err != nil {
		return err
	}
	pause(ctx, upTo(r.rng, 10*r.o.Spread))
	return thaw(p)
}

// replan applies, changes or deletes one more pipeline beside those that are
// judged; its own rows begin and end in the middle of windows and say nothing.
func (r *run) replan(ctx context.Context) error {
	const name = "passing"
	r.replans++
	if r.replans%3 == 0 {
		return r.active.call(ctx, http.MethodDelete, "/pipelines/"+name, nil, nil)
	}
	q := query{name: name, size: time.Duration(r.replans%3) * time.Minute, hop: time.Minute}
	return r.active.call(ctx, http.MethodPut, "/pipelines/"+name, q.spec(r.hub), nil)
}

func (r *run) kill(n *node) {
	n.kill()
	r.verdict.Kills++
}

// count adds what the node has replayed since it started.
func (r *run) count(ctx context.Context) {
	if r.active.running() {
		r.verdict.Replayed += int64(r.active.replayed(ctx))
	}
}

// takeOver starts the other node while the first runs, or is frozen. The first
// must stop working by itself.
func (r *run) takeOver(ctx context.Context, frozen bool) error {
	first := r.active
	if frozen {
		if err := freeze(first.process.cmd.Process); err != nil {
			return err
		}
	}
	if err := r.start(ctx, r.other); err != nil {
		return err
	}
	r.active, r.other = r.other, first
	r.verdict.Takeovers++
	if r.rng.IntN(2) == 0 || frozen {
		r.fleet.leave() // and connect to the second
	}
	if frozen {
		pause(ctx, upTo(r.rng, r.o.Spread))
		if err := thaw(first.process.cmd.Process); err != nil {
			return err
		}
	}
	if err := first.fenced(ctx); err != nil {
		r.verdict.find(&r.verdict.Unfenced, "%v", err)
	}
	r.kill(first)
	return nil
}

// judge closes all windows, waits until the rows are there and compares.
func (r *run) judge(ctx context.Context) error {
	last := r.base.Add(time.Duration(r.verdict.Rounds) * roundSpan)
	if err := r.close(ctx, last); err != nil {
		return fmt.Errorf("close the windows: %w", err)
	}
	ends := time.Now()
	if r.o.OneProcess {
		pause(ctx, settleTogether)
	}
	for {
		views := map[string]json.RawMessage{}
		for _, d := range r.fleet.senders {
			var view json.RawMessage
			if err := r.active.call(ctx, http.MethodGet, "/twins/"+d.id, nil, &view); err != nil {
				return err
			}
			views[d.id] = view
		}
		var inputs *account
		err := r.audit(ctx, func(log *eventlog.Log) (err error) {
			if inputs, err = readInputs(ctx, log, r.hub); err != nil {
				return err
			}
			return inputs.readOutputs(ctx, log, r.hub)
		})
		if err != nil {
			return err
		}
		v := r.verdict
		v.Findings = append([]string(nil), v.Findings...)
		v.judgeMessages(r.ledger, inputs)
		v.judgeRows(inputs, last.Add(roundSpan))
		v.judgeTwins(r.ledger, inputs, views)
		v.LongestEnd = time.Since(ends)
		// A row that is missing may be on its way; what is there twice stays so.
		bad := v.LostMessages+v.Doubled+v.Unfenced > 0
		if v.Passed() || v.LongestEnd > settleWithin || bad && v.LongestEnd > settleBad {
			r.count(ctx)
			v.Replayed = r.verdict.Replayed
			v.Records = len(inputs.facts) + len(inputs.input)
			v.Published, v.Acknowledged, v.Resent = r.ledger.totals()
			r.verdict = v
			if !r.active.running() {
				return nil
			}
			return r.active.process.stop(stopWithin)
		}
		if !r.active.running() {
			if err := r.start(ctx, r.active); err != nil {
				return err
			}
			if !pause(ctx, settleTogether) {
				return ctx.Err()
			}
		}
		if !pause(ctx, 500*time.Millisecond) {
			return ctx.Err()
		}
	}
}

// settleTogether is how long a node may work on what is left before it is
// stopped to read its log.
const settleTogether = 3 * time.Second

// audit reads the log. A node's own keeps most topics to itself, so that the
// node is stopped and its log served alone.
func (r *run) audit(ctx context.Context, read func(*eventlog.Log) error) error {
	if !r.o.OneProcess {
		return read(r.log)
	}
	r.count(ctx)
	if err := r.active.process.stop(stopWithin); err != nil {
		return err
	}
	p, addr, err := startLog(ctx, r.o, filepath.Join(r.active.data, "log"))
	if err != nil {
		return err
	}
	log, err := eventlog.Open(ctx, eventlog.Options{Seeds: []string{addr}})
	if err == nil {
		err = read(log)
		log.Close()
	}
	return errors.Join(err, p.stop(stopWithin))
}

// close sends what moves every watermark past the last window: first a reading
// in the middle of the next span, which must not be in any row, then nothing.
func (r *run) close(ctx context.Context, last time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, roundWithin)
	defer cancel()
	// Beyond the last window of the data by more than the tolerance.
	at := last.Add(roundSpan + outOfOrder + time.Minute)
	for _, d := range r.fleet.senders {
		d.seq++
		o := &outgoing{name: message{d.id, d.seq}, payload: reading(d.seq, at, 0)}
		if err := d.send(ctx, []*outgoing{o}, 0); err != nil {
			return err
		}
	}
	for _, k := range r.feeder.keys {
		if err := r.feeder.write(ctx, k, at); err != nil {
			return err
		}
	}
	return nil
}

// String is the line that ends a run.
func (v *Verdict) String() string {
	word := "PASSED"
	if !v.Passed() {
		word = "FAILED"
	}
	return word + ": " + strconv.Itoa(v.Rounds) + " rounds in " + v.Elapsed.Round(time.Second).String() +
		fmt.Sprintf(" (longest %.1f s), %d kills, %d takeovers, %d records replayed; %d messages published, %d acknowledged, %d sent again, %d records in the log, %d patches applied, %d rows; %d lost, %d doubled, %d wrong, %d not fenced",
			v.LongestRound.Seconds(), v.Kills, v.Takeovers, v.Replayed, v.Published, v.Acknowledged, v.Resent, v.Records, v.Patches, v.Rows, v.Lost, v.Doubled, v.Wrong, v.Unfenced)
}
