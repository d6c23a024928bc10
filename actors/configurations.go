package actors

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gemello/gemello/actors/partition"
	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/device/query"
	"github.com/gemello/gemello/persistence/eventlog"
)

// settingConfiguration is followed by the configuration's id.
const settingConfiguration = "configuration/"

// ConfigurationView is a configuration with its figures.
type ConfigurationView struct {
	device.Configuration
	Counts  partition.ConfigurationCounts
	Results map[string]int64 // of custom metrics: rows of each query; nil in listings
}

// configurations returns those of the settings by id.
func (n *Node) configurations() (map[string]device.Configuration, error) {
	n.settings.mu.Lock()
	defer n.settings.mu.Unlock()
	all := map[string]device.Configuration{}
	for k, v := range n.settings.values {
		id, ok := strings.CutPrefix(k, settingConfiguration)
		if !ok {
			continue
		}
		var c device.Configuration
		if err := json.Unmarshal(v, &c); err != nil {
			return nil, fmt.Errorf("setting %s: %w", k, err)
		}
		all[id] = c
	}
	return all, nil
}

// CheckTarget reports what is wrong with a target condition:
// device.ErrTargetCondition.
func CheckTarget(condition string) error {
	if _, err := query.ParseCondition(condition); err != nil {
		return fmt.Errorf("%w: %w", device.ErrTargetCondition, err)
	}
	return nil
}

// PutConfiguration creates a configuration when ifMatch is empty, else changes
// the one that has that etag. The errors wrap device.ErrConfigurationExists,
// ErrConfigurationNotFound, ErrPrecondition, ErrConfigurationQuota,
// ErrTargetCondition or ErrMetricQuery.
func (n *Node) PutConfiguration(ctx context.Context, c device.Configuration, ifMatch string, a device.Audit) (v ConfigurationView, created bool, err error) {
	if err := CheckTarget(c.Condition); err != nil {
		return v, false, err
	}
	for name, text := range c.Queries {
		if _, err := query.Parse(text); err != nil {
			return v, false, fmt.Errorf("%w: %s: %w", device.ErrMetricQuery, name, err)
		}
	}
	all, err := n.configurations()
	if err != nil {
		return v, false, err
	}
	if _, ok := all[c.ID]; !ok && len(all) >= device.MaxConfigurations {
		return v, false, fmt.Errorf("%w: %d are allowed", device.ErrConfigurationQuota, device.MaxConfigurations)
	}
	change := SettingChange{Setting: settingConfiguration + c.ID, Action: "put", Object: "configurations/" + c.ID, Audit: a}
	err = n.ChangeSetting(ctx, change, func(old []byte) ([]byte, error) {
		now := n.now().UTC()
		var was device.Configuration
		if created = old == nil; !created {
			if err := json.Unmarshal(old, &was); err != nil {
				return nil, fmt.Errorf("setting %s: %w", change.Setting, err)
			}
		}
		switch {
		case created && ifMatch != "" && ifMatch != "*":
			return nil, fmt.Errorf("%w: %s", device.ErrConfigurationNotFound, c.ID)
		case !created && ifMatch == "":
			return nil, fmt.Errorf("%w: %s", device.ErrConfigurationExists, c.ID)
		case !created && ifMatch != "*" && ifMatch != was.ETag():
			return nil, fmt.Errorf("%w: configuration %s has etag %s, not %q", device.ErrPrecondition, c.ID, was.ETag(), ifMatch)
		}
		c.Created, c.Updated = now, now
		// Above that of any earlier configuration of the name.
		c.Revision = max(now.UnixMilli(), was.Revision+1)
		if !created {
			c.Created = was.Created
		}
		return json.Marshal(&c)
	})
	if err != nil {
		return v, false, err
	}
	n.wakeConfigurations()
	return ConfigurationView{Configuration: c}, created, nil
}

