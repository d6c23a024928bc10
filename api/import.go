package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gemello/gemello/device"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"
)

const (
	// importLanes is how many lines are under way at a time. Each waits for the
	// log twice, so hundreds are needed to fill its batches.
	importLanes = 256
	// importBytes bounds the text of the lines under way.
	importBytes = 32 << 20
	// MaxImportLine bounds one line: a device's twin may have 72 KiB, and JSON may
	// spell a byte with six.
	MaxImportLine = 1 << 20
	// maxRefused bounds the lines that an answer names; the rest is counted.
	maxRefused = 10_000
	// importRead is how long a client may take to send the next piece.
	importRead = 30 * time.Second
)

// importReport is the answer of an import.
type importReport struct {
	Imported  int           `json:"imported"`
	Unchanged int           `json:"unchanged"` // were there already, exactly so
	Failed    int           `json:"failed"`
	Refused   []refusedLine `json:"refused"`
	Next      int           `json:"next"` // number of the line after the last one read
}

// refusedLine is a line that was not carried out, with the error that the service
// API would have answered it with.
type refusedLine struct {
	Line     int    `json:"line"`
	DeviceID string `json:"deviceId,omitempty"`
	Status   int    `json:"status"`
	Number   int    `json:"number"`
	Code     string `json:"code"`
	Message  string `json:"message"`
}

// importDevices carries out the import records of the body, one a line. Lines of
// one device are carried out in their order, others side by side. Unless the hub
// breaks down, each line succeeds or is refused for itself.
func (a *Admin) importDevices(_ context.Context, c *call) error {
	q := c.r.URL.Query()
	first := 1
	if v := q.Get("line"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 {
			return fmt.Errorf("%w: line %.20q is no positive number", device.ErrArgument, v)
		}
		first = n
	}
	overwrite := false
	switch mode := q.Get("mode"); strings.ToLower(mode) {
	case "", "create":
	case "createorupdate":
		overwrite = true
	default:
		return fmt.Errorf("%w: mode %.40q, allowed are create and createOrUpdate", device.ErrArgument, mode)
	}
	done, err := a.beginMove()
	if err != nil {
		return err
	}
	defer done()
	run := &importRun{
		admin: a, records: &importer{a.o.Hub, a.o.Sealer, a.random}, overwrite: overwrite, audit: c.audit,
		room: semaphore.NewWeighted(importBytes), report: importReport{Refused: []refusedLine{}, Next: first},
	}
	if err := run.read(c.r.Context(), c); err != nil {
		return err
	}
	slices.SortFunc(run.report.Refused, func(x, y refusedLine) int { return x.Line - y.Line })
	return c.reply(http.StatusOK, marshal(run.report))
}

// importRun is one import under way.
type importRun struct {
	admin     *Admin
	records   *importer
	overwrite bool
	audit     device.Audit
	room      *semaphore.Weighted

	mu      sync.Mutex // guards what follows
	report  importReport
	orphans orphans
}

type importLine struct {
	number int
	bytes  int64
	record importRecord
}

// orphans are lines whose parent was not there yet: it may come in a later line.
type orphans struct {
	lines []importLine
	errs  []error
	bytes int64
}

// keep takes a line to be carried out once more, while there is room.
func (o *orphans) keep(l *importLine, err error) bool {
	if len(o.lines) >= maxRefused || o.bytes+l.bytes > importBytes {
		return false
	}
	o.lines, o.errs, o.bytes = append(o.lines, *l), append(o.errs, err), o.bytes+l.bytes
	return true
}

// adopt carries out the orphans again until none of them finds its parent.
func (r *importRun) adopt(ctx context.Context) error {
	for before := -1; ; {
		all := r.orphans
		if len(all.lines) == before {
			for i := range all.lines {
				r.refuse(all.lines[i].number, all.lines[i].record.ID, all.errs[i])
			}
			return nil
		}
		before, r.orphans = len(all.lines), orphans{}
		for i := range all.lines {
			if err := r.decide(ctx, &all.lines[i]); err != nil {
				return err
			}
		}
	}
}

