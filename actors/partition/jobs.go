package partition

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/device/query"
)

// Names on the shelf. A job is kept in the partition of its key; every partition
// keeps the job as it was made, what it knows of its own devices, and a row for
// each of them.
const (
	shelfJob  = "j" // + job id: device.Job
	shelfDef  = "o" // + job id: device.Job as it was made
	shelfPart = "k" // + job id: JobPart
	shelfRow  = "r" // + job id, slash, device: device.JobRow
)

// JobPart is what a partition knows of a job: how far its devices have been
// picked, and where they stand.
type JobPart struct {
	Cursor string           `json:"cursor,omitempty"` // last entity looked at
	Picked bool             `json:"picked,omitempty"` // all have been looked at
	Closed string           `json:"closed,omitempty"` // how those not begun were ended
	Counts device.JobCounts `json:"counts"`
}

// Actions of jobpart records.
const (
	PartPick   = "pick"   // look at the next page of entities; body: the job
	PartExpire = "expire" // the time is over for all that were not begun
	PartCancel = "cancel" // those that were not begun never will be
	PartForget = "forget" // drop a page of rows, at last the part
)

// pickPage bounds the entities that one record looks at, so that no device
// waits long for it, and closePage the rows that one record ends.
const (
	pickPage  = 500
	closePage = 500
)

// load reads a JSON value of the shelf; false when there is none.
func (d *Devices) load(name string, into any) (bool, error) {
	v, err := d.shelf.get(name)
	if err != nil || v == nil {
		return false, err
	}
	if err := json.Unmarshal(v, into); err != nil {
		return false, fmt.Errorf("%w: %s: %w", errCorrupt, name, err)
	}
	return true, nil
}

func (d *Devices) keep(name string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode %s: %w", name, err)
	}
	d.shelf.put(name, b)
	return nil
}

// job handles a record about a job as a whole.
func (d *Devices) job(r *Record) error {
	id, action := string(r.Header(device.HeaderJob)), string(r.Header(device.HeaderAction))
	var j device.Job
	found, err := d.load(shelfJob+id, &j)
	if err != nil {
		return err
	}
	refused := func(err error) error {
		d.reply(r, Reply{Err: err})
		return nil
	}
	switch {
	case id == "":
		d.refuse(r, "a job record without a job id")
		return refused(fmt.Errorf("%w: no job id", device.ErrArgument))
	case action == device.JobActionCreate && found:
		return refused(fmt.Errorf("%w: %s", device.ErrJobExists, id))
	case action == device.JobActionCreate:
		if err := json.Unmarshal(r.Value, &j); err != nil || j.ID != id {
			d.refuse(r, "the body is not the job")
			return refused(fmt.Errorf("%w: body of job %s", device.ErrFormat, id))
		}
		j.Create(r.Arrival.Time())
	case !found:
		return refused(fmt.Errorf("%w: %s", device.ErrJobNotFound, id))
	case action == device.JobActionForget:
		d.shelf.put(shelfJob+id, nil)
		d.reply(r, Reply{Job: &j})
		return nil
	default:
		if err := j.Step(action, string(r.Value), r.Arrival.Time()); err != nil {
			return refused(err)
		}
	}
	if err := d.keep(shelfJob+id, &j); err != nil {
		return err
	}
	d.reply(r, Reply{Job: &j})
	return nil
}

// jobPart handles a record that concerns all devices of a job in this partition.
func (d *Devices) jobPart(r *Record) error {
	id, action := string(r.Header(device.HeaderJob)), string(r.Header(device.HeaderAction))
	var part JobPart
	found, err := d.load(shelfPart+id, &part)
	if err != nil {
		return err
	}
	switch action {
	case PartPick:
		err = d.pick(r, id, &part)
	case PartExpire, PartCancel:
		err = d.closePart(r, id, action, &part)
	case PartForget:
		if found {
			return d.forgetPart(r, id, &part)
		}
	default:
		err = fmt.Errorf("%w: action %q", device.ErrArgument, clip([]byte(action)))
	}
	if errors.Is(err, device.ErrArgument) || errors.Is(err, device.ErrFormat) {
		d.refuse(r, err.Error())
		d.reply(r, Reply{Err: err})
		return nil
	}
	if err != nil {
		return err
	}
	d.reply(r, Reply{Part: &part})
	return nil
}

