package credential

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
)

// ErrConnectionString is returned for text that is not a connection string.
var ErrConnectionString = errors.New("malformed connection string")

// ConnectionString says where a hub is and how to be admitted
// (azure-iot-wire 0). Of Key, Signature and X509 one is set.
type ConnectionString struct {
	HostName  string
	DeviceID  string // device form
	ModuleID  string
	KeyName   string // service form: the policy
	Key       Key
	Signature string // SharedAccessSignature, a secret
	Gateway   string // GatewayHostName
	X509      bool
}

// ParseConnectionString reads a connection string: pairs parted by semicolons,
// each split at its first "=", since keys contain "=". The error wraps
// ErrConnectionString and holds no secret.
func ParseConnectionString(s string) (ConnectionString, error) {
	var c ConnectionString
	seen := map[string]bool{}
	for pair := range strings.SplitSeq(s, ";") {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		name, value, ok := strings.Cut(pair, "=")
		name = strings.TrimSpace(name)
		if !ok {
			return c, fmt.Errorf("%w: a part has no \"=\"", ErrConnectionString)
		}
		if seen[name] {
			return c, fmt.Errorf("%w: %.32q is given twice", ErrConnectionString, name)
		}
		seen[name] = true
		switch name {
		case "HostName":
			c.HostName = value
		case "DeviceId":
			c.DeviceID = value
		case "ModuleId":
			c.ModuleID = value
		case "SharedAccessKeyName":
			c.KeyName = value
		case "SharedAccessKey":
			var err error
			if c.Key, err = ParseKey(value); err != nil {
				return ConnectionString{}, fmt.Errorf("%w: SharedAccessKey: %w", ErrConnectionString, err)
			}
		case "SharedAccessSignature":
			c.Signature = value
		case "GatewayHostName":
			c.Gateway = value
		case "x509":
			c.X509 = strings.EqualFold(value, "true")
		}
	}
	if c.HostName == "" {
		return ConnectionString{}, fmt.Errorf("%w: HostName is missing", ErrConnectionString)
	}
	if c.DeviceID == "" && c.KeyName == "" && c.Signature == "" {
		return ConnectionString{}, fmt.Errorf("%w: DeviceId or SharedAccessKeyName is missing", ErrConnectionString)
	}
	if c.Key.IsZero() && c.Signature == "" && !c.X509 {
		return ConnectionString{}, fmt.Errorf("%w: SharedAccessKey, SharedAccessSignature or x509=true is missing", ErrConnectionString)
	}
	return c, nil
}

// Reveal returns the connection string with its secret.
func (c ConnectionString) Reveal() string { return c.format(c.Key.Reveal(), c.Signature) }

// String returns the connection string with its secret masked.
func (c ConnectionString) String() string {
	signature := ""
	if c.Signature != "" {
		signature = redacted
	}
	return c.format(c.Key.String(), signature)
}

// Format writes String for every verb.
func (c ConnectionString) Format(f fmt.State, _ rune) { io.WriteString(f, c.String()) }

// LogValue is String.
func (c ConnectionString) LogValue() slog.Value { return slog.StringValue(c.String()) }

// MarshalText is String.
func (c ConnectionString) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

func (c ConnectionString) format(key, signature string) string {
	var b strings.Builder
	b.WriteString("HostName=" + c.HostName)
	for _, p := range [...][2]string{
		{"DeviceId", c.DeviceID}, {"ModuleId", c.ModuleID}, {"SharedAccessKeyName", c.KeyName},
		{"SharedAccessKey", key}, {"SharedAccessSignature", signature}, {"GatewayHostName", c.Gateway},
	} {
		if p[1] != "" {
			b.WriteString(";" + p[0] + "=" + p[1])
		}
	}
	if c.X509 {
		b.WriteString(";x509=true")
	}
	return b.String()
}
