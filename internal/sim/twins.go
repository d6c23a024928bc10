package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// TwinsOptions say what a run of twins does: devices and a service patch both
// sections of twins while the node is killed. Binary, Dir, Out, Seed, Kafka,
// OneProcess and Fault of Options count, Devices is the number of twins and
// Rounds that of kills at least.
type TwinsOptions struct {
	Options
	Patches int // from both sides together; 0: 1,000
	Writers int // that work at the same time, half of them devices; 0: 64
}

// twinsRun is one RunTwins under way.
type twinsRun struct {
	run
	o       TwinsOptions
	devices []*twinDevice
	service atomic.Pointer[node] // how the service reaches the node that runs
	done    atomic.Int64         // patches of the round
	found   sync.Mutex           // guards verdict while writers run
	verdict TwinsVerdict
}

// RunTwins starts a log, a node and devices, lets devices and a service patch
// twins while the node is killed, and compares every twin with what the answers
// and reads before allow.
func RunTwins(ctx context.Context, o TwinsOptions) (*TwinsVerdict, error) {
	if o.Rounds == 0 {
		o.Rounds = 4
	}
	var err error
	if o.Options, err = o.ensureDefaults(); err != nil {
		return nil, err
	}
	if o.Patches < 0 || o.Writers < 0 {
		return nil, fmt.Errorf("%w: counts must not be negative", ErrOptions)
	}
	if o.Patches == 0 {
		o.Patches = 1000
	}
	if o.Writers == 0 {
		o.Writers = 64
	}
	o.Writers = min(o.Writers+o.Writers%2, 2*o.Devices)
	started := time.Now()
	r := &twinsRun{o: o}
	r.run = run{o: &r.o.Options, hub: fmt.Sprintf("%s%d_%d", HubPrefix, o.Seed, os.Getpid()), rng: rand.New(rand.NewPCG(o.Seed, 1)), plain: true}
	stop, err := r.startLogs(ctx)
	if err != nil {
		return nil, err
	}
	defer stop()
	defer r.leave()
	if err := r.setUp(ctx); err != nil {
		return nil, err
	}
	for i := range o.Rounds {
		if err := r.round(ctx, i); err != nil {
			return &r.verdict, fmt.Errorf("round %d: %w", i+1, err)
		}
	}
	err = r.judge(ctx)
	r.verdict.Elapsed = time.Since(started)
	return &r.verdict, err
}

