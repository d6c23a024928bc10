package partition

import (
	"encoding/json"
	"fmt"

	"github.com/gemello/gemello/device"
)

// Job returns a job of this partition, nil when there is none.
func (d *Devices) Job(id string) (*device.Job, error) {
	var j device.Job
	ok, err := d.load(shelfJob+id, &j)
	if err != nil || !ok {
		return nil, err
	}
	return &j, nil
}

// Jobs returns up to limit jobs of this partition with ids above after, in order
// of id.
func (d *Devices) Jobs(after string, limit int) ([]device.Job, error) {
	var all []device.Job
	from := shelfJob
	if after != "" {
		from += after
	}
	err := d.shelf.scan(shelfJob, from, func(name string, v []byte) (bool, error) {
		var j device.Job
		if err := json.Unmarshal(v, &j); err != nil {
			return false, fmt.Errorf("%w: %s: %w", errCorrupt, name, err)
		}
		all = append(all, j)
		return len(all) < limit, nil
	})
	return all, err
}

// JobPart returns what this partition knows of a job; the zero value when it
// knows nothing yet.
func (d *Devices) JobPart(id string) (JobPart, error) {
	var p JobPart
	_, err := d.load(shelfPart+id, &p)
	return p, err
}

// JobDevice is a device of a job.
type JobDevice struct {
	Job    *device.Job // as it was made; not to be changed
	Entity string      // device id, or device and module id joined by a slash
	Row    device.JobRow
	// Online says that the entity is connected, or gone for good.
	Online bool
}

// Ref splits the entity.
func (j *JobDevice) Ref() (deviceID, moduleID string) {
	ref := device.ParseRef(j.Entity)
	return ref.Device, ref.Module
}

// JobRows calls visit with the devices of a job above after, in order, until
// visit returns false; it looks at most at limit of them. It returns where to go
// on, "" at the end.
func (d *Devices) JobRows(id, after string, limit int, visit func(*JobDevice) bool) (next string, err error) {
	prefix := shelfRow + id + "/"
	from := prefix
	if after != "" {
		from += after
	}
	j, err := d.definition(id)
	if err != nil || j == nil {
		return "", err
	}
	seen := 0
	err = d.shelf.scan(prefix, from, func(name string, v []byte) (bool, error) {
		row := JobDevice{Job: j, Entity: name[len(prefix):]}
		if err := json.Unmarshal(v, &row.Row); err != nil {
			return false, fmt.Errorf("%w: %s: %w", errCorrupt, name, err)
		}
		if row.Row.Status == device.JobScheduled {
			doc, err := d.cache.get(entityKey(row.Entity))
			if err != nil {
				return false, err
			}
			row.Online = doc == nil || doc.Presence.Connected
		}
		seen++
		more := visit(&row) && seen < limit
		if !more {
			next = row.Entity
		}
		return more, nil
	})
	return next, err
}

// JobIDs returns up to limit ids of jobs that have devices here, above after.
func (d *Devices) JobIDs(after string, limit int) ([]string, error) {
	var all []string
	from := shelfDef
	if after != "" {
		from += after
	}
	err := d.shelf.scan(shelfDef, from, func(name string, _ []byte) (bool, error) {
		all = append(all, name[len(shelfDef):])
		return len(all) < limit, nil
	})
	return all, err
}
