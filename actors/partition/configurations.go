package partition

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/device/query"
)

// Names on the shelf.
const (
	shelfConfig = "c" // + id: device.Configuration
	shelfTally  = "y" // + id: ConfigurationCounts
	shelfSweep  = "z" // sweep
)

// Actions of config records, and the statuses in a twin's member configurations.
const (
	ConfigPut    = "put"    // body: the configuration
	ConfigDelete = "delete" // it is no more
	ConfigSweep  = "sweep"  // evaluate all for the next page of entities

	statusTargeted = "Targeted" // picked, and not applied because the twin refuses it
	statusApplied  = "Applied"
)

// sweepPage bounds the entities that one record evaluates.
const sweepPage = 200

// ConfigurationCounts counts the entities of a configuration in a partition.
type ConfigurationCounts struct {
	Targeted int64 `json:"targetedCount"`
	Applied  int64 `json:"appliedCount"`
}

// sweep is how far all entities have been evaluated after the configurations
// have changed: devices first, then modules.
type sweep struct {
	Modules bool   `json:"modules,omitempty"`
	Cursor  string `json:"cursor,omitempty"`
	Done    bool   `json:"done,omitempty"`
}

// Configured is what configurations have made of an entity.
type Configured struct {
	Status map[string]string `json:"status"` // by configuration that picks the entity
	// Deployed is the same of a module, by configuration that picks its device and
	// has content for the module. It is the device that they count.
	Deployed map[string]string `json:"deployed,omitempty"`
	Patch    string            `json:"patch"` // of desired properties, as they were applied
}

// configuration is one in force.
type configuration struct {
	device.Configuration
	query      *query.Query // nil: picks nothing
	desired    map[string]any
	deployment map[string]device.ModuleContent // nil: none
}

// configurations are those in force, the weakest first.
type configurations struct {
	loaded  bool
	list    []*configuration
	deploys bool // one of them has content for modules of devices
}

