package bridge

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gemello/gemello/ingest"
)

type nowhere struct{}

func (nowhere) Publish(_ string, _ ingest.Message, done func(error)) { done(nil) }

func options() Options {
	return Options{
		Broker:   "mqtt://127.0.0.1:1883",
		ClientID: "node-0",
		Group:    "gemello",
		Template: "plant/{deviceId}/data",
		Appender: nowhere{},
	}
}

func TestOptionsErrorsNameTheRemedy(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		rule   string
		change func(*Options)
		want   string
	}{
		{"the broker is a URL", func(o *Options) { o.Broker = "localhost:1883" }, "mqtts://host:8883"},
		{"the scheme is known", func(o *Options) { o.Broker = "http://localhost" }, "mqtts:// or mqtt://"},
		{"no password in the URL", func(o *Options) { o.Broker = "mqtt://u:secret@localhost" }, "password file"},
		{"certificates want TLS", func(o *Options) { o.CAFile = "ca.pem" }, "mqtts://"},
		{"the CA file exists", func(o *Options) { o.Broker, o.CAFile = "mqtts://h", "/nowhere/ca.pem" }, "/nowhere/ca.pem"},
		{"the CA file has a certificate", func(o *Options) { o.Broker, o.CAFile = "mqtts://h", empty }, "no PEM certificate"},
		{"a certificate has its key", func(o *Options) { o.Broker, o.CertFile = "mqtts://h", empty }, "client certificate"},
		{"the client has an id", func(o *Options) { o.ClientID = "" }, "client id"},
		{"the group has a name", func(o *Options) { o.Group = "" }, "group"},
		{"the group is one level", func(o *Options) { o.Group = "a/b" }, "group"},
		{"the template names the device", func(o *Options) { o.Template = "plant/#" }, "{deviceId}"},
		{"the filter is valid", func(o *Options) { o.Filter = "plant/#/x" }, "filter"},
		{"the filter has no group", func(o *Options) { o.Filter = "$share/g/x" }, "$share/"},
		{"a password has a user", func(o *Options) { o.PasswordFile = "p" }, "user"},
		{"messages in flight fit MQTT", func(o *Options) { o.MaxInflight = 65536 }, "in flight"},
		{"sizes are positive", func(o *Options) { o.MaxBody = -1 }, "bytes a message"},
		{"there is an appender", func(o *Options) { o.Appender = nil }, "appender"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			o := options()
			c.change(&o)
			_, err := New(o)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v does not speak of %q", err, c.want)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("error %v tells the password", err)
			}
		})
	}
}

func TestOptionsDefaults(t *testing.T) {
	o := options()
	o.Broker = "mqtts://broker.example"
	b, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	if b.address != "broker.example:8883" || b.Filter != "plant/+/data" || b.tls.ServerName != "broker.example" {
		t.Errorf("address %s, filter %s, server name %s", b.address, b.Filter, b.tls.ServerName)
	}
	if b.MaxInflight != 512 || b.MaxBody != ingest.MaxMessage {
		t.Errorf("%d messages of %d bytes", b.MaxInflight, b.MaxBody)
	}
}

func TestPasswordFileLosesOneLineEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "password")
	for in, want := range map[string]string{"p": "p", "p\n": "p", "p\r\n": "p", "p\n\n": "p\n", " p ": " p ", "": ""} {
		if err := os.WriteFile(path, []byte(in), 0o600); err != nil {
			t.Fatal(err)
		}
		c := config{Options: Options{PasswordFile: path}}
		if got, err := c.password(); err != nil || string(got) != want {
			t.Errorf("%q is read as %q, %v", in, got, err)
		}
	}
}
