package device

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"slices"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// decodeAny reads JSON and keeps numbers as they are written.
func decodeAny(text []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, ErrFormat
	}
	return v, nil
}

// DecodePatch reads a patch that EncodePatch wrote.
func DecodePatch(text string) (map[string]any, error) {
	if text == "" {
		return map[string]any{}, nil
	}
	v, err := decodeAny([]byte(text))
	if err != nil {
		return nil, err
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, ErrFormat
	}
	return m, nil
}

// EncodePatch writes a patch with its members in order; an empty one is "".
func EncodePatch(m map[string]any) (string, error) {
	if len(m) == 0 {
		return "", nil
	}
	b, err := json.Marshal(m)
	return string(b), err
}

// OverlayPatch merges a patch over another one: what both say, the upper one
// decides. A null stays, as it removes a property.
func OverlayPatch(under, over map[string]any) {
	for k, v := range over {
		upper, ok := v.(map[string]any)
		if !ok {
			under[k] = v
			continue
		}
		lower, ok := under[k].(map[string]any)
		if !ok {
			lower = map[string]any{}
		} else {
			lower = maps.Clone(lower)
		}
		OverlayPatch(lower, upper)
		under[k] = lower
	}
}

// RemovalPatch returns next with a null for all that old has set and next does
// not mention any more.
func RemovalPatch(old, next map[string]any) map[string]any {
	out := maps.Clone(next)
	for k, was := range old {
		is, there := next[k]
		if !there {
			if was != nil {
				out[k] = nil
			}
			continue
		}
		a, wasObject := was.(map[string]any)
		b, isObject := is.(map[string]any)
		if wasObject && isObject {
			out[k] = RemovalPatch(a, b)
		}
	}
	return out
}
