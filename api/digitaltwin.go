package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/device/credential"
)

// The digital twin is a view of the device twin by the conventions of IoT Plug
// and Play (azure-iot-wire 5.9): a member with "__t":"c" is a component, and a
// reported {"value":…,"ac":…,"av":…,"ad":…} acknowledges a desired property.

// Errors of a patch of a digital twin.
var (
	errJSONPatch = errors.New("not a JSON Patch of a digital twin")
	errPatchPath = errors.New("the path names no property of a digital twin")
)

// digitalTwins are the operations below /digitaltwins.
func (s *Service) digitalTwins(c *call) map[string]operation {
	switch n := len(c.path); {
	case n == 2:
		return map[string]operation{
			http.MethodGet:   {"get_digital_twin", credential.ServiceConnect, s.getDigitalTwin},
			http.MethodPatch: {"patch_digital_twin", credential.ServiceConnect, s.patchDigitalTwin},
		}
	case n == 4 && c.word(2, "commands"):
		return map[string]operation{http.MethodPost: {"digital_twin_command", credential.ServiceConnect, s.digitalTwinCommand}}
	case n == 6 && c.word(2, "components") && c.word(4, "commands"):
		return map[string]operation{http.MethodPost: {"digital_twin_component_command", credential.ServiceConnect, s.digitalTwinCommand}}
	}
	return nil
}

func (s *Service) getDigitalTwin(ctx context.Context, c *call) error {
	return c.forRef(func(ref device.Ref) error {
		d, err := s.hub.Twin(ctx, ref)
		if err != nil {
			return err
		}
		body, err := digitalTwin(&d)
		if err != nil {
			return err
		}
		setETag(c.w.Header(), d.Twin.ETag())
		return c.reply(http.StatusOK, body)
	})
}

// patchTries is how often a patch is tried while others change the twin.
const patchTries = 5

func (s *Service) patchDigitalTwin(ctx context.Context, c *call) error {
	body, err := c.body(device.MaxPatchBytes)
	if err != nil {
		return err
	}
	ops, err := parsePatch(body)
	if err != nil {
		return err
	}
	return c.forRef(func(ref device.Ref) error {
		match := ifMatch(c.r.Header)
		for try := 1; ; try++ {
			d, err := s.hub.Twin(ctx, ref)
			if err != nil {
				return err
			}
			merge, err := mergePatch(&d, ops)
			if err != nil {
				return err
			}
			// What replaces an object names the members that go, so the patch fits
			// this version of the twin alone.
			change := device.TwinChange{DeviceID: ref.Device, Body: merge, IfMatch: d.Twin.ETag(), Audit: c.audit}
			if match != "" && match != "*" {
				change.IfMatch = match
			}
			after, err := s.hub.PatchTwin(ctx, change)
			if errors.Is(err, device.ErrPrecondition) && change.IfMatch != match && try < patchTries {
				continue
			}
			if err != nil {
				return err
			}
			setETag(c.w.Header(), after.Twin.ETag())
			c.w.Header().Set("Location", "https://"+c.r.Host+"/digitaltwins/"+c.literal[1])
			return c.empty(http.StatusAccepted)
		}
	})
}

// digitalTwinCommand runs a command of the device or of a component, which is
// the method COMPONENT*COMMAND.
func (s *Service) digitalTwinCommand(_ context.Context, c *call) error {
	if s.methods == nil {
		return ErrNotYet
	}
	payload, err := c.body(device.MaxMethodPayload)
	if err != nil {
		return err
	}
	m := device.MethodCall{Name: c.path[len(c.path)-1], Payload: bytes.TrimSpace(payload)}
	if len(c.path) == 6 {
		m.Name = c.path[3] + "*" + m.Name
	}
	var seconds [2]*int
	for i, name := range []string{"connectTimeoutInSeconds", "responseTimeoutInSeconds"} {
		if v := c.r.URL.Query().Get(name); v != "" {
			n, err := strconv.Atoi(v)
			if err != nil {
				return fmt.Errorf("%w: %s is %.20q, want seconds", device.ErrArgument, name, v)
			}
			seconds[i] = &n
		}
	}
	if m.ConnectTimeout, m.ResponseTimeout, err = methodTimes(seconds[0], seconds[1]); err != nil {
		return err
	}
	if err := m.Check(); err != nil {
		return err
	}
	return c.forRef(func(ref device.Ref) error {
		r, err := s.open.invoke(c, s.methods, ref, m, append([]byte(m.Name+"\x00"), payload...))
		if err != nil {
			return err
		}
		c.w.Header().Set("x-ms-command-statuscode", strconv.Itoa(r.Status))
		return c.reply(http.StatusOK, r.Payload)
	})
}

// object is a JSON object whose numbers keep their text.
type object = map[string]any

func parseObject(b []byte) (object, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var o object
	err := d.Decode(&o)
	return o, err
}

func member(o object, name string) object {
	m, _ := o[name].(object)
	return m
}

// componentMark is the member that makes an object of a twin a component.
const componentMark = "__t"

func isComponent(v any) bool {
	o, ok := v.(object)
	return ok && o[componentMark] == "c"
}

// digitalTwin is the document of a device.
func digitalTwin(d *device.Document) ([]byte, error) {
	desired, err := parseObject(d.Twin.Desired.AppendJSON(nil))
	if err != nil {
		return nil, fmt.Errorf("read desired properties: %w", err)
	}
	reported, err := parseObject(d.Twin.Reported.AppendJSON(nil))
	if err != nil {
		return nil, fmt.Errorf("read reported properties: %w", err)
	}
	version := desired["$version"]
	wanted, said := member(desired, "$metadata"), member(reported, "$metadata")
	doc := properties(desired, reported, wanted, said, version)
	doc["$dtId"] = d.Identity.DeviceID
	doc["$metadata"].(object)["$model"] = d.Twin.ModelID
	for name := range union(desired, reported) {
		if isComponent(desired[name]) || isComponent(reported[name]) {
			doc[name] = properties(member(desired, name), member(reported, name), member(wanted, name), member(said, name), version)
		}
	}
	return marshal(doc), nil
}

func union(a, b object) map[string]bool {
	names := make(map[string]bool, len(a)+len(b))
	for _, o := range []object{a, b} {
		for name := range o {
			if !strings.HasPrefix(name, "$") && name != componentMark {
				names[name] = true
			}
		}
	}
	return names
}

// properties are those of the device or of one component.
func properties(desired, reported, wanted, said object, version any) object {
	about := object{}
	out := object{"$metadata": about}
	for name := range union(desired, reported) {
		want, isWanted := desired[name]
		have, isSaid := reported[name]
		if isComponent(want) || isComponent(have) {
			continue
		}
		meta := object{}
		if isWanted {
			out[name] = want
			meta["desiredValue"], meta["desiredVersion"] = want, version
			if v := member(wanted, name)["$lastUpdatedVersion"]; v != nil {
				meta["desiredVersion"] = v
			}
			meta["lastUpdateTime"] = member(wanted, name)["$lastUpdated"]
		}
		if isSaid {
			out[name] = have
			if ack, ok := have.(object); ok && ack["ac"] != nil && ack["av"] != nil {
				out[name] = ack["value"]
				meta["ackValue"], meta["ackCode"], meta["ackVersion"] = ack["value"], ack["ac"], ack["av"]
				if ad := ack["ad"]; ad != nil {
					meta["ackDescription"] = ad
				}
			}
			meta["lastUpdateTime"] = member(said, name)["$lastUpdated"]
		}
		about[name] = meta
	}
	return out
}
