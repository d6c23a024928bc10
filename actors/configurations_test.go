package actors_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gemello/gemello/device"
)

func (h *jobNode) configuration(id, condition string, priority int, content string) device.Configuration {
	h.t.Helper()
	c, err := device.ParseConfiguration(id, fmt.Appendf(nil, `{"targetCondition":%q,"priority":%d,"content":{"deviceContent":%s}}`, condition, priority, content))
	if err != nil {
		h.t.Fatal(err)
	}
	v, _, err := h.node.PutConfiguration(h.t.Context(), c, "", device.Audit{})
	if err != nil {
		h.t.Fatal(err)
	}
	return v.Configuration
}

// desired waits until a device's desired properties and configurations are as
// wanted.
func (h *jobNode) desired(id, want, configurations string) {
	h.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		doc, err := h.node.Twin(h.t.Context(), device.Ref{Device: id})
		got := string(doc.Twin.Desired.AppendDocument(nil))
		if err == nil && got == want && doc.Configurations == configurations {
			return
		}
		if time.Now().After(deadline) {
			h.t.Fatalf("%s has %s %s (%v), want %s %s", id, got, doc.Configurations, err, want, configurations)
		}
		<-time.After(10 * time.Millisecond)
	}
}

func (h *jobNode) tags(id, tags string) {
	h.t.Helper()
	if _, err := h.node.PatchTwin(h.t.Context(), device.TwinChange{DeviceID: id, Body: []byte(`{"tags":` + tags + `}`)}); err != nil {
		h.t.Fatal(err)
	}
}

func TestConfigurationFollowsItsTargets(t *testing.T) {
	h := newJobNode(t, 3)
	defer func() { h.stop() }()
	h.tags("d000", `{"site":"a"}`)
	low := h.configuration("low", "*", 1, `{"properties.desired.net":{"rate":1,"ssid":"x"},"properties.desired.mode":"day"}`)
	h.desired("d002", `{"mode":"day","net":{"rate":1,"ssid":"x"}}`, `{"low":{"status":"Applied"}}`)
	h.configuration("high", "tags.site='a'", 10, `{"properties.desired":{"net":{"rate":5}}}`)
	h.desired("d000", `{"mode":"day","net":{"rate":5,"ssid":"x"}}`, `{"high":{"status":"Applied"},"low":{"status":"Applied"}}`)
	// A change of the twin counts at once, without a timer.
	h.tags("d001", `{"site":"a"}`)
	doc, err := h.node.Twin(t.Context(), device.Ref{Device: "d001"})
	if got := string(doc.Twin.Desired.AppendDocument(nil)); err != nil || got != `{"mode":"day","net":{"rate":5,"ssid":"x"}}` {
		t.Errorf("right after the change: %s %v", got, err)
	}
	h.tags("d001", `{"site":"b"}`)
	h.desired("d001", `{"mode":"day","net":{"rate":1,"ssid":"x"}}`, `{"low":{"status":"Applied"}}`)
	// A restart keeps all of it and applies nothing again.
	before, _ := h.node.Twin(t.Context(), device.Ref{Device: "d000"})
	h.stop()
	h.start()
	h.desired("d000", `{"mode":"day","net":{"rate":5,"ssid":"x"}}`, `{"high":{"status":"Applied"},"low":{"status":"Applied"}}`)
	h.create("d009")
	h.desired("d009", `{"mode":"day","net":{"rate":1,"ssid":"x"}}`, `{"low":{"status":"Applied"}}`)
	after, _ := h.node.Twin(t.Context(), device.Ref{Device: "d000"})
	if before.Twin.Version != after.Twin.Version {
		t.Errorf("the restart changed the twin from version %d to %d", before.Twin.Version, after.Twin.Version)
	}
	v, err := h.node.Configuration(t.Context(), "low")
	if err != nil || v.Counts.Targeted != 4 || v.Counts.Applied != 4 {
		t.Errorf("low: %+v %v", v.Counts, err)
	}
	if err := h.node.DeleteConfiguration(t.Context(), "low", "bm90", device.Audit{}); !errors.Is(err, device.ErrPrecondition) {
		t.Errorf("delete with a stale etag: %v", err)
	}
	if err := h.node.DeleteConfiguration(t.Context(), "low", low.ETag(), device.Audit{}); err != nil {
		t.Fatal(err)
	}
	h.desired("d000", `{"net":{"rate":5}}`, `{"high":{"status":"Applied"}}`)
	h.desired("d002", `{}`, ``)
	if rows := h.queryRows("SELECT deviceId FROM devices WHERE configurations.[[high]].status = 'Applied'"); rows != `{"deviceId":"d000"}` {
		t.Errorf("devices that have high: %s", rows)
	}
}

// TestNewestConfigurationWinsATie also shows that a twin that refuses a
// configuration stays targeted.
func TestNewestConfigurationWinsATie(t *testing.T) {
	h := newJobNode(t, 1)
	defer h.stop()
	h.configuration("a", "*", 5, `{"properties.desired.v":1}`)
	h.desired("d000", `{"v":1}`, `{"a":{"status":"Applied"}}`)
	h.configuration("b", "*", 5, `{"properties.desired.v":2}`)
	h.desired("d000", `{"v":2}`, `{"a":{"status":"Applied"},"b":{"status":"Applied"}}`)
	big := `{"x":"` + strings.Repeat("x", 4000) + `"}`
	many := []string{}
	for i := range 9 {
		many = append(many, fmt.Sprintf(`"properties.desired.k%d":%s`, i, big))
	}
	h.configuration("c", "*", 5, "{"+strings.Join(many, ",")+"}")
	h.desired("d000", `{"v":2}`, `{"a":{"status":"Targeted"},"b":{"status":"Targeted"},"c":{"status":"Targeted"}}`)
}