// DeleteConfiguration deletes a configuration; what it has set is removed from
// the twins. ifMatch is "", "*" or an etag.
func (n *Node) DeleteConfiguration(ctx context.Context, id, ifMatch string, a device.Audit) error {
	change := SettingChange{Setting: settingConfiguration + id, Action: "delete", Object: "configurations/" + id, Audit: a}
	err := n.ChangeSetting(ctx, change, func(old []byte) ([]byte, error) {
		if old == nil {
			return nil, fmt.Errorf("%w: %s", device.ErrConfigurationNotFound, id)
		}
		var was device.Configuration
		if err := json.Unmarshal(old, &was); err != nil {
			return nil, fmt.Errorf("setting %s: %w", change.Setting, err)
		}
		if ifMatch != "" && ifMatch != "*" && ifMatch != was.ETag() {
			return nil, fmt.Errorf("%w: configuration %s has etag %s, not %q", device.ErrPrecondition, id, was.ETag(), ifMatch)
		}
		return nil, nil
	})
	if err == nil {
		n.wakeConfigurations()
	}
	return err
}

// Configuration returns one with its figures.
func (n *Node) Configuration(ctx context.Context, id string) (ConfigurationView, error) {
	all, err := n.Configurations(ctx, 0)
	if err != nil {
		return ConfigurationView{}, err
	}
	i := slices.IndexFunc(all, func(v ConfigurationView) bool { return v.ID == id })
	if i < 0 {
		return ConfigurationView{}, fmt.Errorf("%w: %s", device.ErrConfigurationNotFound, id)
	}
	v := all[i]
	v.Results = map[string]int64{}
	for _, name := range slices.Sorted(maps.Keys(v.Queries)) {
		rows, err := n.countRows(ctx, v.Queries[name])
		if err != nil {
			return v, fmt.Errorf("metric %s: %w", name, err)
		}
		v.Results[name] = rows
	}
	return v, nil
}

// countRows counts the rows of a query.
func (n *Node) countRows(ctx context.Context, text string) (rows int64, err error) {
	q, err := query.Parse(text)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", device.ErrMetricQuery, err)
	}
	for at := (&query.Cursor{}); at != nil; {
		page, err := n.Query(ctx, q, *at, 1000)
		if err != nil {
			return 0, err
		}
		rows += int64(len(page.Rows))
		at = page.Next
	}
	return rows, nil
}

// Configurations returns up to limit configurations, all for 0, in order of id.
func (n *Node) Configurations(ctx context.Context, limit int) ([]ConfigurationView, error) {
	all, err := n.configurations()
	if err != nil {
		return nil, err
	}
	ids := slices.Sorted(maps.Keys(all))
	if limit > 0 {
		ids = ids[:min(len(ids), limit)]
	}
	out := make([]ConfigurationView, len(ids))
	for i, id := range ids {
		out[i].Configuration = all[id]
	}
	for p := range n.devices {
		s, err := n.configurationState(ctx, int32(p))
		if err != nil {
			return nil, err
		}
		for i, id := range ids {
			out[i].Counts.Targeted += s.Counts[id].Targeted
			out[i].Counts.Applied += s.Counts[id].Applied
		}
	}
	return out, nil
}

func (n *Node) configurationState(ctx context.Context, p int32) (s partition.ConfigurationState, err error) {
	if e := n.devices[p].do(ctx, func(c core) { s, err = c.(*devicesCore).Configurations() }); e != nil {
		return s, e
	}
	return s, err
}

func (n *Node) wakeConfigurations() {
	select {
	case n.configsWake <- struct{}{}:
	default:
	}
}

