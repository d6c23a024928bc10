package api

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/device/credential"
	"github.com/gemello/gemello/device/query"
)

// Queries answers queries over all partitions. Its methods may be called from
// any goroutine and return errors that wrap those of package device or of this
// one.
type Queries interface {
	// Query answers up to limit rows from a cursor on.
	Query(ctx context.Context, q *query.Query, from query.Cursor, limit int) (query.Page, error)
	// Await returns when reads reflect the positions, or ErrUnavailable when ctx
	// ends first.
	Await(ctx context.Context, positions []device.LogPosition) error
}

// Headers of queries and of log positions.
const (
	headerMaxItems     = "x-ms-max-item-count"
	headerContinuation = "x-ms-continuation"
	headerItemType     = "x-ms-item-type"
	headerPosition     = "x-gemello-log-position"
	headerAfter        = "x-gemello-after"
	headerExplain      = "x-gemello-explain"
)

// Limits of a query's request.
const (
	maxQueryBody    = 64 << 10
	maxQueryPage    = 1000
	defaultPage     = 100
	maxContinuation = 4 << 10
)

// setPosition says what of the log the answer reflects.
func (c *call) setPosition() {
	if p := c.reflected.String(); p != "" {
		c.w.Header().Set(headerPosition, p)
	}
}

// await holds a request back until the hub reflects what it names.
func await(ctx context.Context, c *call, q Queries) error {
	positions, err := device.ParsePositions(c.r.Header.Get(headerAfter))
	if err != nil || len(positions) == 0 {
		return err
	}
	if q == nil {
		return fmt.Errorf("%w: %s", ErrNotYet, headerAfter)
	}
	return q.Await(ctx, positions)
}

func (s *Service) query(ctx context.Context, c *call) error {
	return answerQuery(ctx, c, s.queries, s.sealer, func(q *query.Query) error {
		return followQuery(ctx, c, s.live, s.heartbeat, q, func() error {
			if s.accepts != nil && !s.accepts(c.remote()) {
				return s.deny("address")
			}
			return s.authorize(c, credential.ServiceConnect)
		})
	})
}

func (a *Admin) query(ctx context.Context, c *call) error {
	return answerQuery(ctx, c, a.o.Queries, a.o.Sealer, func(q *query.Query) error {
		return followQuery(ctx, c, a.o.Live, a.heartbeat, q, func() error { return a.authorize(c) })
	})
}

// answerQuery answers with a page, or by follow when the client asks for events.
func answerQuery(ctx context.Context, c *call, queries Queries, sealer *credential.Sealer, follow func(*query.Query) error) error {
	if queries == nil {
		return fmt.Errorf("%w: queries", ErrNotYet)
	}
	var in struct {
		Query string `json:"query"`
	}
	if err := c.decode(maxQueryBody, &in); err != nil {
		return err
	}
	q, err := query.Parse(in.Query)
	if err != nil {
		return err
	}
	if wantsEvents(c.r) {
		return follow(q)
	}
	limit := defaultPage
	if v := c.r.Header.Get(headerMaxItems); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > maxQueryPage {
			return fmt.Errorf("%w: %s %.20q, allowed is 1 to %d", device.ErrArgument, headerMaxItems, v, maxQueryPage)
		}
		limit = n
	}
	// A continuation is of one query as this version reads it.
	place := "query continuation\n" + q.String()
	var from query.Cursor
	if v := c.r.Header.Get(headerContinuation); v != "" {
		if from, err = openCursor(sealer, place, v); err != nil {
			return err
		}
	}
	page, err := queries.Query(ctx, q, from, limit)
	if err != nil {
		return err
	}
	h := c.w.Header()
	h.Set(headerItemType, itemType(q))
	if c.r.Header.Get(headerExplain) == "true" {
		h.Set(headerExplain, string(marshal(page.Plan)))
	}
	if page.Next != nil {
		b, err := page.Next.AppendBinary(nil)
		if err != nil {
			return err
		}
		if b, err = sealer.Seal(b, place); err != nil {
			return err
		}
		h.Set(headerContinuation, base64.RawURLEncoding.EncodeToString(b))
	}
	return c.reply(http.StatusOK, array(page.Rows))
}

// openCursor reads a continuation, which only a node with the hub key can have
// made.
func openCursor(sealer *credential.Sealer, place, text string) (from query.Cursor, err error) {
	if len(text) > maxContinuation {
		return from, query.ErrCursor
	}
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return from, query.ErrCursor
	}
	if b, err = sealer.Open(b, place); err != nil {
		return from, query.ErrCursor
	}
	return from, from.UnmarshalBinary(b)
}

// itemType is what typed clients insist on (azure-iot-wire 5.5).
func itemType(q *query.Query) string {
	switch {
	case q.Items != nil:
		return "Raw"
	case q.From == query.Jobs:
		return "DeviceJob"
	}
	return "Twin"
}

// array joins rows to a JSON array.
func array(rows [][]byte) []byte {
	size := 2
	for _, r := range rows {
		size += len(r) + 1
	}
	b := append(make([]byte, 0, size), '[')
	for i, r := range rows {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, r...)
	}
	return append(b, ']')
}