// definition returns the job as it was made, nil when this partition has none.
func (d *Devices) definition(id string) (*device.Job, error) {
	if j := d.jobs[id]; j != nil {
		return j, nil
	}
	j := &device.Job{}
	ok, err := d.load(shelfDef+id, j)
	if err != nil || !ok {
		return nil, err
	}
	d.remember(j)
	return j, nil
}

// pick adds a row for each entity of the next page that the condition holds for.
// The cursor makes a repeated record go on instead of again.
func (d *Devices) pick(r *Record, id string, part *JobPart) error {
	if part.Picked || part.Closed != "" {
		return nil
	}
	j, err := d.definition(id)
	if err != nil {
		return err
	}
	if j == nil {
		j = &device.Job{}
		if err := json.Unmarshal(r.Value, j); err != nil || j.ID != id {
			return fmt.Errorf("%w: body of job %s", device.ErrFormat, id)
		}
		d.shelf.put(shelfDef+id, append([]byte(nil), r.Value...))
		d.remember(j)
	}
	q, err := query.ParseCondition(j.Condition)
	if err != nil {
		return fmt.Errorf("%w: condition of job %s: %w", device.ErrArgument, id, err)
	}
	page, err := d.page(q.From, part.Cursor, pickPage)
	if err != nil {
		return err
	}
	at := r.Arrival.Time()
	for i := range page {
		row := query.Twin{Document: &page[i].Document, ModuleID: page[i].Identity.ModuleID}
		entity := entityOf(&page[i])
		part.Cursor = entity
		if !q.Match(&row) {
			continue
		}
		if err := d.keep(rowName(id, entity), &device.JobRow{Status: device.JobScheduled, Created: at, Updated: at}); err != nil {
			return err
		}
		part.Counts.Total++
		part.Counts.Pending++
		d.unsaved++
	}
	part.Picked = len(page) < pickPage
	return d.keep(shelfPart+id, part)
}

func rowName(job, entity string) string { return shelfRow + job + "/" + entity }

// closePart ends a page of rows that were not begun. Closed is set by the first
// page, so that no step begins one of the others; the driver repeats the record
// while there are any.
func (d *Devices) closePart(r *Record, id, how string, part *JobPart) error {
	j, err := d.definition(id)
	if err != nil {
		return err
	}
	part.Picked = true
	if part.Closed == "" {
		part.Closed = how
	}
	if j == nil || part.Counts.Pending == 0 {
		return d.keep(shelfPart+id, part)
	}
	var names []string
	err = d.shelf.scan(shelfRow+id+"/", "", func(name string, v []byte) (bool, error) {
		var row device.JobRow
		if err := json.Unmarshal(v, &row); err != nil {
			return false, fmt.Errorf("%w: %s: %w", errCorrupt, name, err)
		}
		if row.Status == device.JobScheduled {
			names = append(names, name)
		}
		return len(names) < closePage, nil
	})
	if err != nil {
		return err
	}
	for _, name := range names {
		var row device.JobRow
		if _, err := d.load(name, &row); err != nil {
			return err
		}
		before := row.Status
		if part.Closed == PartExpire {
			row.End(device.JobFailed, &device.JobRowFailure{Code: device.JobCodeDeadline, Description: "the job's time was over before the device was ready"}, r.Arrival.Time())
		} else {
			row.End(device.JobCancelled, nil, r.Arrival.Time())
		}
		if err := d.keepRow(r, j, strings.TrimPrefix(name, shelfRow+id+"/"), &row, before, part); err != nil {
			return err
		}
	}
	d.unsaved += int64(len(names))
	return d.keep(shelfPart+id, part)
}

// keepRow stores a row that has changed and counts it where it now stands.
func (d *Devices) keepRow(r *Record, j *device.Job, entity string, row *device.JobRow, before device.JobStatus, part *JobPart) error {
	part.Counts.Add(before, -1)
	part.Counts.Add(row.Status, +1)
	if row.Status.Ended() {
		if err := d.jobEvent(r, j, entity, row); err != nil {
			return err
		}
	}
	return d.keep(rowName(j.ID, entity), row)
}

// forgetPart drops a page of rows, and the part when there are no more.
func (d *Devices) forgetPart(r *Record, id string, part *JobPart) error {
	var names []string
	err := d.shelf.scan(shelfRow+id+"/", "", func(name string, _ []byte) (bool, error) {
		names = append(names, name)
		return len(names) < closePage, nil
	})
	if err != nil {
		return err
	}
	for _, name := range names {
		d.shelf.put(name, nil)
	}
	d.unsaved += int64(len(names))
	reply := Reply{Part: part}
	if len(names) < closePage {
		d.shelf.put(shelfPart+id, nil)
		d.shelf.put(shelfDef+id, nil)
		delete(d.jobs, id)
		reply.Part = nil
	}
	d.reply(r, reply)
	return nil
}

