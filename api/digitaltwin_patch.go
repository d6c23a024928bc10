package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/gemello/gemello/device"
)

// maxPatchOps bounds the operations of one JSON Patch.
const maxPatchOps = 256

// patchOp is one operation of a JSON Patch (RFC 6902); remove has a nil value.
type patchOp struct {
	path  []string
	value any
}

// parsePatch reads the operations add, replace and remove; the others have no
// meaning for properties that are only asked for.
func parsePatch(body []byte) ([]patchOp, error) {
	var raw []struct {
		Op    string          `json:"op"`
		Path  *string         `json:"path"`
		Value json.RawMessage `json:"value"`
	}
	if err := decodeJSON(body, &raw); errors.Is(err, device.ErrArgument) {
		return nil, fmt.Errorf("%w: %w", errJSONPatch, err)
	} else if err != nil {
		return nil, err
	}
	if len(raw) == 0 || len(raw) > maxPatchOps {
		return nil, fmt.Errorf("%w: it has %d operations, allowed is 1 to %d", errJSONPatch, len(raw), maxPatchOps)
	}
	ops := make([]patchOp, len(raw))
	for i, r := range raw {
		if r.Path == nil {
			return nil, fmt.Errorf("%w: operation %d has no path", errJSONPatch, i)
		}
		var err error
		if ops[i].path, err = patchPath(*r.Path); err != nil {
			return nil, err
		}
		switch r.Op {
		case "remove":
			continue
		case "add", "replace":
		default:
			return nil, fmt.Errorf("%w: operation %d is %.20q, allowed are add, replace and remove", errJSONPatch, i, r.Op)
		}
		d := json.NewDecoder(bytes.NewReader(r.Value))
		d.UseNumber()
		if err := d.Decode(&ops[i].value); err != nil || ops[i].value == nil {
			return nil, fmt.Errorf("%w: operation %d has no value; use remove to take a property away", errJSONPatch, i)
		}
	}
	return ops, nil
}

// patchPath splits a JSON pointer (RFC 6901).
func patchPath(p string) ([]string, error) {
	rest, ok := strings.CutPrefix(p, "/")
	if !ok {
		return nil, fmt.Errorf("%w: %.100q, want /PROPERTY or /COMPONENT/PROPERTY", errPatchPath, p)
	}
	path := strings.Split(rest, "/")
	for i, s := range path {
		path[i] = strings.ReplaceAll(strings.ReplaceAll(s, "~1", "/"), "~0", "~")
		if path[i] == "" || path[i][0] == '$' {
			return nil, fmt.Errorf("%w: %.100q", errPatchPath, p)
		}
	}
	return path, nil
}

// mergePatch turns operations into a patch of the twin's desired properties.
func mergePatch(d *device.Document, ops []patchOp) ([]byte, error) {
	desired, err := parseObject(d.Twin.Desired.AppendDocument(nil))
	if err != nil {
		return nil, fmt.Errorf("read desired properties: %w", err)
	}
	reported, err := parseObject(d.Twin.Reported.AppendDocument(nil))
	if err != nil {
		return nil, fmt.Errorf("read reported properties: %w", err)
	}
	after, err := parseObject(d.Twin.Desired.AppendDocument(nil))
	if err != nil {
		return nil, fmt.Errorf("read desired properties: %w", err)
	}
	for _, op := range ops {
		first := op.path[0]
		value := op.value
		component := isComponent(after[first]) || isComponent(reported[first])
		if o, ok := value.(object); ok && len(op.path) == 1 {
			// A component is recognised by the $metadata that it must carry.
			if _, marked := o["$metadata"]; marked {
				component = true
			}
			delete(o, "$metadata")
		}
		if len(op.path) == 2 && after[first] == nil && reported[first] == nil {
			component = true
		}
		if err := apply(after, op.path, value); err != nil {
			return nil, err
		}
		if o, ok := after[first].(object); ok && component {
			o[componentMark] = "c"
		}
	}
	return marshal(object{"properties": object{"desired": difference(desired, after)}}), nil
}

// apply changes one value of a document; objects on the way are made.
func apply(o object, path []string, value any) error {
	for _, name := range path[:len(path)-1] {
		next, ok := o[name].(object)
		if !ok {
			if o[name] != nil {
				return fmt.Errorf("%w: /%.100s: %q is not an object", errPatchPath, strings.Join(path, "/"), name)
			}
			if value == nil {
				return nil // nothing to remove
			}
			next = object{}
			o[name] = next
		}
		o = next
	}
	last := path[len(path)-1]
	if value == nil {
		delete(o, last)
		return nil
	}
	o[last] = value
	return nil
}

// difference is the merge patch (RFC 7396) from a to b.
func difference(a, b object) object {
	out := object{}
	for name := range a {
		if _, stays := b[name]; !stays {
			out[name] = nil
		}
	}
	for name, value := range b {
		was, known := a[name]
		before, wasObject := was.(object)
		now, isObject := value.(object)
		switch {
		case wasObject && isObject:
			if d := difference(before, now); len(d) > 0 {
				out[name] = d
			}
		case !known || !equalJSON(was, value):
			out[name] = value
		}
	}
	return out
}

func equalJSON(a, b any) bool { return bytes.Equal(marshal(a), marshal(b)) }
