package credential

import (
	"errors"
	"strings"
	"testing"
)

func TestConnectionStrings(t *testing.T) {
	k := key(t, "0123456789abcdefg") // its base64 ends in =
	for _, s := range []string{
		"HostName=h.example.org;DeviceId=d1;SharedAccessKey=" + k.Reveal(),
		"HostName=h;DeviceId=d=1;ModuleId=m;SharedAccessKey=" + k.Reveal() + ";GatewayHostName=g",
		"HostName=h;SharedAccessKeyName=iothubowner;SharedAccessKey=" + k.Reveal(),
		"HostName=h;DeviceId=d1;x509=true",
		"HostName=h;DeviceId=d1;SharedAccessSignature=SharedAccessSignature sr=a&sig=b&se=1",
	} {
		c, err := ParseConnectionString(s)
		if err != nil || c.Reveal() != s {
			t.Errorf("%s came back as %s, %v", s, c.Reveal(), err)
		}
	}
	c, err := ParseConnectionString(" HostName=h;X=y; SharedAccessKey=" + k.Reveal() + ";DeviceId=d;")
	if err != nil || c.DeviceID != "d" || c.Key.Reveal() != k.Reveal() {
		t.Errorf("other order, blanks and unknown parts: %v, %v", c, err)
	}
}

func TestMalformedConnectionStrings(t *testing.T) {
	for _, s := range []string{
		"", "HostName=h", "HostName=h;DeviceId=d", "DeviceId=d;SharedAccessKey=MDEyMzQ1Njc4OWFiY2RlZg==",
		"HostName=h;SharedAccessKey=MDEyMzQ1Njc4OWFiY2RlZg==", "HostName=h;HostName=i;DeviceId=d;x509=true",
		"HostName=h;junk;DeviceId=d;x509=true", "HostName=h;DeviceId=d;SharedAccessKey=c2VjcmV0",
	} {
		if _, err := ParseConnectionString(s); !errors.Is(err, ErrConnectionString) || strings.Contains(err.Error(), "c2VjcmV0") {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func FuzzConnectionString(f *testing.F) {
	f.Add("HostName=h;DeviceId=d;SharedAccessKey=MDEyMzQ1Njc4OWFiY2RlZg==")
	f.Add("HostName=h;SharedAccessKeyName=p;SharedAccessSignature=a=b;x509=TRUE;;")
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseConnectionString(s)
		if err != nil {
			return
		}
		again, err := ParseConnectionString(c.Reveal())
		if err != nil || again.Reveal() != c.Reveal() {
			t.Errorf("%q came back as %q, %v", c.Reveal(), again.Reveal(), err)
		}
	})
}
