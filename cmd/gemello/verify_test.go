package main

import (
	"strings"
	"testing"
)

func TestVerifyPassesAHubAndFindsAPlantedFault(t *testing.T) {
	if testing.Short() {
		t.Skip("starts and kills processes for a quarter of a minute; run without -short")
	}
	t.Setenv(programEnv, "1")
	for _, c := range []struct {
		name  string
		args  []string
		code  int
		words []string
	}{
		{"as it is", []string{"--rounds", "3", "--seed", "7"}, exitDone, []string{"PASSED: 3 rounds", "0 lost, 0 doubled, 0 wrong"}},
		{"with its log in one process", []string{"--one-process", "--rounds", "3", "--seed", "7"}, exitDone, []string{"PASSED: 3 rounds", "0 lost, 0 doubled, 0 wrong"}},
		{"acknowledges before the log does", []string{"--rounds", "3", "--seed", "7", "--break", "ack"}, exitFailed, []string{"FAILED: 3 rounds", "was acknowledged and is not in the log"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, stdout, stderr := shell{}.run(t, append([]string{"verify", "--data", t.TempDir()}, c.args...)...)
			if code != c.code {
				t.Fatalf("exit code %d: %s%s", code, stdout, stderr)
			}
			for _, w := range c.words {
				if !strings.Contains(stdout, w) {
					t.Errorf("no %q in %s", w, stdout)
				}
			}
		})
	}
}

func TestVerifyNamesWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		args  []string
		parts []string
	}{
		{[]string{"--break", "disk"}, []string{"--break", `"disk"`, "ack, fence or commit"}},
		{[]string{"--rounds", "5000"}, []string{"5000 rounds", "1000"}},
		{[]string{"--one-process", "--kafka", "127.0.0.1:9"}, []string{"OneProcess", "Kafka"}},
	} {
		code, stdout, stderr := shell{}.run(t, append([]string{"verify"}, c.args...)...)
		wantOneLine(t, code, exitUsage, stdout, stderr, c.parts...)
	}
}

func TestPlantedFaultsAreForHubsOfVerifyAlone(t *testing.T) {
	for _, flag := range []string{"--break=ack", "--flush-records=1"} {
		code, stdout, stderr := shell{}.run(t, "serve", "--hub", "mine", flag)
		wantOneLine(t, code, exitUsage, stdout, stderr, "--break", "verify")
	}
}
