package main

import (
	"strings"
	"testing"
)

func TestWrongUsageIsOneLineAndExit2(t *testing.T) {
	for _, tc := range []struct {
		args  string
		parts []string
	}{
		{"nonsense", []string{`unknown command "nonsense"`, "gemello --help"}},
		{"--nonsense", []string{"unknown flag: --nonsense"}},
		{"serve extra", []string{"unknown command", "gemello serve --help"}},
		{"serve --log.listn x", []string{"unknown flag: --log.listn", "gemello serve --help"}},
		{"serve --hostname", []string{"flag needs an argument"}},
		{"device", []string{"needs one of: create, show, list, delete, import, export"}},
		{"device make d1", []string{`"make" is not allowed`, "create, show"}},
		{"device show", []string{"accepts 1 arg(s), received 0"}},
		{"device delete", []string{"requires at least 1 arg"}},
		{"device list --limit -1", []string{"--limit", `"-1"`, "allowed"}},
		{"device list --limit x", []string{"--limit", "an integer"}},
		{"twin get", []string{"accepts 1 arg"}},
		{"twin patch d1", []string{"give either a JSON patch or"}},
		{"twin patch d1 [1]", []string{"[1]", "a JSON object"}},
		{"tail", []string{"accepts 1 arg"}},
		{"tail t --from yesterday", []string{"--from", `"yesterday"`, "start, end"}},
		{"tail t --limit -3", []string{"--limit", `"-3"`}},
		{"connection-string", []string{"--policy NAME", "--device ID"}},
		{"connection-string --policy a --device b", []string{"--policy NAME", "--device ID"}},
		{"connection-string --policy a --module b", []string{"--module", `"b"`, "--device"}},
		{"pipeline why p", []string{"--key and --end are needed"}},
		{"pipeline why p --key k --end noon", []string{"--end", `"noon"`, "2026-01-02T03:04:05Z"}},
		{"pipeline apply p --late soon --query q", []string{"--late", `"soon"`, "a duration"}},
		{"pipeline apply --query q", []string{"--query needs NAME"}},
		{"pipeline apply --late 5s", []string{"--late needs NAME"}},
		{"pipeline apply p!x --query q", []string{`"p!x"`, "letters, digits"}},
		{"simulate --devices 0 --hub HostName=h;SharedAccessKeyName=p;SharedAccessKey=AAAAAAAAAAAAAAAAAAAAAA==", []string{"devices: 0", "1 or more"}},
		{"simulate --rate 0 --hub HostName=h;SharedAccessKeyName=p;SharedAccessKey=AAAAAAAAAAAAAAAAAAAAAA==", []string{"rate: 0", "above 0"}},
		{"simulate --hub nonsense", []string{"--hub", "connection string"}},
		{"simulate --devices 2 --hub HostName=h;DeviceId=d;SharedAccessKey=AAAAAAAAAAAAAAAAAAAAAA==", []string{"devices: 2", "use a policy's"}},
		{"device list --data /nonexistent", []string{"/nonexistent", "run.json", "gemello serve"}},
		{"trust --data /nonexistent", []string{"/nonexistent", "run.json"}},
		{"device list --admin ftp://x --token-file y", []string{`"ftp://x"`, "http://HOST:PORT"}},
		{"device list --admin http://127.0.0.1:1", []string{"--token-file: needed"}},
		{"device list --admin http://127.0.0.1:1 --token-file /nonexistent", []string{"/nonexistent", "name another file"}},
	} {
		t.Run(tc.args, func(t *testing.T) {
			code, stdout, stderr := shell{}.run(t, strings.Fields(tc.args)...)
			wantOneLine(t, code, exitUsage, stdout, stderr, tc.parts...)
		})
	}
}

func TestHelpAndVersionExit0(t *testing.T) {
	for _, args := range []string{"", "--help", "serve --help", "device --help", "version", "--version"} {
		code, stdout, stderr := shell{}.run(t, strings.Fields(args)...)
		if code != exitDone || stdout == "" || stderr != "" {
			t.Errorf("gemello %s: code %d, stdout %q, stderr %q", args, code, stdout, stderr)
		}
	}
}

func TestEveryCommandOfTheContractIsThere(t *testing.T) {
	_, stdout, _ := shell{}.run(t, "--help")
	for _, name := range []string{"serve", "log", "connection-string", "trust", "device", "twin", "pipeline", "tail", "simulate"} {
		if !strings.Contains(stdout, "\n  "+name+" ") {
			t.Errorf("no command %s in:\n%s", name, stdout)
		}
	}
}