func (r *twinsRun) setUp(ctx context.Context) error {
	if !r.o.OneProcess {
		if err := r.run.start(ctx, r.active); err != nil {
			return err
		}
	}
	r.serve()
	r.devices = make([]*twinDevice, r.o.Devices)
	r.verdict.Devices = r.o.Devices
	g, making := errgroup.WithContext(ctx)
	g.SetLimit(32)
	for i := range r.devices {
		g.Go(func() error {
			id := fmt.Sprintf("device-%d", i)
			key, err := r.service.Load().device(making, id)
			r.devices[i] = &twinDevice{id: id, key: key, at: &r.fleet.at, reported: newSection(), desired: newSection()}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return r.connectAll(ctx)
}

// serve lets the service reach the node that runs now. Writers go on with what
// they have until then, so it is a copy.
func (r *twinsRun) serve() {
	at := &node{name: r.active.name, admin: r.active.admin, token: r.active.token, http: r.active.http}
	r.service.Store(at)
}

func (r *twinsRun) start(ctx context.Context) error {
	if err := r.run.start(ctx, r.active); err != nil {
		return err
	}
	r.serve()
	return nil
}

// connectAll connects the devices that are not: a change of desired properties
// is heard by those alone that have a session.
func (r *twinsRun) connectAll(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for _, d := range r.devices {
		g.Go(func() error {
			_, err := d.connected(ctx)
			return err
		})
	}
	return g.Wait()
}

// round shares the round's patches out among the writers and kills the node at a
// random part of the way, and sometimes once more soon after.
func (r *twinsRun) round(ctx context.Context, i int) error {
	ctx, cancel := context.WithTimeout(ctx, roundWithin+time.Duration(r.o.Patches)*time.Millisecond)
	defer cancel()
	began := time.Now()
	patches := r.o.Patches*(i+1)/r.o.Rounds - r.o.Patches*i/r.o.Rounds
	r.done.Store(0)
	g, ctx := errgroup.WithContext(ctx)
	for w := range r.o.Writers {
		share := patches*(w+1)/r.o.Writers - patches*w/r.o.Writers
		rng := rand.New(rand.NewPCG(r.o.Seed, uint64(1000+i*r.o.Writers+w)))
		g.Go(func() error { return r.writer(ctx, w, share, rng) })
	}
	after := int64(float64(patches) * (0.1 + 0.7*r.rng.Float64()))
	for r.done.Load() < after && pause(ctx, time.Millisecond) {
	}
	again := r.rng.IntN(3) == 0
	r.kill()
	if err := r.start(ctx); err != nil {
		return errors.Join(err, g.Wait())
	}
	if again {
		pause(ctx, upTo(r.rng, time.Second))
		r.kill()
		if err := r.start(ctx); err != nil {
			return errors.Join(err, g.Wait())
		}
	}
	g.Go(func() error { return r.connectAll(ctx) })
	if err := g.Wait(); err != nil {
		return err
	}
	v := &r.verdict
	fmt.Fprintf(r.o.Out, "round %d: %.1f s; %d patches, %d accepted, %d without an answer, %d kills\n",
		i+1, time.Since(began).Seconds(), v.Patches, v.Accepted, v.Unknown, v.Kills)
	return nil
}

func (r *twinsRun) kill() {
	r.active.kill()
	r.verdict.Kills++
}

// writer sends patches one at a time to devices of its own. Even writers are the
// devices, odd ones the service; a section has one writer, so that answers and
// reads are in an order that is known.
func (r *twinsRun) writer(ctx context.Context, w, patches int, rng *rand.Rand) error {
	step := r.o.Writers / 2
	for range patches {
		mine := (len(r.devices) - w/2 + step - 1) / step
		d := r.devices[w/2+step*rng.IntN(mine)]
		var err error
		if w%2 == 0 {
			err = r.patch(ctx, d, &d.reported, "reported", d.patchReported, d.readReported)
		} else {
			err = r.patch(ctx, d, &d.desired, "desired", r.patchDesired, r.readDesired)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", d.id, err)
		}
		r.done.Add(1)
	}
	return nil
}

// patch sends one patch and, when it does not learn what became of it, reads the
// twin until it is shown.
func (r *twinsRun) patch(ctx context.Context, d *twinDevice, s *section, name string,
	send func(context.Context, *twinDevice, []byte) (int64, error), read func(context.Context, *twinDevice) (view, error)) error {
	n := s.next()
	version, err := send(ctx, d, patchOf(n))
	known := err == nil
	r.count(func(v *TwinsVerdict) {
		v.Patches++
		if known {
			v.Accepted++
		} else {
			v.Unknown++
		}
	})
	if known {
		if known, err = s.answered(version); err != nil {
			r.find(fmt.Errorf("%s of %s: %w", name, d.id, err))
		}
	}
	for !known {
		got, err := read(ctx, d)
		if err == nil {
			r.compare(d, s, name, got)
			return nil
		}
		if !pause(ctx, reconnect) {
			return ctx.Err()
		}
	}
	return nil
}

// compare judges a twin as it was read. After a finding the twin counts as it
// is, so that each is found once.
func (r *twinsRun) compare(d *twinDevice, s *section, name string, got view) {
	before := len(s.history)
	err := s.read(got.version, got.doc)
	if err == nil && len(s.open) > maxOpen {
		err = fmt.Errorf("%w: %d patches in a row were not answered", errTwinWrong, len(s.open))
	}
	if err != nil {
		r.find(fmt.Errorf("%s of %s: %w", name, d.id, err))
		s.version, s.floor, s.doc, s.open = got.version, got.version, got.doc, nil
		return
	}
	r.count(func(v *TwinsVerdict) { v.Applied += len(s.history) - before })
}

func (r *twinsRun) count(f func(*TwinsVerdict)) {
	r.found.Lock()
	defer r.found.Unlock()
	f(&r.verdict)
}

func (r *twinsRun) find(err error) { r.count(func(v *TwinsVerdict) { v.find(err) }) }

// patchDesired has the service patch desired properties.
func (r *twinsRun) patchDesired(ctx context.Context, d *twinDevice, patch []byte) (int64, error) {
	body := json.RawMessage(fmt.Appendf(nil, `{"properties":{"desired":%s}}`, patch))
	got, err := r.twin(ctx, http.MethodPatch, d.id, body)
	return got.Desired.version, err
}

func (r *twinsRun) readDesired(ctx context.Context, d *twinDevice) (view, error) {
	got, err := r.twin(ctx, http.MethodGet, d.id, nil)
	return got.Desired, err
}

type sections struct{ Desired, Reported view }

func (r *twinsRun) twin(ctx context.Context, method, id string, body any) (sections, error) {
	var t struct{ Properties sections }
	err := r.service.Load().once(ctx, method, "/twins/"+id, body, &t)
	return t.Properties, err
}

// judge reads every twin and what its device heard.
func (r *twinsRun) judge(ctx context.Context) error {
	g, reading := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for _, d := range r.devices {
		g.Go(func() error {
			var got sections
			for {
				var err error
				if got, err = r.twin(reading, http.MethodGet, d.id, nil); err == nil {
					break
				}
				if !pause(reading, 10*lookEvery) {
					return fmt.Errorf("read twin %s: %w", d.id, err)
				}
			}
			r.compare(d, &d.reported, "reported", got.Reported)
			r.compare(d, &d.desired, "desired", got.Desired)
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	r.leave()
	for _, d := range r.devices {
		missed, problems := judgeNotifications(d.heard, d.desired.history)
		r.verdict.Notifications += len(d.heard)
		r.verdict.Missed += missed
		for _, p := range problems {
			r.verdict.find(fmt.Errorf("a notification of %s: %s", d.id, p))
		}
	}
	return nil
}

func (r *twinsRun) leave() {
	for _, d := range r.devices {
		if d != nil {
			d.leave()
		}
	}
}