// loadConfigurations reads the configurations when they are not in memory.
func (d *Devices) loadConfigurations() error {
	if d.configs.loaded {
		return nil
	}
	d.configs.list, d.configs.deploys = nil, false
	err := d.shelf.scan(shelfConfig, "", func(name string, v []byte) (bool, error) {
		c := &configuration{}
		if err := json.Unmarshal(v, &c.Configuration); err != nil {
			return false, fmt.Errorf("%w: %s: %w", errCorrupt, name, err)
		}
		c.open()
		d.configs.list = append(d.configs.list, c)
		d.configs.deploys = d.configs.deploys || c.deployment != nil
		return true, nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(d.configs.list, func(a, b *configuration) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
	})
	d.configs.loaded = true
	return nil
}

// open prepares the condition and content. They were checked when the
// configuration was made; one that can't be read all the same picks nothing.
func (c *configuration) open() {
	if strings.TrimSpace(c.Condition) == "" {
		return
	}
	q, err := query.ParseCondition(c.Condition)
	if err != nil {
		return
	}
	if c.desired, err = c.Desired(q.From == query.Modules); err != nil {
		return
	}
	if q.From == query.Devices {
		if c.deployment, err = c.Deployment(); err != nil {
			return
		}
	}
	c.query = q
}

// picks reports whether a configuration is for an entity. One that deploys
// modules is for edge devices alone.
func (c *configuration) picks(n *Device) bool {
	if c.query == nil || (c.query.From == query.Modules) != (n.Identity.ModuleID != "") || c.deployment != nil && !n.Identity.IoTEdge {
		return false
	}
	return c.query.Match(&query.Twin{Document: &n.Document, ModuleID: n.Identity.ModuleID})
}

// config handles a record about configurations.
func (d *Devices) config(r *Record) error {
	id, action := string(r.Header(device.HeaderConfig)), string(r.Header(device.HeaderAction))
	if err := d.loadConfigurations(); err != nil {
		return err
	}
	var known device.Configuration
	found, err := d.load(shelfConfig+id, &known)
	if err != nil {
		return err
	}
	switch action {
	case ConfigPut:
		var c device.Configuration
		if err := json.Unmarshal(r.Value, &c); err != nil || c.ID != id || id == "" {
			d.refuse(r, "the body is not the configuration")
			d.reply(r, Reply{Err: fmt.Errorf("%w: body of configuration %q", device.ErrFormat, clip([]byte(id)))})
			return nil
		}
		if found && c.Revision <= known.Revision {
			break
		}
		d.shelf.put(shelfConfig+id, append([]byte(nil), r.Value...))
		err = d.sweepAgain()
	case ConfigDelete:
		if found {
			d.shelf.put(shelfConfig+id, nil)
			err = d.sweepAgain()
		}
	case ConfigSweep:
		err = d.sweepOn(r)
	default:
		d.refuse(r, "unknown action on a configuration")
	}
	if err != nil {
		return err
	}
	d.reply(r, Reply{})
	return nil
}

// sweepAgain has all entities evaluated by what is in force from now on.
func (d *Devices) sweepAgain() error {
	d.configs.loaded = false
	return d.keep(shelfSweep, &sweep{})
}

// sweepOn evaluates the next page of entities.
func (d *Devices) sweepOn(r *Record) error {
	var s sweep
	if ok, err := d.load(shelfSweep, &s); err != nil || !ok || s.Done {
		return err
	}
	from := query.Devices
	if s.Modules {
		from = query.Modules
	}
	page, err := d.page(from, s.Cursor, sweepPage)
	if err != nil {
		return err
	}
	for i := range page {
		n := page[i]
		s.Cursor = entityOf(&n)
		changed, err := d.configure(r, &n)
		if err != nil {
			return err
		}
		if changed {
			d.put(n.Identity.Ref().Key(), &n)
			d.unsaved++
		}
		if err := d.deploy(r, &n); err != nil {
			return err
		}
	}
	if len(page) < sweepPage {
		s = sweep{Modules: true, Done: s.Modules}
	}
	return d.keep(shelfSweep, &s)
}

// configure evaluates all configurations for a copy of an entity and changes its
// desired properties when other ones, or others in them, hold for it now. It
// reports whether the entity has changed.
func (d *Devices) configure(r *Record, n *Device) (bool, error) {
	if err := d.loadConfigurations(); err != nil {
		return false, err
	}
	if len(d.configs.list) == 0 && n.Configured == "" {
		return false, nil
	}
	old, err := n.configured()
	if err != nil {
		return false, err
	}
	next, wanted, err := d.wanted(n)
	if err != nil {
		return false, err
	}
	if next.Patch, err = device.EncodePatch(wanted); err != nil {
		return false, err
	}
	if next.Patch != old.Patch {
		if err := d.applyConfigured(r, n, old.Patch, wanted); err != nil {
			if !isRefusal(err) {
				return false, err
			}
			next.Patch = old.Patch
			for _, status := range []map[string]string{next.Status, next.Deployed} {
				for id := range status {
					status[id] = statusTargeted
				}
			}
		}
	}
	if next.Patch == old.Patch && maps.Equal(next.Status, old.Status) && maps.Equal(next.Deployed, old.Deployed) {
		return false, nil
	}
	if err := d.tally(old.Status, -1); err != nil {
		return false, err
	}
	if err := d.tally(next.Status, +1); err != nil {
		return false, err
	}
	return true, n.setConfigured(&next)
}

// isRefusal tells what a twin refuses from an error of reading state.
func isRefusal(err error) bool {
	return errors.Is(err, device.ErrArgument) || errors.Is(err, device.ErrTooLarge) || errors.Is(err, device.ErrFormat)
}

// applyConfigured changes the desired properties from what the configurations
// wanted before to what they want now.
func (d *Devices) applyConfigured(r *Record, n *Device, before string, wanted map[string]any) error {
	old, err := device.DecodePatch(before)
	if err != nil {
		return fmt.Errorf("%w: configurations of %s: %w", errCorrupt, n.Identity.Ref(), err)
	}
	body, err := json.Marshal(map[string]any{"properties": map[string]any{"desired": device.RemovalPatch(old, wanted)}})
	if err != nil {
		return err
	}
	ref := n.Identity.Ref()
	_, err = d.changeTwin(r, n, &device.TwinChange{DeviceID: ref.Device, ModuleID: ref.Module, Body: body})
	return err
}

// tally counts an entity in or out of the configurations that it has.
func (d *Devices) tally(status map[string]string, by int64) error {
	for _, id := range slices.Sorted(maps.Keys(status)) {
		var c ConfigurationCounts
		if _, err := d.load(shelfTally+id, &c); err != nil {
			return err
		}
		c.Targeted += by
		if status[id] == statusApplied {
			c.Applied += by
		}
		if c == (ConfigurationCounts{}) {
			d.shelf.put(shelfTally+id, nil)
		} else if err := d.keep(shelfTally+id, &c); err != nil {
			return err
		}
	}
	return nil
}

// unconfigure counts an entity that is deleted out.
func (d *Devices) unconfigure(n *Device) error {
	old, err := n.configured()
	if err != nil {
		return err
	}
	return d.tally(old.Status, -1)
}

func (n *Device) configured() (c Configured, err error) {
	if n.Configured == "" {
		return c, nil
	}
	if err := json.Unmarshal([]byte(n.Configured), &c); err != nil {
		return c, fmt.Errorf("%w: configurations of %s: %w", errCorrupt, n.Identity.Ref(), err)
	}
	return c, nil
}

// setConfigured keeps what was made of the entity, and how its twin shows it.
func (n *Device) setConfigured(c *Configured) error {
	n.Configured, n.Configurations = "", ""
	if len(c.Status)+len(c.Deployed) == 0 && c.Patch == "" {
		return nil
	}
	b, err := json.Marshal(c)
	if err != nil {
		return err
	}
	n.Configured = string(b)
	n.Configurations = c.shown()
	return nil
}

// shown is the member configurations of a twin, "" for none.
func (c *Configured) shown() string {
	if len(c.Status)+len(c.Deployed) == 0 {
		return ""
	}
	type one struct {
		Status string `json:"status"`
	}
	all := map[string]one{}
	for _, status := range []map[string]string{c.Status, c.Deployed} {
		for id, s := range status {
			all[id] = one{s}
		}
	}
	b, err := json.Marshal(all)
	if err != nil {
		return ""
	}
	return string(b)
}

// ConfigurationState is what a partition knows of the configurations.
type ConfigurationState struct {
	Revisions map[string]int64 // by id
	Swept     bool             // all entities have been evaluated
	Counts    map[string]ConfigurationCounts
}

// Configurations returns what this partition knows of the configurations.
func (d *Devices) Configurations() (s ConfigurationState, err error) {
	if err := d.loadConfigurations(); err != nil {
		return s, err
	}
	s.Revisions, s.Counts = map[string]int64{}, map[string]ConfigurationCounts{}
	for _, c := range d.configs.list {
		var n ConfigurationCounts
		if _, err := d.load(shelfTally+c.ID, &n); err != nil {
			return s, err
		}
		s.Revisions[c.ID], s.Counts[c.ID] = c.Revision, n
	}
	var w sweep
	found, err := d.load(shelfSweep, &w)
	s.Swept = !found || w.Done
	return s, err
}