// jobStep handles a record about one device of a job. A step that was seen
// before changes nothing: the row is past it. The answer holds the row.
func (d *Devices) jobStep(r *Record) error {
	id, action := string(r.Header(device.HeaderJob)), string(r.Header(device.HeaderAction))
	entity := entityOfRecord(r)
	j, err := d.definition(id)
	if err != nil {
		return err
	}
	var row device.JobRow
	found, err := d.load(rowName(id, entity), &row)
	if err != nil {
		return err
	}
	if j == nil || !found {
		d.reply(r, Reply{Err: fmt.Errorf("%w: %s has no device %s", device.ErrJobNotFound, id, entity)})
		return nil
	}
	before := row.Status
	changed := false
	if action == device.StepApply {
		changed, err = d.applyStep(r, j, &row)
		if err != nil {
			return err
		}
	} else if changed, err = row.Step(action, string(r.Header(device.HeaderSession)), r.Value, r.Arrival.Time()); err != nil {
		d.refuse(r, err.Error())
		d.reply(r, Reply{Err: err})
		return nil
	}
	if changed {
		var part JobPart
		if _, err := d.load(shelfPart+id, &part); err != nil {
			return err
		}
		if action == device.StepCall && part.Closed != "" {
			changed = false
		} else {
			if err := d.keepRow(r, j, entity, &row, before, &part); err != nil {
				return err
			}
			if err := d.keep(shelfPart+id, &part); err != nil {
				return err
			}
		}
	}
	d.reply(r, Reply{Row: &row, Changed: changed})
	return nil
}

// applyStep changes the twin of a device that has not been changed by the job
// yet. What the twin refuses is the device's outcome.
func (d *Devices) applyStep(r *Record, j *device.Job, row *device.JobRow) (bool, error) {
	if row.Status != device.JobScheduled || j.Type != device.JobTwin {
		return false, nil
	}
	var failure *device.JobRowFailure
	key := entityKey(entityOfRecord(r))
	doc, err := d.cache.get(key)
	if err != nil {
		return false, err
	}
	if doc == nil {
		failure = failureOf(refOf(r).NotFound())
	} else {
		n := *doc
		ref := refOf(r)
		c := device.TwinChange{DeviceID: ref.Device, ModuleID: ref.Module, Body: r.Value, IfMatch: string(r.Header(device.HeaderIfMatch))}
		if _, err := d.changeTwin(r, &n, &c); err != nil {
			failure = failureOf(err)
		} else if err := d.keepConfigured(r, &n); err != nil {
			return false, err
		}
	}
	status := device.JobCompleted
	if failure != nil {
		status = device.JobFailed
	}
	row.End(status, failure, r.Arrival.Time())
	return true, nil
}

func failureOf(err error) *device.JobRowFailure {
	return &device.JobRowFailure{Code: device.ErrorName(err), Description: err.Error()}
}

// entityOfRecord is the device, or device and module, that a record is about.
func entityOfRecord(r *Record) string { return refOf(r).String() }

func entityOf(d *Device) string { return d.Identity.Ref().String() }

// entityKey is the key of the entity's document.
func entityKey(entity string) string { return device.ParseRef(entity).Key() }

// page returns entities of a collection above the one named.
func (d *Devices) page(from query.Collection, after string, limit int) ([]Device, error) {
	if from == query.Modules {
		return d.ListModules(device.ParseRef(after), limit)
	}
	return d.List(after, limit)
}

// jobEvent tells that a device of a job has its outcome.
func (d *Devices) jobEvent(r *Record, j *device.Job, entity string, row *device.JobRow) error {
	ref := device.ParseRef(entity)
	text, err := j.AppendRow(nil, ref.Device, ref.Module, row)
	if err != nil {
		return fmt.Errorf("row of %s in job %s: %w", entity, j.ID, err)
	}
	d.event(r, ref, sourceJob, schemaJob, string(j.Type), func(b []byte) []byte { return append(b, text...) })
	return nil
}

// maxJobCache bounds the decoded jobs.
const maxJobCache = 64

func (d *Devices) remember(j *device.Job) {
	if len(d.jobs) >= maxJobCache {
		clear(d.jobs)
	}
	d.jobs[j.ID] = j
}
