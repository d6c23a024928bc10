package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/gemello/gemello/device/query"
)

// explainQuery answers a query and prints how that was done.
func (f *adminFlags) explainQuery(ctx context.Context, c *adminClient, text string, page int) error {
	var all query.Plan
	pages := 0
	header := http.Header{}
	header.Set("x-gemello-explain", "true")
	start := time.Now()
	err := c.query(ctx, text, page, header, func(h http.Header) error {
		pages++
		var one query.Plan
		if err := json.Unmarshal([]byte(h.Get("x-gemello-explain")), &one); err != nil {
			return fmt.Errorf("the plan of a page is not the JSON expected: %w; is the node of the same version?", err)
		}
		all.Merge(&one)
		return nil
	}, func(json.RawMessage) error { return nil })
	if err != nil {
		return err
	}
	took := time.Since(start)
	if f.json {
		return f.printJSON(struct {
			query.Plan
			Pages   int     `json:"pages"`
			Seconds float64 `json:"seconds"`
		}{all, pages, took.Seconds()})
	}
	w := tabwriter.NewWriter(f.app.stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "ACCESS\tINDEX\tPARTITIONS\tINDEX ENTRIES READ\tROWS READ")
	for _, a := range all.Access {
		index := strings.Join(a.Indexes, " + ")
		if index == "" {
			index = "-"
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\n", a.By, index, len(a.Partitions), a.Entries, a.Rows)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err = fmt.Fprintf(f.app.stdout, "%d rows in %d pages, %s\n", all.Returned, pages, took.Round(10*time.Microsecond))
	return err
}
