package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gemello/gemello/persistence/eventlog"
)

// LogSizeOptions describe what a log of a size costs.
type LogSizeOptions struct {
	Binary string  // gemello, to be started with log
	Dir    string  // where the log lies; empty: the system's temporary directory
	Sizes  []int64 // bytes of records at which the log is looked at, rising; empty: 2 GiB and 10 GiB
	// Extrapolate is the size that the last two are carried on to; 0: 100 GiB.
	Extrapolate int64
	Payload     int           // bytes of a record; 0: 150
	Partitions  int32         // 0: 8
	Settle      time.Duration // wait before a size is looked at; 0: 10 s
	LogArgs     []string      // further flags for gemello log
}

// LogSize fills a log and prints, at each size, what memory it takes, how long
// it takes to answer again after a kill under load, and how much was written to
// the disk for what was appended.
func LogSize(ctx context.Context, o LogSizeOptions, out io.Writer) (err error) {
	orDefault(&o.Extrapolate, 100<<30)
	orDefault(&o.Payload, 150)
	orDefault(&o.Partitions, 8)
	orDefault(&o.Settle, 10*time.Second)
	if len(o.Sizes) == 0 {
		o.Sizes = []int64{2 << 30, 10 << 30}
	}
	dir, err := os.MkdirTemp(o.Dir, "gemello-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s := &sizedLog{LogSizeOptions: o, data: filepath.Join(dir, "log"), out: out}
	if err := s.start(ctx); err != nil {
		return err
	}
	defer func() { s.process.stop() }()
	if err := s.open(ctx); err != nil {
		return err
	}
	defer func() { s.log.Close() }()
	if err := s.log.EnsureTopics(ctx, eventlog.TopicSpec{Name: sizeTopic, Partitions: o.Partitions, Retention: -1, RetentionBytes: -1}); err != nil {
		return err
	}
	var points []sizePoint
	for _, size := range o.Sizes {
		p, err := s.point(ctx, size)
		if err != nil {
			return fmt.Errorf("at %s: %w", gib(size), err)
		}
		points = append(points, p)
	}
	last := points[len(points)-1]
	fmt.Fprintf(out, "REPORT\tgib=%.1f\trss_mb=%.0f\trss_restarted_mb=%.0f\trss_peak_mb=%.0f\tmetadata_ms=%.0f\tproduce_ms=%.0f\twrite_amplification=%.2f",
		float64(last.bytes)/(1<<30), last.rss, last.restarted, last.peak, last.metadata, last.produce, last.amplification)
	if n := len(points); n > 1 {
		before := points[n-2]
		on := func(a, b float64) float64 {
			return b + (b-a)*float64(o.Extrapolate-last.bytes)/float64(last.bytes-before.bytes)
		}
		fmt.Fprintf(out, "\tat_gib=%.0f\trss_mb=%.0f\trss_restarted_mb=%.0f\tproduce_ms=%.0f", float64(o.Extrapolate)/(1<<30),
			on(before.rss, last.rss), on(before.restarted, last.restarted), on(before.produce, last.produce))
	}
	fmt.Fprintln(out)
	return nil
}

const sizeTopic = "bench-size"

// sizedLog is a log that grows.
type sizedLog struct {
	LogSizeOptions
	data    string
	process *logProcess
	log     *eventlog.Log
	out     io.Writer
	acked   atomic.Int64 // records
	written int64        // bytes that ended processes wrote to the disk
}

// sizePoint is what a log of a size costs.
type sizePoint struct {
	bytes                    int64
	rss, restarted, peak     float64 // MB
	metadata, produce, ready float64 // ms after the start of the process
	amplification            float64
}

func (s *sizedLog) start(ctx context.Context) (err error) {
	args := append([]string{"--retention", "87600h", "--retention-bytes", "1024TiB"}, s.LogArgs...)
	s.process, err = startLog(ctx, s.Binary, s.data, args...)
	return err
}

func (s *sizedLog) open(ctx context.Context) (err error) {
	s.log, err = eventlog.Open(ctx, eventlog.Options{Seeds: []string{s.process.addr}})
	return err
}

// point fills the log to a size, looks at it, kills it under load and looks at
// how it comes back.
func (s *sizedLog) point(ctx context.Context, size int64) (p sizePoint, err error) {
	began, from := time.Now(), s.acked.Load()
	if err := s.produce(ctx, context.WithoutCancel(ctx), size/int64(s.Payload)); err != nil {
		return p, err
	}
	rate := float64(s.acked.Load()-from) / time.Since(began).Seconds()
	if err := sleep(ctx, s.Settle); err != nil {
		return p, err
	}
	p.bytes = s.acked.Load() * int64(s.Payload)
	p.rss, p.peak = mb(s.process.resident()), mb(s.process.peak())
	if err := s.crash(ctx); err != nil {
		return p, err
	}
	p.amplification = float64(s.written) / float64(s.acked.Load()*int64(s.Payload))
	if err := s.comeBack(ctx, &p); err != nil {
		return p, err
	}
	if err := s.check(ctx); err != nil {
		return p, err
	}
	// Some reading, so that caches are in use.
	if err := s.read(ctx); err != nil {
		return p, err
	}
	p.restarted, p.peak = mb(s.process.resident()), max(p.peak, mb(s.process.peak()))
	disk, err := dirBytes(s.data)
	if err != nil {
		return p, err
	}
	report(s.out, "LogSize/size="+gib(size), s.acked.Load(), 1e9/rate, "ns/op",
		rate*float64(s.Payload)/1e6, "MB/s", p.rss, "rss-MB", p.restarted, "rss-restarted-MB", p.peak, "rss-peak-MB",
		p.ready, "start-ms", p.metadata, "metadata-ms", p.produce, "produce-ms",
		p.amplification, "written/appended", float64(disk)/float64(p.bytes), "disk/appended")
	return p, nil
}

// produce appends until so many records in all are acknowledged, or gone ends.
func (s *sizedLog) produce(ctx, gone context.Context, until int64) error {
	load := &logLoad{LogOptions: &LogOptions{Payload: s.Payload, Linger: 5 * time.Millisecond, BatchBytes: 1_000_000, Partitions: s.Partitions}, log: s.log}
	return load.producers(ctx, gone, sizeTopic, 1, until-s.acked.Load(), &s.acked)
}

// crash kills the log while it is written to.
func (s *sizedLog) crash(ctx context.Context) error {
	gone, stop := context.WithCancel(ctx)
	defer stop()
	from, ended := s.acked.Load(), make(chan error, 1)
	const unlimited = 1 << 62
	go func() { ended <- s.produce(gone, gone, unlimited) }()
	for s.acked.Load()-from < 500_000 {
		select {
		case err := <-ended:
			return errors.Join(err, errors.New("the producer ended too early"))
		case <-s.process.exited:
			return fmt.Errorf("the log ended: %s", s.process.stderr.b)
		case <-time.After(time.Millisecond):
		}
	}
	s.written += s.process.written()
	if err := s.process.cmd.Process.Kill(); err != nil {
		return err
	}
	<-s.process.exited
	stop()
	<-ended // with the error of the kill
	s.log.Close()
	return nil
}

// comeBack starts the log again and measures until it answers.
func (s *sizedLog) comeBack(ctx context.Context, p *sizePoint) error {
	start := time.Now()
	since := func() float64 { return micros(time.Since(start)) / 1e3 }
	if err := s.start(ctx); err != nil {
		return err
	}
	p.ready = since()
	if err := s.open(ctx); err != nil {
		return err
	}
	if _, err := s.log.Topic(ctx, sizeTopic); err != nil {
		return err
	}
	p.metadata = since()
	a, err := s.log.NewAppender(eventlog.AppenderOptions{})
	if err != nil {
		return err
	}
	defer a.Close()
	done := make(chan error, 1)
	a.Append(ctx, &eventlog.Record{Topic: sizeTopic, Key: []byte("device-000000"), Value: telemetry(s.Payload)[0]},
		func(_ *eventlog.Record, err error) { done <- err })
	if err := <-done; err != nil {
		return err
	}
	p.produce = since()
	s.acked.Add(1)
	return nil
}

// check finds all that was acknowledged; more may be there.
func (s *sizedLog) check(ctx context.Context) error {
	ranges, err := s.log.Offsets(ctx, sizeTopic)
	if err != nil {
		return err
	}
	records := int64(0)
	for _, r := range ranges {
		records += r.High - r.Start
	}
	if acked := s.acked.Load(); records < acked {
		return fmt.Errorf("%d records were acknowledged, after the kill %d are there", acked, records)
	}
	s.acked.Store(records)
	return nil
}

// read reads the first records of the log.
func (s *sizedLog) read(ctx context.Context) error {
	ranges, err := s.log.Offsets(ctx, sizeTopic)
	if err != nil {
		return err
	}
	r, err := s.log.NewReader(eventlog.ReaderOptions{})
	if err != nil {
		return err
	}
	defer r.Close()
	for p, at := range ranges {
		r.Assign(sizeTopic, p, at.Start)
	}
	for left := min(s.acked.Load(), 2_000_000); left > 0; {
		batches, err := r.Poll(ctx)
		if err != nil {
			return err
		}
		for _, b := range batches {
			if b.Err != nil {
				return b.Err
			}
			left -= int64(len(b.Records))
		}
	}
	return nil
}

// peak returns the largest resident size so far in bytes, 0 where the system
// does not tell.
func (p *process) peak() int64 {
	return statusField(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid), "VmHWM:")
}

// written returns the bytes that the process has given to disks, 0 where the
// system does not tell.
func (p *process) written() int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "write_bytes:"); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(rest), 10, 64)
			return n
		}
	}
	return 0
}

// dirBytes returns the size of the files in a directory that is in use.
func dirBytes(dir string) (int64, error) {
	total := int64(0)
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			var info fs.FileInfo
			if info, err = d.Info(); err == nil {
				total += info.Size()
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil // deleted meanwhile
		}
		return err
	})
	return total, err
}

func mb(bytes int64) float64 { return float64(bytes) / 1e6 }

func gib(bytes int64) string {
	return strconv.FormatFloat(float64(bytes)/(1<<30), 'g', 4, 64) + "GiB"
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
