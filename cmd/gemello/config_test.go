package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

var update = flag.Bool("update", false, "rewrite golden files")

// loadConfig loads as gemello serve does.
func loadConfig(t *testing.T, s shell, args ...string) (*Config, error) {
	t.Helper()
	a := &app{lookupEnv: func(name string) (string, bool) { v, ok := s.env[name]; return v, ok }}
	fs := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	source := newConfigSource(a, fs)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	return source.load()
}

func TestFlagWinsOverEnvironmentOverFileOverDefault(t *testing.T) {
	file := writeTemp(t, "c.yaml", "hub: from-file\nlog: {partitions: 3, retention: 2d, listen: '127.0.0.1:1'}\nhostnames: [a.localhost]\n")
	env := map[string]string{"GEMELLO_LOG_PARTITIONS": "4", "GEMELLO_LOG_LISTEN": "127.0.0.1:2", "GEMELLO_HOSTNAMES": "b.localhost, c.localhost"}
	c, err := loadConfig(t, shell{env: env}, "--config", file, "--log.listen=127.0.0.1:3")
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ key, got, want string }{
		{"default", c.Listeners.MQTTS, ":8883"},
		{"file", c.Hub, "from-file"},
		{"file, a duration", c.Log.Retention.String(), "2d"},
		{"environment over file", leafText(reflect.ValueOf(c.Log.Partitions)), "4"},
		{"environment, a list", strings.Join(c.Hostnames, "+"), "b.localhost+c.localhost"},
		{"flag over environment", c.Log.Listen, "127.0.0.1:3"},
	} {
		if tc.got != tc.want {
			t.Errorf("%s: %q, want %q", tc.key, tc.got, tc.want)
		}
	}
	for key, want := range map[string]string{"hub": file + ":1", "log.partitions": "GEMELLO_LOG_PARTITIONS", "log.listen": "--log.listen"} {
		if c.origin[key] != want {
			t.Errorf("origin of %s: %q, want %q", key, c.origin[key], want)
		}
	}
}

func TestShortFlags(t *testing.T) {
	c, err := loadConfig(t, shell{}, "--hostname", "127.0.0.1", "--kafka", "a:1,b:2", "--kafka", "c:3", "--data", "/tmp/x")
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(c.Hostnames, " "); got != "127.0.0.1 localhost" {
		t.Errorf("hostnames %q", got)
	}
	if got := strings.Join(c.Log.Kafka, " "); got != "a:1 b:2 c:3" {
		t.Errorf("kafka %q", got)
	}
	if c.Data != "/tmp/x" {
		t.Errorf("data %q", c.Data)
	}
}

func TestPipelinesHaveDefaultsOfTheirOwn(t *testing.T) {
	file := writeTemp(t, "c.yaml", `
pipelines:
  - name: temperature
    out_of_order: 2s
    on_late: side_output
    query: |
      SELECT deviceId INTO x FROM devices
  - {name: other, query: SELECT deviceId INTO y FROM devices, late: 1h, arrival: read}
`)
	c, err := loadConfig(t, shell{}, "--config", file)
	if err != nil {
		t.Fatal(err)
	}
	first := defaultPipeline()
	first.Name, first.Query = "temperature", "SELECT deviceId INTO x FROM devices\n"
	first.OutOfOrder, first.OnLate = Duration(2*time.Second), "side_output"
	second := defaultPipeline()
	second.Name, second.Query, second.Late, second.Arrival = "other", "SELECT deviceId INTO y FROM devices", Duration(time.Hour), "read"
	if want := []PipelineConfig{first, second}; !reflect.DeepEqual(c.Pipelines, want) {
		t.Errorf("pipelines\n%+v\nwant\n%+v", c.Pipelines, want)
	}
	byFlag, err := loadConfig(t, shell{}, "--pipelines", "[{name: temperature, query: SELECT deviceId INTO x FROM devices}]")
	if err != nil || len(byFlag.Pipelines) != 1 {
		t.Errorf("--pipelines: %+v %v", byFlag, err)
	}
	list := writeTemp(t, "p.yaml", "- {name: a, query: SELECT deviceId INTO x FROM devices}\n- {name: b, query: SELECT deviceId INTO x FROM devices}\n")
	byFile, err := loadConfig(t, shell{env: map[string]string{"GEMELLO_PIPELINES": "@" + list}})
	if err != nil || len(byFile.Pipelines) != 2 {
		t.Errorf("GEMELLO_PIPELINES=@file: %+v %v", byFile, err)
	}
}

