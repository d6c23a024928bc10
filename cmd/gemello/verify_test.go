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
		{"twins", []string{"--twins", "--devices", "40", "--patches", "1200", "--rounds", "2", "--seed", "7"}, exitDone, []string{"PASSED: 40 twins, 1200 patches", "0 lost, 0 doubled, 0 wrong"}},
		{"answers patches before the log has them", []string{"--twins", "--devices", "40", "--patches", "1200", "--rounds", "2", "--seed", "7", "--break", "ack"}, exitFailed, []string{"FAILED: 40 twins", "an accepted patch is lost"}},
		{"tells of changes twice", []string{"--twins", "--devices", "40", "--patches", "1200", "--rounds", "2", "--seed", "7", "--break", "notice"}, exitFailed, []string{"FAILED: 40 twins", "came after"}},
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
		{[]string{"--break", "notice"}, []string{"--break", `"notice"`, "ack, fence or commit"}},
		{[]string{"--twins", "--break", "fence"}, []string{"--break", `"fence"`, "ack or notice"}},
		{[]string{"--twins", "--batch", "9"}, []string{"--batch", "--twins"}},
		{[]string{"--patches", "9"}, []string{"--patches", "--twins"}},
		{[]string{"--twins", "--patches", "-9"}, []string{"negative"}},
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