// read hands the lines of the body to lanes, by device, and returns when all are
// decided.
func (r *importRun) read(whole context.Context, c *call) error {
	g, ctx := errgroup.WithContext(whole)
	lanes := make([]chan importLine, importLanes)
	for i := range lanes {
		lane := make(chan importLine, 1)
		lanes[i] = lane
		g.Go(func() error {
			for l := range lane {
				err := r.decide(ctx, &l)
				r.room.Release(l.bytes)
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	g.Go(func() error {
		defer func() {
			for _, lane := range lanes {
				close(lane)
			}
		}()
		return r.split(ctx, c, lanes)
	})
	if err := g.Wait(); err != nil {
		return err
	}
	return r.adopt(whole)
}

func (r *importRun) split(ctx context.Context, c *call, lanes []chan importLine) error {
	body := &patientBody{c: c, control: http.NewResponseController(c.w)}
	lines := bufio.NewScanner(body)
	lines.Buffer(make([]byte, 0, 64<<10), MaxImportLine)
	for lines.Scan() {
		text := bytes.TrimSpace(lines.Bytes())
		number := r.report.Next
		r.report.Next++
		if len(text) == 0 {
			continue
		}
		l := importLine{number: number, bytes: int64(len(text))}
		if err := decodeJSON(text, &l.record); err != nil {
			r.refuse(number, "", err)
			continue
		}
		if l.record.ID == "" {
			l.record.ID = l.record.DeviceID // as the registry's own answers call it
		}
		l.record.DeviceID = ""
		if err := r.room.Acquire(ctx, l.bytes); err != nil {
			return err
		}
		hash := fnv.New32a()
		hash.Write([]byte(l.record.ID))
		select {
		case lanes[hash.Sum32()%importLanes] <- l:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	err := lines.Err()
	if errors.Is(err, bufio.ErrTooLong) {
		return fmt.Errorf("%w: line %d is longer than %d bytes", device.ErrArgument, r.report.Next, MaxImportLine)
	}
	if err != nil {
		return fmt.Errorf("%w: the body broke off in line %d", device.ErrFormat, r.report.Next)
	}
	return nil
}

// patientBody moves the deadline on with every piece: the whole may take hours.
type patientBody struct {
	c       *call
	control *http.ResponseController
}

func (b *patientBody) Read(p []byte) (int, error) {
	if err := b.control.SetReadDeadline(time.Now().Add(importRead)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	return b.c.r.Body.Read(p)
}

// decide carries out a line. Its error ends the import.
func (r *importRun) decide(ctx context.Context, l *importLine) error {
	unchanged := false
	err := r.admin.patiently(ctx, func(ctx context.Context) (err error) {
		unchanged, err = r.one(ctx, &l.record)
		return err
	})
	switch {
	case err == nil:
		r.mu.Lock()
		defer r.mu.Unlock()
		if unchanged {
			r.report.Unchanged++
		} else {
			r.report.Imported++
		}
		return nil
	case classify(err).status >= http.StatusInternalServerError && !errors.Is(err, ErrNotYet):
		return fmt.Errorf("line %d: %w", l.number, err)
	case errors.Is(err, device.ErrScope):
		r.mu.Lock()
		kept := r.orphans.keep(l, err)
		r.mu.Unlock()
		if kept {
			return nil
		}
	}
	r.refuse(l.number, l.record.ID, err)
	return nil
}

func (r *importRun) refuse(line int, id string, err error) {
	f := classify(err)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Failed++
	if len(r.report.Refused) < maxRefused {
		r.report.Refused = append(r.report.Refused, refusedLine{line, id, f.status, f.number, f.name, f.message(err)})
	}
}

// one carries out a record. A create whose device is there exactly so is no
// error, or an import that was cut short could not be run again.
func (r *importRun) one(ctx context.Context, record *importRecord) (unchanged bool, err error) {
	mode := strings.ToLower(record.ImportMode)
	creates := mode == "" || mode == "create"
	if creates && r.overwrite {
		again := *record
		again.ImportMode, creates = "createOrUpdate", false
		record = &again
	}
	record.dropEmpty()
	err, twin := r.records.importOne(ctx, record, r.audit)
	if creates && (errors.Is(err, device.ErrExists) || errors.Is(err, device.ErrModuleExists)) {
		return r.again(ctx, record, err)
	}
	if err != nil {
		return false, err
	}
	if twin != nil {
		return false, fmt.Errorf("the identity was imported, its twin was not: %w", twin)
	}
	if strings.HasPrefix(mode, "delete") {
		return false, nil
	}
	return false, r.reported(ctx, record)
}

func (r *importRun) reported(ctx context.Context, record *importRecord) error {
	if record.Properties == nil || len(record.Properties.Reported) == 0 {
		return nil
	}
	err := r.admin.o.Moves.PatchReported(ctx, record.ref(), record.Properties.Reported, r.audit)
	if err != nil {
		return fmt.Errorf("reported properties: %w", err)
	}
	return nil
}

// again completes a device that an earlier run left: parts of the twin that
// nobody has touched since the device was made are set.
func (r *importRun) again(ctx context.Context, record *importRecord, exists error) (unchanged bool, err error) {
	d, err := r.records.hub.Twin(ctx, record.ref())
	if err != nil {
		return false, err
	}
	same, err := r.same(record, &d.Identity)
	if err != nil {
		return false, err
	}
	if !same {
		return false, exists
	}
	if d.Twin.Changes == 1 && (len(record.Tags) > 0 || record.Properties != nil && len(record.Properties.Desired) > 0) {
		if err := r.records.importTwin(ctx, record, "*", r.audit); err != nil {
			return false, fmt.Errorf("the identity was imported, its twin was not: %w", err)
		}
	}
	if d.Twin.Reported.Version == 1 {
		return true, r.reported(ctx, record)
	}
	return true, nil
}

// same reports whether the record would make the identity as it is.
func (r *importRun) same(record *importRecord, have *device.Identity) (bool, error) {
	change, err := record.change(record.ref(), "", r.records.sealer, r.records.random, r.audit)
	if err != nil {
		return false, err
	}
	w := &change.Wanted
	if w.ManagedBy != have.ManagedBy || w.Status != have.Status || w.StatusReason != have.StatusReason || w.Auth.Type != have.Auth.Type || w.IoTEdge != have.IoTEdge ||
		!strings.EqualFold(w.Auth.PrimaryThumbprint, have.Auth.PrimaryThumbprint) ||
		!strings.EqualFold(w.Auth.SecondaryThumbprint, have.Auth.SecondaryThumbprint) ||
		w.DeviceScope != "" && w.DeviceScope != have.DeviceScope ||
		(w.IoTEdge || w.DeviceScope == "") && !slices.Equal(w.ParentScopes, have.ParentScopes) {
		return false, nil
	}
	if w.Auth.Type != device.AuthSAS {
		return true, nil
	}
	keys, err := r.records.sealer.OpenDevice(have)
	if err != nil {
		return false, err
	}
	given := record.Authentication
	return given == nil ||
		(change.KeepPrimary || text(given.SymmetricKey.Primary) == keys.Primary.Reveal()) &&
			(change.KeepSecondary || text(given.SymmetricKey.Secondary) == keys.Secondary.Reveal()), nil
}

// dropEmpty leaves out sections that say nothing: each costs a record of the log.
func (r *importRecord) dropEmpty() {
	if saysNothing(r.Tags) {
		r.Tags = nil
	}
	if r.Properties == nil {
		return
	}
	p := *r.Properties
	if saysNothing(p.Desired) {
		p.Desired = nil
	}
	if saysNothing(p.Reported) {
		p.Reported = nil
	}
	r.Properties = &p
	if p.Desired == nil && p.Reported == nil {
		r.Properties = nil
	}
}

// saysNothing reports whether a section is absent, null, or has no member but
// those that begin with $, which are ignored.
func saysNothing(section json.RawMessage) bool {
	if len(section) == 0 || string(section) == "null" {
		return true
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(section, &members) != nil {
		return false // to be refused where it is read
	}
	for name := range members {
		if !strings.HasPrefix(name, "$") {
			return false
		}
	}
	return true
}
