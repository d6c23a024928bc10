package partition

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gemello/gemello/device"
)

// refOf names the entity that a record is about.
func refOf(r *Record) device.Ref {
	return device.Ref{Device: string(r.Key), Module: string(r.Header(device.HeaderModule))}
}

// addModule notes a new module in its device's document, so that the device
// knows its modules without a scan. It returns the error that refuses the module.
func (d *Devices) addModule(ref device.Ref) (refused, err error) {
	key := device.Ref{Device: ref.Device}.Key()
	owner, err := d.cache.get(key)
	switch {
	case err != nil:
		return nil, err
	case owner == nil:
		return device.Ref{Device: ref.Device}.NotFound(), nil
	case len(owner.Modules) >= device.MaxModules:
		return fmt.Errorf("%w: %s has %d, %d are allowed", device.ErrTooManyModules, ref.Device, len(owner.Modules), device.MaxModules), nil
	}
	n := *owner
	at, _ := slices.BinarySearch(n.Modules, ref.Module)
	n.Modules = slices.Insert(slices.Clone(n.Modules), at, ref.Module)
	d.put(key, &n)
	return nil, nil
}

// dropModule takes a deleted module out of its device's document.
func (d *Devices) dropModule(ref device.Ref) error {
	key := device.Ref{Device: ref.Device}.Key()
	owner, err := d.cache.get(key)
	if err != nil || owner == nil {
		return err
	}
	if at, found := slices.BinarySearch(owner.Modules, ref.Module); found {
		n := *owner
		n.Modules = slices.Delete(slices.Clone(n.Modules), at, at+1)
		d.put(key, &n)
	}
	return nil
}

// Modules returns the modules of a device in order of id, or nil and false when
// there is no such device.
func (d *Devices) Modules(deviceID string) ([]Device, bool, error) {
	owner, err := d.cache.get(device.Ref{Device: deviceID}.Key())
	if err != nil || owner == nil {
		return nil, false, err
	}
	out := make([]Device, 0, len(owner.Modules))
	for _, m := range owner.Modules {
		doc, err := d.cache.get(device.Ref{Device: deviceID, Module: m}.Key())
		if err != nil {
			return nil, false, err
		}
		if doc != nil {
			out = append(out, *doc)
		}
	}
	return out, true, nil
}

// ListModules returns up to limit modules of all devices whose keys lie above
// after, in order of device and module id.
func (d *Devices) ListModules(after device.Ref, limit int) ([]Device, error) {
	return d.cache.list(after.Key(), limit, isModule)
}

func isModule(key string) bool { return strings.IndexByte(key, 0) >= 0 }
func isDevice(key string) bool { return !isModule(key) }

// notifyIdentity lets the sessions of a device and of its modules, which live by
// the device's status, check their credentials anew.
func (d *Devices) notifyIdentity(ref device.Ref, modules []string) {
	d.notify(Notice{Ref: ref, Kind: NoticeIdentity})
	for _, m := range modules {
		d.notify(Notice{Ref: device.Ref{Device: ref.Device, Module: m}, Kind: NoticeIdentity})
	}
}
