package main

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"testing"

	"github.com/gemello/gemello/internal/pki"
)

func TestDemoWithoutDataHasADirectoryThatGoesWithIt(t *testing.T) {
	c := defaultConfig()
	remove, err := (&server{demo: true}).chooseData(c)
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(c.Data); err != nil || !st.IsDir() || c.Data == defaultConfig().Data {
		t.Fatalf("data %q: %v", c.Data, err)
	}
	remove()
	if _, err := os.Stat(c.Data); !os.IsNotExist(err) {
		t.Errorf("%q stays: %v", c.Data, err)
	}

	kept := t.TempDir()
	c = defaultConfig()
	c.Data, c.origin = kept, map[string]string{"data": "--data"}
	remove, err = (&server{demo: true}).chooseData(c)
	if err != nil || c.Data != kept {
		t.Fatalf("data %q, %v", c.Data, err)
	}
	remove()
	if _, err := os.Stat(kept); err != nil {
		t.Errorf("a directory of the user's was removed: %v", err)
	}
}

func TestRunInfoLeadsToTheNode(t *testing.T) {
	data, err := openDataDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer data.Close()
	cfg := testConfig("127.0.0.1")
	identity, err := pki.Open(pki.Options{Dir: data.join(pkiDir), Names: cfg.Hostnames})
	if err != nil {
		t.Fatal(err)
	}
	ports, err := newBinder(false).bind(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer ports.Close()
	info := newRunInfo(cfg, data, identity, ports)
	if err := data.writeRunInfo(info); err != nil {
		t.Fatal(err)
	}
	read, err := readRunInfo(data.path)
	if err != nil || !reflect.DeepEqual(read, info) {
		t.Errorf("read %+v, %v, wrote %+v", read, err, info)
	}
	admin := ports.named("admin")
	if want := "http://127.0.0.1:" + strconv.Itoa(admin.Port); info.Admin != want {
		t.Errorf("admin %s, want %s", info.Admin, want)
	}
	if info.PID != os.Getpid() || info.Ports["mqtts"] != ports.named("mqtts").Port || len(info.Kafka) != 1 ||
		info.CA != filepath.Join(data.path, pkiDir, "ca.pem") || info.TokenFile != filepath.Join(data.path, tokenFile) {
		t.Errorf("run.json %+v", info)
	}

	// Off loopback the admin listener speaks TLS, under a name of the hub's.
	admin.Loopback = false
	cfg.Hostnames = []string{"hub.example.com"}
	if got, want := newRunInfo(cfg, data, identity, ports).Admin, "https://hub.example.com:"+strconv.Itoa(admin.Port); got != want {
		t.Errorf("admin %s, want %s", got, want)
	}
}

func TestServeRefusesWhatItCannotUse(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	strange := t.TempDir()
	os.WriteFile(filepath.Join(strange, "x"), nil, 0o600)
	bad := writeTemp(t, "cert", "x")
	for _, tc := range []struct {
		name  string
		args  []string
		parts []string
	}{
		{"a directory of somebody else's", []string{"--data", strange}, []string{strange, "not gemello's"}},
		{"a busy port", []string{"--data", filepath.Join(t.TempDir(), "d"), "--listeners.mqtts", taken.Addr().String()}, []string{"--listeners.mqtts", "in use"}},
		{"a file that is no certificate", []string{"--data", filepath.Join(t.TempDir(), "d"), "--tls.cert", bad, "--tls.key", bad}, []string{"tls", bad}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			args := append([]string{"serve", "--logging.level", "error", "--log.listen", "127.0.0.1:0", "--listeners.https=", "--listeners.admin", "127.0.0.1:0"}, tc.args...)
			code, stdout, stderr := shell{}.run(t, args...)
			wantOneLine(t, code, exitUsage, stdout, stderr, tc.parts...)
		})
	}
}

func TestLogLinesFollowTheSettings(t *testing.T) {
	for _, level := range []string{"debug", "info", "warn", "error"} {
		l := newLogger(LoggingConfig{Level: level, Format: "json"}, io.Discard)
		if l.Enabled(t.Context(), -4) != (level == "debug") || !l.Enabled(t.Context(), 8) {
			t.Errorf("level %s", level)
		}
	}
}
