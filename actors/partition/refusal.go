package partition

import (
	"encoding/base64"
	"encoding/json"
	"unicode/utf8"

	"github.com/gemello/gemello/windows"
)

// Reasons of dead-letter and late rows (docs/format/dead-letter.md).
const (
	ReasonMalformed  = "malformed"  // the payload is not the JSON object that the query needs
	ReasonTooLarge   = "too_large"  // the payload exceeds the size limit
	ReasonEmpty      = "empty"      // a record without a value
	ReasonTsInvalid  = "ts_invalid" // TIMESTAMP BY gave NULL or no datetime
	ReasonRowError   = "row_error"  // an expression failed
	ReasonRowLarge   = "row_too_large"
	ReasonControl    = "control"      // a control record of the device log that can't be applied
	ReasonCommand    = "command"      // a command that ended without being completed
	ReasonLate       = "late"         // before arrival − late tolerance
	ReasonOutOfOrder = "out_of_order" // before the watermark
	ReasonEarly      = "early"        // after arrival + early tolerance
	ReasonPastGrace  = "past_grace"   // its windows are gone
	ReasonWebhook    = "webhook"      // a message that a webhook did not take
)

// maxQuoted bounds the payload that a dead-letter or late row repeats.
const maxQuoted = 64 << 10

// refusal is a record or row that a core put aside. Empty fields are left out
// of the row.
type refusal struct {
	Reason    string `json:"reason"`
	Detail    string `json:"detail,omitempty"`
	Pipeline  string `json:"pipeline,omitempty"`
	Source    string `json:"source"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`

	Key     []byte `json:"-"`
	Payload []byte `json:"-"`

	Arrival   windows.Tick `json:"-"`
	Event     windows.Tick `json:"-"`
	Timestamp windows.Tick `json:"-"`
	Watermark windows.Tick `json:"-"`
	timed     bool         // Event, Timestamp and Watermark hold
}

// row adds the forms that times and payload take in JSON. A payload that is not
// UTF-8 is quoted in base64; a long one is cut, and payloadSize says from what.
type refusalRow struct {
	*refusal
	Key           string `json:"key,omitempty"`
	ArrivalTime   string `json:"arrivalTime,omitempty"`
	EventTime     string `json:"eventTime,omitempty"`
	Timestamp     string `json:"timestamp,omitempty"`
	Watermark     string `json:"watermark,omitempty"`
	Payload       string `json:"payload,omitempty"`
	PayloadBase64 string `json:"payloadBase64,omitempty"`
	PayloadSize   int    `json:"payloadSize"`
}

// Undelivered is the dead-letter row of a message that a webhook did not take.
func Undelivered(webhook, detail, source string, partition int32, offset int64, key, payload []byte) []byte {
	return refusal{
		Reason: ReasonWebhook, Detail: webhook + ": " + detail, Source: source, Partition: partition, Offset: offset,
		Key: key, Payload: payload, Arrival: windows.Unset,
	}.row()
}

// deadLetter emits a refusal to a topic under the source record's key.
func deadLetter(e *Effects, topic string, f refusal) {
	text := f.row()
	n := e.topic(topic)
	b := e.room()
	from := len(b)
	b = append(b, f.Key...)
	mid := len(b)
	b = append(b, text...)
	e.done(n, b, from, mid)
}

func (f refusal) row() []byte {
	row := refusalRow{refusal: &f, PayloadSize: len(f.Payload)}
	if f.Arrival != windows.Unset {
		row.ArrivalTime = f.Arrival.String()
	}
	if f.timed {
		row.EventTime, row.Timestamp = f.Event.String(), f.Timestamp.String()
		if f.Watermark != windows.Unset {
			row.Watermark = f.Watermark.String()
		}
	}
	quoted := f.Payload[:min(len(f.Payload), maxQuoted)]
	if utf8.Valid(quoted) {
		row.Payload = string(quoted)
	} else {
		row.PayloadBase64 = base64.StdEncoding.EncodeToString(quoted)
	}
	if utf8.Valid(f.Key) {
		row.Key = string(f.Key)
	}
	text, err := json.Marshal(&row)
	if err != nil {
		panic(err) // a struct of strings and integers
	}
	return text
}
