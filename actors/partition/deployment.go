package partition

import (
	"maps"
	"slices"

	"github.com/gemello/gemello/device"
)

// wanted evaluates all configurations for an entity, the weakest first: those
// that it has, and the desired properties that they say together.
func (d *Devices) wanted(n *Device) (next Configured, desired map[string]any, err error) {
	next, desired = Configured{Status: map[string]string{}}, map[string]any{}
	var owner *Device
	if n.Identity.ModuleID != "" {
		if owner, err = d.cache.get(device.Ref{Device: n.Identity.DeviceID}.Key()); err != nil {
			return next, nil, err
		}
	}
	var deployments []*configuration // of a module: those for its device
	if owner != nil {
		deployments = d.deployments(owner)
	}
	for _, c := range d.configs.list {
		if c.picks(n) {
			next.Status[c.ID] = statusApplied
			device.OverlayPatch(desired, c.desired)
		}
		content, has := c.deployment[n.Identity.ModuleID]
		if !has || !slices.Contains(deployments, c) {
			continue
		}
		if content.Whole {
			clear(desired)
			for id := range next.Deployed {
				next.Deployed[id] = statusTargeted
			}
		}
		if next.Deployed == nil {
			next.Deployed = map[string]string{}
		}
		next.Deployed[c.ID] = statusApplied
		device.OverlayPatch(desired, content.Desired)
	}
	if owner == nil {
		d.overruled(n, next.Status)
	}
	return next, desired, nil
}

// deployments are those that a device has, the weakest first: they pick it, and
// there is room for the modules that it lacks.
func (d *Devices) deployments(n *Device) (list []*configuration) {
	if !d.configs.deploys {
		return nil
	}
	room := device.MaxModules - len(n.Modules)
	lacks := map[string]bool{}
	for _, c := range d.configs.list {
		if c.deployment == nil || !c.picks(n) {
			continue
		}
		var more []string
		for m := range c.deployment {
			if _, has := slices.BinarySearch(n.Modules, m); !has && !lacks[m] {
				more = append(more, m)
			}
		}
		if len(more) > room {
			continue
		}
		room -= len(more)
		for _, m := range more {
			lacks[m] = true
		}
		list = append(list, c)
	}
	return list
}

// overruled finds the deployments of which no module of a device has anything:
// there is no room for their modules, or stronger ones say the whole of all of
// them.
func (d *Devices) overruled(n *Device, status map[string]string) {
	heard := map[string]string{} // by module: the strongest that says the whole
	list := d.deployments(n)
	for _, c := range list {
		for m, content := range c.deployment {
			if content.Whole {
				heard[m] = c.ID
			}
		}
	}
	counts := map[string]bool{}
	below := maps.Clone(heard) // modules of which a stronger one says the whole
	for _, c := range list {
		for m := range c.deployment {
			if below[m] == c.ID {
				delete(below, m)
			}
			if _, hidden := below[m]; !hidden {
				counts[c.ID] = true
			}
		}
	}
	for _, c := range d.configs.list {
		if c.deployment != nil && status[c.ID] != "" && len(c.desired) == 0 && !counts[c.ID] {
			status[c.ID] = statusTargeted
		}
	}
}

// keepConfigured keeps a copy of an entity after a change, with what the
// configurations make of it and, when its configurations are others now, of its
// modules.
func (d *Devices) keepConfigured(r *Record, n *Device) error {
	changed, err := d.configure(r, n)
	if err != nil {
		return err
	}
	d.put(n.Identity.Ref().Key(), n)
	if !changed {
		return nil
	}
	return d.deploy(r, n)
}

// deploy makes the modules that a device, which has been kept, has to have, and
// brings the others up to date.
func (d *Devices) deploy(r *Record, n *Device) error {
	if n.Identity.ModuleID != "" {
		return nil
	}
	for _, m := range slices.Clone(n.Modules) {
		key := device.Ref{Device: n.Identity.DeviceID, Module: m}.Key()
		doc, err := d.cache.get(key)
		if err != nil {
			return err
		}
		if doc == nil {
			continue
		}
		module := *doc
		if changed, err := d.configure(r, &module); err != nil {
			return err
		} else if changed {
			d.put(key, &module)
			d.unsaved++
		}
	}
	lacks := map[string]bool{}
	for _, c := range d.deployments(n) {
		for m := range c.deployment {
			if _, has := slices.BinarySearch(n.Modules, m); !has {
				lacks[m] = true
			}
		}
	}
	for _, m := range slices.Sorted(maps.Keys(lacks)) {
		if err := d.makeModule(r, device.Ref{Device: n.Identity.DeviceID, Module: m}); err != nil {
			return err
		}
	}
	return nil
}

// makeModule makes a module that can't connect by itself until it gets
// credentials. A device that has no room for it stays without.
func (d *Devices) makeModule(r *Record, ref device.Ref) error {
	c := device.Change{Wanted: device.Identity{DeviceID: ref.Device, ModuleID: ref.Module, Auth: device.Auth{Type: device.AuthNone}}}
	id, refused := c.Apply(nil, d.at(r))
	if refused == nil {
		var err error
		if refused, err = d.addModule(ref); err != nil {
			return err
		}
	}
	if refused != nil {
		return nil
	}
	n := Device{Document: device.Document{Twin: device.NewTwin()}}
	n.Identity = id
	if _, err := d.configure(r, &n); err != nil {
		return err
	}
	d.count(&n.Entry, +1)
	d.put(ref.Key(), &n)
	d.unsaved++
	d.lifecycleEvent(r, &n, operationCreate)
	return nil
}
