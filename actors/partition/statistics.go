package partition

import "github.com/gemello/gemello/device"

// Statistics counts this partition's devices.
func (d *Devices) Statistics() device.Statistics { return d.counts }

// count keeps the statistics, which are of devices alone.
func (d *Devices) count(e *device.Entry, by int64) {
	if e.Identity.ModuleID != "" {
		return
	}
	d.counts.Total += by
	if e.Identity.Status == device.Enabled {
		d.counts.Enabled += by
	} else {
		d.counts.Disabled += by
	}
	if e.Presence.Connected {
		d.counts.Connected += by
	}
}

func (d *Devices) loadCounts() error {
	v, err := d.o.State.Get(countsKey)
	if err != nil || v == nil {
		return err
	}
	d.counts, err = decodeCounts(v)
	return err
}
