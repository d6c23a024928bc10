package main

import (
	"strings"
	"testing"
)

const appliedTemperature = `PUT /api/v1/pipelines/temperature {"name":"temperature","query":"SELECT 1","late":"10s","outOfOrder":"0s","early":"5m0s","onLate":"drop","onOutOfOrder":"adjust","onEarly":"side_output","arrival":"record"}`

func TestPipelineApplyForms(t *testing.T) {
	sql := writeTemp(t, "q.sql", "SELECT 1\n")
	for name, tc := range map[string]struct {
		stdin string
		args  []string
	}{
		"text":  {"", []string{"temperature", "--query", "SELECT 1", "--late", "10s", "--on_late", "drop"}},
		"file":  {"", []string{"temperature", "-f", sql, "--late", "10s", "--on_late", "drop"}},
		"stdin": {"SELECT 1\n", []string{"temperature", "--late", "10s", "--on_late", "drop"}},
		"yaml":  {"pipelines:\n- {name: temperature, query: SELECT 1, late: 10s, on_late: drop}\n", []string{"-f", "-"}},
		"list":  {"- {name: temperature, query: SELECT 1, late: 10s, on_late: drop}\n", nil},
		"one":   {"name: temperature\nquery: SELECT 1\nlate: 10s\non_late: drop\n", nil},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeAdmin(t)
			code, stdout, stderr := f.run(t, tc.stdin, append([]string{"pipeline", "apply"}, tc.args...)...)
			if code != exitDone || stdout != "applied temperature\n" {
				t.Fatalf("code %d, stdout %q, stderr %q", code, stdout, stderr)
			}
			f.called(t, appliedTemperature)
		})
	}
}

func TestPipelineApplyNamesTheMistake(t *testing.T) {
	f := newFakeAdmin(t)
	for stdin, part := range map[string]string{
		"":                               "no pipelines in it",
		"pipelines: []\n":                "no pipelines in it",
		"- {name: a, qery: q}\n":         "did you mean query?",
		"- {name: a}\n":                  "pipelines[0].query",
		"hub: gemello\n":                 "hub: unknown key",
		"- {name: a, query: q, late: x}": `"x"`,
	} {
		code, stdout, stderr := f.run(t, stdin, "pipeline", "apply")
		wantOneLine(t, code, exitUsage, stdout, stderr, "standard input", part)
	}
	if len(f.calls) != 0 {
		t.Errorf("calls %q", f.calls)
	}
}

func TestPipelineList(t *testing.T) {
	f := newFakeAdmin(t)
	code, stdout, stderr := f.run(t, "", "pipeline", "list")
	want := "PIPELINE     STATE      FROM     INTO  LAG  WATERMARK                 CAUSE\n" +
		"temperature  suspended  devices  a,b   5    2026-01-02T03:04:05.000Z  topic gone\n"
	if code != exitDone || stdout != want {
		t.Errorf("code %d, stderr %q, stdout\n%s\nwant\n%s", code, stderr, stdout, want)
	}
	if _, stdout, _ := f.run(t, "", "pipeline", "list", "--json"); !strings.HasPrefix(stdout, "[\n") {
		t.Errorf("stdout %q", stdout)
	}
}

func TestPipelineExplainWhyDelete(t *testing.T) {
	f := newFakeAdmin(t)
	for _, tc := range []struct {
		args       []string
		call, want string
	}{
		{[]string{"explain", "p"}, "GET /api/v1/pipelines/p/explain", "explain of p\nin two lines\n"},
		{[]string{"why", "p", "--key", "d 1", "--end", "2026-01-02T04:04:05+01:00"}, "GET /api/v1/pipelines/p/why?end=2026-01-02T03%3A04%3A05Z&key=d+1", "why of p\nin two lines\n"},
		{[]string{"why", "p", "--key", "k", "--end", "2026-01-02T03:04:05Z", "--json"}, "GET /api/v1/pipelines/p/why?end=2026-01-02T03%3A04%3A05Z&key=k", "{\n  \"text\": \"why of p\\nin two lines\\n\",\n  \"detail\": {\n    \"n\": 1\n  }\n}\n"},
		{[]string{"delete", "p"}, "DELETE /api/v1/pipelines/p", "deleted p\n"},
	} {
		code, stdout, stderr := f.run(t, "", append([]string{"pipeline"}, tc.args...)...)
		if code != exitDone || stdout != tc.want {
			t.Errorf("%v: code %d, stdout %q, stderr %q", tc.args, code, stdout, stderr)
		}
		f.called(t, tc.call)
	}
}