func TestBadConfigurationIsOneLine(t *testing.T) {
	dir := t.TempDir()
	notSecret := writeTemp(t, "key", "short")
	for _, tc := range []struct {
		name  string
		yaml  string
		flags []string
		env   map[string]string
		parts []string // file:LINE is written F:LINE
	}{
		{name: "unknown key", yaml: "\nhub: a\nhubb: b\n", parts: []string{"F:3", "hubb", "unknown key", "did you mean hub?"}},
		{name: "unknown nested key", yaml: "log:\n  listen: '127.0.0.1:1'\n  kafkaa: []\n", parts: []string{"F:3", "log.kafkaa", "did you mean kafka?"}},
		{name: "unknown pipeline key", yaml: "pipelines:\n- name: a\n  query: q\n  lat: 5s\n", parts: []string{"F:4", "pipelines[0].lat", "did you mean late?"}},
		{name: "repeated key", yaml: "hub: a\nhub: b\n", parts: []string{"F:2", "hub", "twice"}},
		{name: "not YAML", yaml: "a: [", parts: []string{"F", "not YAML"}},
		{name: "two documents", yaml: "hub: a\n---\nhub: b\n", parts: []string{"F", "more than one YAML document"}},
		{name: "scalar for mapping", yaml: "log: here\n", parts: []string{"F:1", "log", `"here"`, "a mapping"}},
		{name: "list for scalar", yaml: "hub: [a]\n", parts: []string{"F:1", "hub", "a single value"}},
		{name: "mapping in list", yaml: "hostnames: [{a: b}]\n", parts: []string{"F:1", "hostnames", "a list of texts"}},
		{name: "scalar for pipelines", yaml: "pipelines: a\n", parts: []string{"F:1", "pipelines", "a list of pipelines"}},
		{name: "secret in the file", yaml: "log: {sasl: {password: hunter2}}\n", parts: []string{"F:1", "log.sasl.password", "GEMELLO_LOG_SASL_PASSWORD", "password_file"}},
		{name: "bad number", yaml: "log: {partitions: many}\n", parts: []string{"F:1", "log.partitions", `"many"`, "a whole number"}},
		{name: "bad bool", yaml: "listeners: {plain_anywhere: perhaps}\n", parts: []string{"F:1", "listeners.plain_anywhere", `"perhaps"`, "true or false"}},
		{name: "bad duration", flags: []string{"--commit.interval=soon"}, parts: []string{"--commit.interval", `"soon"`, "a duration"}},
		{name: "negative duration", flags: []string{"--commit.interval=-5s"}, parts: []string{"--commit.interval", `"-5s"`, "a duration"}},
		{name: "bad size", flags: []string{"--limits.append_bytes=lots"}, parts: []string{"--limits.append_bytes", `"lots"`, "a size"}},
		{name: "missing file", flags: []string{"--config", "/nonexistent.yaml"}, parts: []string{"--config", "/nonexistent.yaml", "readable"}},

		{name: "no hostname", yaml: "hostnames: []\n", parts: []string{"F:1", "hostnames", "at least one"}},
		{name: "hostname with port", flags: []string{"--hostnames=localhost:443"}, parts: []string{"hostnames", `"localhost:443"`, "without scheme and port"}},
		{name: "hostname with scheme", flags: []string{"--hostname=https://h"}, parts: []string{"--hostname", `"https://h"`}},
		{name: "mistyped address", flags: []string{"--hostnames=10.0.0.300"}, parts: []string{"hostnames", `"10.0.0.300"`}},
		{name: "wildcard address", flags: []string{"--hostnames=0.0.0.0"}, parts: []string{"hostnames", `"0.0.0.0"`}},
		{name: "hostname twice", flags: []string{"--hostnames=a,a"}, parts: []string{"hostnames", "each name once"}},
		{name: "hub with a space", flags: []string{"--hub", "my hub"}, parts: []string{"hub", `"my hub"`, "a-z"}},
		{name: "empty data", flags: []string{"--data="}, parts: []string{"data", "a directory"}},
		{name: "seed without port", flags: []string{"--kafka=broker"}, parts: []string{"log.kafka", `"broker"`, "host:port"}},
		{name: "log on all interfaces", flags: []string{"--log.listen=:9092"}, parts: []string{"log.listen", `":9092"`, "loopback", "gemello log"}},
		{name: "log on a public address", flags: []string{"--log.listen=10.0.0.1:9092"}, parts: []string{"log.listen", "loopback", "Kafka"}},
		{name: "no partitions", flags: []string{"--log.partitions=0"}, parts: []string{"log.partitions", `"0"`, "1 to 1024"}},
		{name: "too many partitions", flags: []string{"--log.partitions=5000"}, parts: []string{"log.partitions", `"5000"`}},
		{name: "negative replication", flags: []string{"--log.replication=-1"}, parts: []string{"log.replication", `"-1"`}},
		{name: "more in sync than replicas", flags: []string{"--log.replication=2", "--log.min_insync=3"}, parts: []string{"log.min_insync", `"3"`, "log.replication"}},
		{name: "retention too short", flags: []string{"--log.retention=1m"}, parts: []string{"log.retention", `"1m"`, "1h or more"}},
		{name: "retention bytes too small", flags: []string{"--log.retention_bytes=5"}, parts: []string{"log.retention_bytes", "1MiB"}},
		{name: "Kafka CA without TLS", flags: []string{"--log.tls.ca=/x"}, parts: []string{"log.tls.ca", "log.tls.enabled"}},
		{name: "Kafka CA missing", flags: []string{"--log.tls.enabled", "--log.tls.ca=/nonexistent"}, parts: []string{"log.tls.ca", "/nonexistent", "a readable file", "check the path"}},
		{name: "Kafka certificate without key", flags: []string{"--log.tls.enabled", "--log.tls.cert=" + notSecret}, parts: []string{"log.tls.cert", "both"}},
		{name: "unknown mechanism", flags: []string{"--log.sasl.mechanism=GSSAPI"}, parts: []string{"log.sasl.mechanism", `"GSSAPI"`, "SCRAM-SHA-512"}},
		{name: "user without mechanism", flags: []string{"--log.sasl.user=u"}, parts: []string{"log.sasl.mechanism", "PLAIN"}},
		{name: "mechanism without user", flags: []string{"--log.sasl.mechanism=PLAIN"}, parts: []string{"log.sasl.user", "a user name"}},
		{name: "mechanism without password", flags: []string{"--log.sasl.mechanism=PLAIN", "--log.sasl.user=u"}, parts: []string{"log.sasl.password_file", "GEMELLO_LOG_SASL_PASSWORD"}},
		{name: "password file missing", flags: []string{"--log.sasl.password_file=/nonexistent"}, parts: []string{"log.sasl.password_file", "/nonexistent", "holds the password"}},
		{name: "PLAIN in clear", env: map[string]string{"GEMELLO_LOG_SASL_PASSWORD": "hunter2"}, flags: []string{"--log.sasl.mechanism=PLAIN", "--log.sasl.user=u", "--kafka=broker:9092"}, parts: []string{"log.sasl.mechanism", "TLS", "SCRAM"}},

		{name: "listener without port", flags: []string{"--listeners.mqtts=localhost"}, parts: []string{"listeners.mqtts", `"localhost"`, "[host]:port"}},
		{name: "listener port too large", flags: []string{"--listeners.https=:70000"}, parts: []string{"listeners.https", `":70000"`}},
		{name: "listener with a bad host", flags: []string{"--listeners.admin=a_b!:1"}, parts: []string{"listeners.admin", `"a_b!:1"`}},
		{name: "plain MQTT in public", flags: []string{"--listeners.mqtt=0.0.0.0:1883"}, parts: []string{"listeners.mqtt", "loopback", "plain_anywhere"}},
		{name: "AMQP", flags: []string{"--listeners.amqps=:5671"}, parts: []string{"listeners.amqps", "does not serve AMQP"}},
		{name: "certificate without key", flags: []string{"--tls.cert=" + notSecret}, parts: []string{"tls.cert", "both tls.cert and tls.key"}},
		{name: "CA without certificate", flags: []string{"--tls.ca=" + notSecret}, parts: []string{"tls.ca", "nothing without"}},
		{name: "certificate missing", flags: []string{"--tls.cert=/nonexistent", "--tls.key=/nonexistent"}, parts: []string{"tls.cert", "/nonexistent", "a readable file"}},
		{name: "directory as certificate", flags: []string{"--tls.cert=" + dir, "--tls.key=" + dir}, parts: []string{"tls.cert", "not a directory"}},
		{name: "hub key missing", flags: []string{"--secrets.key_file=/nonexistent"}, parts: []string{"secrets.key_file", "/nonexistent"}},
		{name: "hub key too short", env: map[string]string{"GEMELLO_SECRETS_KEY": "c2hvcnQ="}, parts: []string{"GEMELLO_SECRETS_KEY", "secrets.key", "32 bytes"}},
		{name: "cluster", flags: []string{"--cluster.join=a:1"}, parts: []string{"cluster.join", `"a:1"`, "one node"}},
		{name: "cluster listener", flags: []string{"--cluster.listen=:7"}, parts: []string{"cluster.listen", "one node"}},
		{name: "commits too rare", flags: []string{"--commit.interval=5s"}, parts: []string{"commit.interval", `"5s"`, "10ms to 2s"}},
		{name: "no connections", flags: []string{"--limits.connections=0"}, parts: []string{"limits.connections", "1 or more"}},
		{name: "commands live too long", flags: []string{"--commands.ttl=49h"}, parts: []string{"commands.ttl", `"49h"`, "1m to 48h"}},
		{name: "no deliveries", flags: []string{"--commands.max_deliveries=0"}, parts: []string{"commands.max_deliveries", `"0"`, "1 to 100"}},
		{name: "locks too short", flags: []string{"--commands.lock=4s"}, parts: []string{"commands.lock", `"4s"`, "5s to 5m"}},
		{name: "no feedback", flags: []string{"--commands.feedback_ttl=0s"}, parts: []string{"commands.feedback_ttl", `"0s"`, "1m to 48h"}},
		{name: "no memory", flags: []string{"--limits.window_memory=1KiB"}, parts: []string{"limits.window_memory", `"1KiB"`, "1MiB"}},
		{name: "unknown level", flags: []string{"--logging.level=trace"}, parts: []string{"logging.level", `"trace"`, "debug"}},
		{name: "unknown format", flags: []string{"--logging.format=xml"}, parts: []string{"logging.format", `"xml"`}},

		{name: "pipeline without name", yaml: "pipelines:\n- query: q\n", parts: []string{"pipelines[0].name", "letters, digits"}},
		{name: "pipeline name twice", yaml: "pipelines:\n- {name: a, query: q}\n- {name: a, query: q}\n", parts: []string{"F:3", "pipelines[1].name", "each name once"}},
		{name: "pipeline without query", yaml: "pipelines:\n- name: a\n", parts: []string{"pipelines[0].query", "SELECT"}},
		{name: "unknown late action", yaml: "pipelines:\n- {name: a, query: q, on_late: forget}\n", parts: []string{"F:2", "pipelines[0].on_late", `"forget"`, "side_output"}},
		{name: "accept early", yaml: "pipelines:\n- {name: a, query: q, on_early: accept}\n", parts: []string{"pipelines[0].on_early", "clamp"}},
		{name: "unknown arrival", yaml: "pipelines:\n- {name: a, query: q, arrival: guess}\n", parts: []string{"pipelines[0].arrival", `"guess"`}},
		{name: "tolerance too long", yaml: "pipelines:\n- {name: a, query: q, late: 21d}\n", parts: []string{"pipelines[0].late", `"21d"`, "20 days 23:59:59"}},
		{name: "nothing may be early", yaml: "pipelines:\n- {name: a, query: q, early: 0s}\n", parts: []string{"pipelines[0].early", "more than 0s"}},
		{name: "not SQL", yaml: "pipelines:\n- name: a\n  query: |\n    SELECT deviceId\n    INTO x FORM devices\n", parts: []string{"F:3", "pipelines[0].query", "line 2, column", "expected"}},
		{name: "pipelines file missing", flags: []string{"--pipelines=@/nonexistent"}, parts: []string{"--pipelines", "/nonexistent"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			args := []string{"serve"}
			file := ""
			if tc.yaml != "" {
				file = writeTemp(t, "c.yaml", tc.yaml)
				args = append(args, "--config", file)
			}
			code, stdout, stderr := shell{env: tc.env}.run(t, append(args, tc.flags...)...)
			parts := make([]string, 0, len(tc.parts))
			for _, p := range tc.parts {
				if rest, ok := strings.CutPrefix(p, "F"); ok && (rest == "" || rest[0] == ':') {
					p = file + rest
				}
				parts = append(parts, p)
			}
			wantOneLine(t, code, exitUsage, stdout, stderr, parts...)
			if strings.Contains(stderr, "hunter2") || strings.Contains(stderr, "c2hvcnQ=") {
				t.Errorf("a secret is shown: %s", stderr)
			}
		})
	}
}

