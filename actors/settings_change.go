package actors

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/persistence/eventlog"
)

// Settings whose values their users make and read; keys of the settings topic.
const (
	SettingPolicies = "policies" // shared access policies, keys sealed
	SettingIPFilter = "ipfilter" // rules for the addresses of clients
)

// SettingChange says what changes a setting, for the audit trail. Action is a
// verb such as "create", Object names what it is done to ("policies/service");
// neither holds a secret.
type SettingChange struct {
	Setting string
	Action  string
	Object  string
	Audit   device.Audit
}

// Setting returns the value of a setting, nil when there is none. It must not be
// changed.
func (n *Node) Setting(name string) []byte { return n.settings.get(name) }

// SettingsMoved returns a channel that is closed by the next change of any
// setting, by this node or another.
func (n *Node) SettingsMoved() <-chan struct{} {
	n.settings.mu.Lock()
	defer n.settings.mu.Unlock()
	return n.settings.moved
}

// ChangeSetting replaces the value of a setting by what change makes of it; nil
// deletes it. Changes of one node go one after the other, so that none is lost.
// The audit record is durable before the change is made: what can't be noted is
// not done. The error is change's, or that of the log.
func (n *Node) ChangeSetting(ctx context.Context, c SettingChange, change func(old []byte) ([]byte, error)) error {
	select {
	case n.settings.turn <- struct{}{}:
		defer func() { <-n.settings.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	value, err := change(n.settings.get(c.Setting))
	if err != nil {
		return err
	}
	if err := n.NoteSetting(ctx, c); err != nil {
		return err
	}
	return n.settings.put(ctx, c.Setting, value)
}

// settingNote is the body of a setting record in the device log.
type settingNote struct {
	Action string `json:"action"`
	Object string `json:"object"`
}

// NoteSetting appends the audit record of a change of a setting to the device
// log and returns when it is durable. Its key begins with a slash, which no
// device id holds.
func (n *Node) NoteSetting(ctx context.Context, c SettingChange) error {
	body, err := json.Marshal(settingNote{c.Action, c.Object})
	if err != nil {
		return err
	}
	h := append(auditHeaders(c.Audit), eventlog.Header{Key: device.HeaderKind, Value: []byte(device.KindSetting)})
	done := make(chan error, 1)
	n.append(ctx, &eventlog.Record{Topic: n.topics.deviceLog, Key: []byte("/" + c.Setting), Value: body, Headers: h}, func(err error) { done <- err })
	select {
	case err = <-done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("note %s of %s: %w", c.Action, c.Object, err)
	}
	return nil
}
