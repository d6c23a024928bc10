package webhook

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"
	"unicode/utf8"
)

// Item is one message of a batch.
type Item struct {
	ID         string // the same when it is posted again
	Enqueued   time.Time
	Source     string // Telemetry or the category of an event
	Properties map[string]string
	System     map[string]string
	Body       []byte
}

// AppendBatch appends the body of a post.
func AppendBatch(dst []byte, items []Item) []byte {
	dst = append(dst, '[')
	for i := range items {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = items[i].append(dst)
	}
	return append(dst, ']')
}

func (m *Item) append(dst []byte) []byte {
	properties := m.Properties
	if properties == nil {
		properties = map[string]string{}
	}
	body, ok := m.json()
	if !ok {
		body, _ = json.Marshal(base64.StdEncoding.EncodeToString(m.Body)) // text
	}
	b, err := json.Marshal(struct {
		ID         string            `json:"Id"`
		Source     string            `json:"Source"`
		Enqueued   string            `json:"EnqueuedTimeUtc"`
		Properties map[string]string `json:"Properties"`
		System     map[string]string `json:"SystemProperties"`
		Body       json.RawMessage   `json:"Body"`
	}{m.ID, m.Source, m.Enqueued.UTC().Format("2006-01-02T15:04:05.0000000Z"), properties, m.System, body})
	if err != nil {
		panic(err) // texts and a body that was checked
	}
	return append(dst, b...)
}

// json returns the body where the message says that it is JSON in UTF-8 and it
// is; all else is sent as base64 text.
func (m *Item) json() (json.RawMessage, bool) {
	kind, _, _ := strings.Cut(m.System["contentType"], ";")
	if !strings.EqualFold(strings.TrimSpace(kind), "application/json") || !strings.EqualFold(m.System["contentEncoding"], "utf-8") {
		return nil, false
	}
	return m.Body, utf8.Valid(m.Body) && json.Valid(m.Body)
}