func TestPrintConfig(t *testing.T) {
	file := writeTemp(t, "c.yaml", `
hub: plant
log: {kafka: ['a:9092', 'b:9092'], sasl: {mechanism: SCRAM-SHA-512, user: "on"}, retention: 36h}
listeners: {https: "", mqtt: "127.0.0.1:1883"}
pipelines:
- name: temperature
  query: |
    SELECT deviceId, 'a: b' AS x
    INTO y FROM devices
`)
	env := map[string]string{"GEMELLO_LOG_SASL_PASSWORD": "hunter2", "GEMELLO_SECRETS_KEY": strings.Repeat("ab", 32)}
	code, stdout, stderr := shell{env: env}.run(t, "serve", "--config", file, "--data", "/var/lib/gemello", "--print-config")
	if code != exitDone || stderr != "" {
		t.Fatalf("code %d, stderr %s", code, stderr)
	}
	for _, secret := range []string{"hunter2", "abab"} {
		if strings.Contains(stdout, secret) {
			t.Errorf("a secret is printed: %s", secret)
		}
	}
	golden := filepath.Join("testdata", "print-config.yaml")
	if *update {
		if err := os.WriteFile(golden, []byte(stdout), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if stdout != string(want) {
		t.Errorf("printed\n%s\nwant (go test -run PrintConfig -update rewrites it)\n%s", stdout, want)
	}

	// What is printed is a file that means the same.
	again := writeTemp(t, "again.yaml", stdout)
	code, second, stderr := shell{env: env}.run(t, "serve", "--config", again, "--print-config")
	if code != exitDone || second != stdout {
		t.Errorf("printed configuration does not load back: code %d %s\n%s", code, stderr, second)
	}
}

func TestEveryKeyIsAFlagUnlessSecret(t *testing.T) {
	fs := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	newConfigSource(&app{}, fs)
	for _, k := range configKeys(defaultConfig()) {
		f := fs.Lookup(k.path)
		if k.secret != (f == nil) {
			t.Errorf("%s: secret %t, flag %v", k.path, k.secret, f)
		}
		if !k.secret && k.usage == "" {
			t.Errorf("%s has no help", k.path)
		}
	}
}

func TestPasswordComesFromItsFile(t *testing.T) {
	file := writeTemp(t, "pw", "hunter2\n")
	args := []string{"--log.sasl.mechanism=PLAIN", "--log.sasl.user=u", "--log.sasl.password_file=" + file, "--kafka=127.0.0.1:1"}
	c, err := loadConfig(t, shell{}, args...)
	if err != nil || c.Log.SASL.Password != "hunter2" {
		t.Errorf("password %q, %v", c.Log.SASL.Password, err)
	}
	c, err = loadConfig(t, shell{env: map[string]string{"GEMELLO_LOG_SASL_PASSWORD": "env"}}, args...)
	if err != nil || c.Log.SASL.Password != "env" {
		t.Errorf("password %q, %v", c.Log.SASL.Password, err)
	}
}

func TestVariablesThatAreNoSettingsAreNamed(t *testing.T) {
	s := &configSource{app: &app{environ: func() []string { return []string{"GEMELLO_HUB=a", "GEMELLO_HUBB=b", "HOME=/"} }}}
	if got := s.unknownVariables(); !reflect.DeepEqual(got, []string{"GEMELLO_HUBB"}) {
		t.Errorf("unknown %v", got)
	}
}

func TestDurationsAndSizesRoundTrip(t *testing.T) {
	for text, want := range map[string]string{"5s": "5s", "60s": "1m", "90m": "1h30m", "24h": "1d", "7d": "7d", "0": "0s", "250ms": "250ms", "36h": "36h", "1h0m1s": "1h0m1s"} {
		var d Duration
		if err := d.UnmarshalText([]byte(text)); err != nil || d.String() != want {
			t.Errorf("%s: %s %v, want %s", text, d, err, want)
		}
		var again Duration
		if b, _ := d.MarshalText(); again.UnmarshalText(b) != nil || again != d {
			t.Errorf("%s does not round-trip", text)
		}
	}
	for text, want := range map[string]string{"1000": "1000", "1KiB": "1KiB", "1024": "1KiB", "10 GiB": "10GiB", "1536MiB": "1536MiB", "0": "0", "3B": "3"} {
		var s Size
		if err := s.UnmarshalText([]byte(text)); err != nil || s.String() != want {
			t.Errorf("%s: %s %v, want %s", text, s, err, want)
		}
	}
	for _, bad := range []string{"", "-1s", "5", "1.5d", "-1d", "99999999999d"} {
		if new(Duration).UnmarshalText([]byte(bad)) == nil {
			t.Errorf("%q passes for a duration", bad)
		}
	}
	for _, bad := range []string{"", "-1", "1MB", "9999999999GiB", "x"} {
		if new(Size).UnmarshalText([]byte(bad)) == nil {
			t.Errorf("%q passes for a size", bad)
		}
	}
}

func FuzzConfigFile(f *testing.F) {
	f.Add("hub: a\nlog: {kafka: [a]}\n")
	f.Add("pipelines: [{name: a, query: &q x}, {name: b, query: *q}]\n")
	f.Add("a: &a [*a]\n")
	f.Add("&x hub: *x")
	f.Fuzz(func(t *testing.T, text string) {
		root, err := parseYAML("f", []byte(text))
		if err != nil || root == nil {
			return
		}
		c := defaultConfig()
		c.origin = make(map[string]string)
		if err := decodeNode("f", "", root, reflect.ValueOf(c).Elem(), c.origin); err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("error of two lines: %q", err)
			}
			return
		}
		if c.validate() != nil {
			return
		}
		var out bytes.Buffer
		if err := c.print(&out); err != nil {
			t.Fatal(err)
		}
	})
}
