package device

import (
	"strconv"
	"time"
)

// Feedback tells the sender of a command how it ended (azure-iot-wire 4.4).
type Feedback struct {
	MessageID    string // empty when the command had none: it can't be correlated
	DeviceID     string
	GenerationID string
	Ended        time.Time
	End          CommandEnd
}

// FeedbackBatch is feedback under one lock.
type FeedbackBatch struct {
	Lock     string
	Enqueued time.Time // of the oldest
	Records  []Feedback
}

// AppendFeedback appends the JSON array that services read.
func AppendFeedback(dst []byte, records []Feedback) []byte {
	dst = append(dst, '[')
	for i := range records {
		if i > 0 {
			dst = append(dst, ',')
		}
		f := &records[i]
		dst = append(dst, `{"originalMessageId":`...)
		dst = appendString(dst, f.MessageID)
		dst = append(dst, `,"enqueuedTimeUtc":`...)
		dst = appendTime(dst, f.Ended)
		dst = append(dst, `,"statusCode":`...)
		dst = strconv.AppendQuote(dst, string(f.End))
		dst = append(dst, `,"description":`...)
		dst = strconv.AppendQuote(dst, string(f.End))
		dst = append(dst, `,"deviceId":`...)
		dst = appendString(dst, f.DeviceID)
		dst = append(dst, `,"deviceGenerationId":`...)
		dst = appendString(dst, f.GenerationID)
		dst = append(dst, '}')
	}
	return append(dst, ']')
}
