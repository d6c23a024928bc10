package https

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gemello/gemello/ingest"
)

// maxBatch bounds the messages of one batch.
const maxBatch = 1000

// batchItem is a message of a batch.
type batchItem struct {
	Body *string `json:"body"`
	// Base64 is what Java says; the body is base64 unless it is false.
	Base64     *bool                      `json:"base64Encoded"`
	Properties map[string]json.RawMessage `json:"properties"`
}

// decodeBatch reads a batch. The error is ErrInvalid or ErrTooLarge, and then
// nothing of the batch may be used.
func decodeBatch(b []byte) ([]ingest.Message, error) {
	var items []batchItem
	if err := json.Unmarshal(b, &items); err != nil {
		return nil, fmt.Errorf("%w: the batch is not a JSON array of messages: %v", ingest.ErrInvalid, err)
	}
	if len(items) > maxBatch {
		return nil, fmt.Errorf("%w: the batch has %d messages, %d are allowed", ingest.ErrTooLarge, len(items), maxBatch)
	}
	messages := make([]ingest.Message, 0, len(items))
	total := 0
	for i := range items {
		m, size, err := items[i].message()
		if err != nil {
			return nil, fmt.Errorf("message %d of the batch: %w", i, err)
		}
		if total += size; total > ingest.MaxMessage {
			return nil, fmt.Errorf("%w: the batch has more than the %d bytes of bodies and properties allowed", ingest.ErrTooLarge, ingest.MaxMessage)
		}
		messages = append(messages, m)
	}
	return messages, nil
}

func (it *batchItem) message() (ingest.Message, int, error) {
	if it.Body == nil {
		return ingest.Message{}, 0, fmt.Errorf("%w: it has no body", ingest.ErrInvalid)
	}
	body := []byte(*it.Body)
	if it.Base64 == nil || *it.Base64 {
		var err error
		if body, err = base64.StdEncoding.DecodeString(*it.Body); err != nil {
			return ingest.Message{}, 0, fmt.Errorf("%w: its body is not base64", ingest.ErrInvalid)
		}
	}
	props := make([]ingest.Property, 0, len(it.Properties))
	for _, name := range slices.Sorted(maps.Keys(it.Properties)) {
		key := systemKey(strings.ToLower(name))
		if key == "" {
			if key = name; len(name) >= len(appPrefix) && strings.EqualFold(name[:len(appPrefix)], appPrefix) {
				key = name[len(appPrefix):]
			}
			if key == "" || strings.HasPrefix(key, "$.") {
				return ingest.Message{}, 0, fmt.Errorf("%w: %.40q names no property", ingest.ErrInvalid, name)
			}
		}
		value, err := scalar(it.Properties[name])
		if err != nil {
			return ingest.Message{}, 0, fmt.Errorf("property %.40q: %w", name, err)
		}
		props = append(props, ingest.Property{Key: key, Value: value})
	}
	return message(body, props)
}

// scalar reads a property's value: text, or a number or truth value as it stands.
func scalar(raw json.RawMessage) (string, error) {
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return "", fmt.Errorf("%w: %v", ingest.ErrInvalid, err)
	}
	switch v := v.(type) {
	case string:
		return v, nil
	case float64, bool:
		return string(raw), nil
	case nil:
		return "", nil
	}
	return "", fmt.Errorf("%w: neither text nor number", ingest.ErrInvalid)
}
