package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestTailPrintsLinesAndStopsAtTheLimit(t *testing.T) {
	f := newFakeAdmin(t)
	code, stdout, stderr := f.run(t, "", "tail", "results", "--from", "start", "--limit", "2")
	if want := `{"topic":"results","offset":0}` + "\n" + `{"topic":"results","offset":1}` + "\n"; code != exitDone || stdout != want {
		t.Errorf("code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
	f.called(t, "GET /api/v1/topics/results/records?follow=true&from=start&limit=2")
}

func TestTailSaysWhenTheNodeEndsIt(t *testing.T) {
	f := newFakeAdmin(t)
	code, stdout, stderr := f.run(t, "", "tail", "results")
	if code != exitFailed || strings.Count(stdout, "\n") != 3 || !strings.Contains(stderr, "ended the records of results") {
		t.Errorf("code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
	if code, _, stderr := f.run(t, "", "tail", "results", "--follow=false"); code != exitDone {
		t.Errorf("without --follow: code %d, stderr %q", code, stderr)
	}
}

func TestTailEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "{}")
		w.(http.Flusher).Flush()
		cancel()
		<-r.Context().Done()
	}))
	defer server.Close()
	token := writeTemp(t, "token", testToken)
	code, stdout, stderr := shell{}.runContext(ctx, "tail", "t", "--admin", server.URL, "--token-file", token)
	if code != exitDone || stderr != "" || stdout != "{}\n" && stdout != "" {
		t.Errorf("code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
}

func TestTailTakesLongLines(t *testing.T) {
	long := `{"value":"` + strings.Repeat("x", 1<<20) + `"}`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, long) }))
	defer server.Close()
	c := &adminClient{base: server.URL, http: server.Client()}
	var got bytes.Buffer
	if err := c.tail(t.Context(), "t", tailOptions{from: "start"}, func(line []byte) error { got.Write(line); return nil }); err != nil {
		t.Fatal(err)
	}
	if got.String() != long {
		t.Errorf("%d bytes of %d", got.Len(), len(long))
	}
}
