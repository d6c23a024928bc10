package main

import (
	"strings"
	"testing"
)

func TestTwinIsPrintedAsAnswered(t *testing.T) {
	f := newFakeAdmin(t)
	code, stdout, stderr := f.run(t, "", "twin", "get", "d1")
	if code != exitDone || !strings.Contains(stdout, `"big": 12345678901234567890`) {
		t.Errorf("code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
}

func TestTwinPatchForms(t *testing.T) {
	patch := `{"tags":{"a":1.0},"properties":{"desired":{"rate":5}}}`
	file := writeTemp(t, "patch.json", patch)
	for name, tc := range map[string]struct {
		stdin string
		args  []string
		body  string
	}{
		"text":    {"", []string{patch}, patch},
		"file":    {"", []string{"@" + file}, patch},
		"stdin":   {patch, []string{"-"}, patch},
		"desired": {"", []string{"--desired", `{"rate":null}`}, `{"properties":{"desired":{"rate":null}}}`},
		"both":    {"", []string{"--desired", `{"r":1}`, "--tags", `{"s":"x"}`}, `{"tags":{"s":"x"},"properties":{"desired":{"r":1}}}`},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeAdmin(t)
			code, _, stderr := f.run(t, tc.stdin, append([]string{"twin", "patch", "d1", "--if-match", "AAA="}, tc.args...)...)
			if code != exitDone {
				t.Fatal(stderr)
			}
			if h := f.called(t, "PATCH /api/v1/twins/d1 "+tc.body); h != nil && h.Get("If-Match") != `"AAA="` {
				t.Errorf("If-Match %q", h.Get("If-Match"))
			}
		})
	}
}