// driveConfigurations makes the configurations of all partitions those of the
// settings, and has the entities evaluated after a change, until ctx ends.
func (n *Node) driveConfigurations(ctx context.Context) error {
	tick := time.NewTicker(jobLook)
	defer tick.Stop()
	for {
		for p := range int32(len(n.devices)) {
			if err := n.configure(ctx, p); err != nil && ctx.Err() == nil && !errors.Is(err, ErrUnavailable) {
				n.logger.Warn("bring configurations to a partition", "partition", p, "err", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-n.configsWake:
		case <-tick.C:
		}
	}
}

// configure brings one partition up to date.
func (n *Node) configure(ctx context.Context, p int32) error {
	wanted, err := n.configurations()
	if err != nil {
		return err
	}
	has, err := n.configurationState(ctx, p)
	if err != nil {
		return err
	}
	for _, id := range slices.Sorted(maps.Keys(has.Revisions)) {
		if _, ok := wanted[id]; !ok {
			if err := n.configRecord(ctx, p, id, partition.ConfigDelete, nil); err != nil {
				return err
			}
			has.Swept = false
		}
	}
	for _, id := range slices.Sorted(maps.Keys(wanted)) {
		c := wanted[id]
		if has.Revisions[id] >= c.Revision {
			continue
		}
		c.Labels, c.Queries, c.Schema, c.Updated = nil, nil, "", time.Time{}
		body, err := json.Marshal(&c)
		if err != nil {
			return err
		}
		if err := n.configRecord(ctx, p, id, partition.ConfigPut, body); err != nil {
			return err
		}
		has.Swept = false
	}
	for !has.Swept {
		if err := n.configRecord(ctx, p, "", partition.ConfigSweep, nil); err != nil {
			return err
		}
		if has, err = n.configurationState(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

func (n *Node) configRecord(ctx context.Context, p int32, id, action string, body []byte) error {
	h := []eventlog.Header{
		{Key: device.HeaderConfig, Value: []byte(id)}, {Key: device.HeaderAction, Value: []byte(action)},
	}
	_, err := n.call(ctx, device.KindConfig, n.keyIn("/configurations", p), body, h)
	return err
}

// ApplyContent applies a configuration's content to one device, once:
// deviceContent is merged into the desired properties of the device and
// modulesContent into those of its modules; those that it lacks are made.
func (n *Node) ApplyContent(ctx context.Context, id string, content []byte, a device.Audit) error {
	var in struct {
		Device  map[string]json.RawMessage            `json:"deviceContent"`
		Modules map[string]map[string]json.RawMessage `json:"modulesContent"`
	}
	if err := json.Unmarshal(content, &in); err != nil {
		return fmt.Errorf("%w: %w", device.ErrConfigurationContent, err)
	}
	ref := device.Ref{Device: id}
	if _, err := n.Identity(ctx, ref); err != nil {
		return err
	}
	patches := map[device.Ref]map[string]any{}
	var err error
	if patches[ref], err = device.DesiredOf(in.Device); err != nil {
		return err
	}
	for _, m := range slices.Sorted(maps.Keys(in.Modules)) {
		module := device.Ref{Device: id, Module: m}
		if err := module.Valid(); err != nil {
			return err
		}
		if patches[module], err = device.DesiredOf(in.Modules[m]); err != nil {
			return err
		}
	}
	for ref, patch := range patches {
		if patch == nil {
			continue
		}
		body, err := json.Marshal(map[string]any{"properties": map[string]any{"desired": patch}})
		if err != nil {
			return err
		}
		if ref.Module != "" {
			if err := n.ensureModule(ctx, ref, a); err != nil {
				return err
			}
		}
		c := device.TwinChange{DeviceID: ref.Device, ModuleID: ref.Module, Body: body, IfMatch: "*", Audit: a}
		if _, err := n.PatchTwin(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// ensureModule makes a module that can't connect by itself until it gets
// credentials.
func (n *Node) ensureModule(ctx context.Context, ref device.Ref, a device.Audit) error {
	_, err := n.Identity(ctx, ref)
	if !errors.Is(err, device.ErrModuleNotFound) {
		return err
	}
	_, err = n.PutIdentity(ctx, device.Change{Wanted: device.Identity{
		DeviceID: ref.Device, ModuleID: ref.Module, Auth: device.Auth{Type: device.AuthNone},
	}, Audit: a})
	if errors.Is(err, device.ErrModuleExists) {
		return nil
	}
	return err
}
