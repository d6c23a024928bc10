package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Offline is a log that no process has open.
type Offline struct {
	// Dir is Options.Dir of the log.
	Dir string
	// FS is the file system; nil means the disk.
	FS vfs.FS
}

// open locks the directory and opens the database. Nothing is made that is not
// there; with readOnly nothing on the disk is changed but the lock file.
func (o Offline) open(readOnly bool) (*engine, error) {
	opts, err := Options{Dir: o.Dir, FS: o.FS, CacheBytes: 8 << 20}.withDefaults()
	if err != nil {
		return nil, err
	}
	dir := opts.FS.PathJoin(o.Dir, contentsDir)
	if _, err := opts.FS.Stat(dir); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s holds no log: there is no directory %s in it", o.Dir, contentsDir)
		}
		return nil, fmt.Errorf("open the log in %s: %w", o.Dir, err)
	}
	e, err := newEngine(opts)
	if err != nil {
		return nil, err
	}
	if err := e.open(readOnly); err != nil {
		return nil, errors.Join(err, e.close())
	}
	var stamp []byte
	err = e.view(func(db *pebble.DB) (err error) {
		stamp, err = get(db, keyStamp)
		return err
	})
	if err == nil && string(stamp) != formatStamp {
		err = fmt.Errorf("%w: stamp %q, this version knows %q", errFormat, stamp, formatStamp)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the log in %s: %w", o.Dir, err), e.close())
	}
	return e, nil
}

// read calls f with the database, opened for reading only.
func (o Offline) read(ctx context.Context, f func(pebble.Reader) error) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	e, err := o.open(true)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := e.close(); err == nil {
			err = cerr
		}
	}()
	return e.view(func(db *pebble.DB) error { return f(db) })
}

// Finding is something that is not as it should be.
type Finding struct {
	Kind FindingKind
	TopicPartition
	// First and Next are the offsets it concerns, [First, Next); both -1: none.
	First, Next int64
	Detail      string
}

// FindingKind says what is wrong, and so what Repair does about it.
type FindingKind string

// Kinds of findings.
const (
	// DamagedBatch can't be read: its records are lost.
	DamagedBatch FindingKind = "damaged batch"
	// UnreadableFile is damage of the database's own files.
	UnreadableFile FindingKind = "unreadable file"
	// MissingBatches is a gap between batches of a partition that was never
	// compacted.
	MissingBatches FindingKind = "missing batches"
	// WrongIndex is a mark, a size or an index of aborted transactions that is not
	// what the batches say.
	WrongIndex FindingKind = "wrong index"
	// WrongState is a stored state that contradicts batches or other states.
	WrongState FindingKind = "wrong state"
	// Orphan is something that belongs to nothing.
	Orphan FindingKind = "orphan"
)

func (f Finding) String() string {
	where := "log"
	if f.Topic != "" {
		where = fmt.Sprintf("%s-%d", f.Topic, f.Partition)
	}
	if f.First >= 0 {
		where += fmt.Sprintf(" offsets %d to %d", f.First, f.Next-1)
	}
	return fmt.Sprintf("%s: %s: %s", where, f.Kind, f.Detail)
}

// maxFindings bounds the findings of a report.
const maxFindings = 1000

// Report is what Verify found.
type Report struct {
	Topics, Partitions, Transactions, Groups int
	Batches, Records, Bytes                  int64
	Findings                                 []Finding
	Omitted                                  int // findings beyond the first 1,000
}

// Sound reports whether everything is as it should be.
func (r *Report) Sound() bool { return len(r.Findings) == 0 }

func (r *Report) add(kind FindingKind, p *partition, first, next int64, format string, args ...any) {
	if len(r.Findings) >= maxFindings {
		r.Omitted++
		return
	}
	// Pebble's errors have several lines, of which the first says it.
	detail, _, _ := strings.Cut(fmt.Sprintf(format, args...), "\n")
	f := Finding{Kind: kind, First: first, Next: next, Detail: detail}
	if p != nil {
		f.TopicPartition = p.tp
	}
	r.Findings = append(r.Findings, f)
}
