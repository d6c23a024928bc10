package bench

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/gemello/gemello/actors/partition"
	"github.com/gemello/gemello/persistence/store"
	"github.com/gemello/gemello/windows"
)

// coreRun drives one pipelines core as its host does, without a log: records
// come from a generator, effects are dropped where the host would commit them,
// and state is flushed to a store of its own by the same rule.
type coreRun struct {
	core   *partition.Pipelines
	store  *store.Store
	spare  *sync.Pool // of effects, shared like the host's
	record partition.Record
	flush  int64 // records between two flushes
	rows   int64
	taken  int // records since the effects were taken
}

const (
	takeRecords = 10_000  // a commit each half second at 20,000 records/s
	takeBytes   = 4 << 20 // what forces a commit
	flushEvery  = 200_000 // actors.Options.FlushRecords
	benchBudget = 256 << 20
)

// coreOptions say what a coreRun is made of.
type coreOptions struct {
	dir       string
	partition int32
	query     string
	late      windows.Tick
	budget    *windows.Budget
	cache     *store.Cache
	effects   *sync.Pool
}

// newEffectsPool lends effects to cores.
func newEffectsPool() *sync.Pool { return &sync.Pool{New: func() any { return &partition.Effects{} }} }

func newCoreRun(o coreOptions) (*coreRun, error) {
	s, err := store.Open(store.Options{Dir: filepath.Join(o.dir, strconv.Itoa(int(o.partition))), Cache: o.cache})
	if err != nil {
		return nil, err
	}
	r := &coreRun{store: s, spare: o.effects, flush: flushEvery}
	scratch, err := s.Scratch()
	if err == nil {
		r.core = partition.NewPipelines(partition.PipelinesOptions{
			Source: "telemetry", Partition: o.partition, State: s, Scratch: scratch, Budget: o.budget,
			DeadLetter: "dead-letter", Late: "late",
		}, 0)
		_, err = r.core.Switch([]partition.Definition{{
			Name: "bench", Query: o.query, Early: partition.DefaultEarly, Late: o.late,
		}}, 1, nil)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return r, nil
}

// apply hands over one record; key and value are not kept.
func (r *coreRun) apply(key, value []byte, ms int64) error {
	r.record.Arrival, r.record.Key, r.record.Value = windows.TickOfMillis(ms), key, value
	if err := r.core.Apply(&r.record); err != nil {
		return err
	}
	r.record.Offset++
	r.taken++
	if r.taken < takeRecords && r.core.Effects().Bytes() < takeBytes {
		return nil
	}
	r.take()
	if r.core.Unsaved() < r.flush {
		return nil
	}
	return r.save()
}

// take drops the effects so far.
func (r *coreRun) take() {
	e := r.core.Take(r.spare.Get().(*partition.Effects))
	r.core.Clock() // what a checkpoint holds; it also forgets old rewind points
	r.rows += int64(e.Len())
	e.Reset()
	r.spare.Put(e)
	r.taken = 0
}

// save flushes the state as of now.
func (r *coreRun) save() error {
	b := r.store.NewBatch()
	if err := r.core.Save(b); err != nil {
		return err
	}
	clocks, version := r.core.Clock()
	extra, err := json.Marshal(clocks)
	if err != nil {
		return err
	}
	return r.store.Flush(b, store.Applied{Offset: r.record.Offset, SettingsVersion: version, Term: "bench", Extra: extra})
}

// expire advances the idle clock until every window has closed, and for another
// minute, as the host does each second.
func (r *coreRun) expire(ms int64) error {
	for range 60 {
		ms += 1000
		if err := r.core.Tick(windows.TickOfMillis(ms), windows.TickOfMillis(ms)); err != nil {
			return err
		}
	}
	r.take()
	return r.save()
}

// figures are those of the pipeline.
func (r *coreRun) figures() partition.PipelineFigures {
	var f partition.Figures
	r.core.Report(&f)
	return f.Pipelines[0]
}

func (r *coreRun) close() error {
	r.core.Close()
	return r.store.Close()
}

// sensor writes telemetry records of many devices into one buffer.
type sensor struct {
	buf            []byte
	id, ts, degree int // where the digits stand
}

const (
	sensorDigits = 6
	stampDigits  = 13
)

func newSensor() *sensor {
	s := &sensor{}
	s.buf = append(s.buf, `{"deviceId":"d`...)
	s.id = len(s.buf)
	s.buf = append(s.buf, `000000","ts":`...)
	s.ts = len(s.buf)
	s.buf = append(s.buf, `0000000000000,"temperature":2`...)
	s.degree = len(s.buf)
	s.buf = append(s.buf, `0.00,"humidity":48.25,"site":"hall-7"}`...)
	return s
}

// set makes the buffer the message of a device at a time.
func (s *sensor) set(device int, ms int64) {
	digits(s.buf[s.id:s.id+sensorDigits], int64(device))
	digits(s.buf[s.ts:s.ts+stampDigits], ms)
	s.buf[s.degree] = '0' + byte(device%10)
	s.buf[s.degree+2] = '0' + byte(ms/7%10)
}

func (s *sensor) key() []byte { return s.buf[s.id-1 : s.id+sensorDigits] }

func digits(b []byte, v int64) {
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = '0' + byte(v%10)
		v /= 10
	}
}

// benchStart is the first instant of generated event time; it lies on the grid
// of all windows.
const benchStart = 1_700_006_400_000

// checkRows fails a run whose windows did not do what they are measured for.
func checkRows(what string, got, want int64) error {
	if got != want {
		return fmt.Errorf("%s: %d rows, want %d", what, got, want)
	}
	return nil
}
