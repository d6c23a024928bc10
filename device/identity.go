package device

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Status says whether a device may connect.
type Status uint8

// The statuses of an identity. The zero value is enabled.
const (
	Enabled Status = iota
	Disabled
)

// String returns the spelling that is used on the wire.
func (s Status) String() string {
	if s == Disabled {
		return "disabled"
	}
	return "enabled"
}

// ParseStatus reads a status without regard to case; empty is enabled.
func ParseStatus(s string) (Status, error) {
	switch strings.ToLower(s) {
	case "", "enabled":
		return Enabled, nil
	case "disabled":
		return Disabled, nil
	}
	return 0, fmt.Errorf("%w: status %q, allowed are enabled and disabled", ErrArgument, s)
}

// AuthType says how a device proves who it is (azure-iot-wire 1.4, 5.2).
type AuthType uint8

// The authentication types. The zero value is a pair of symmetric keys.
const (
	AuthSAS AuthType = iota
	AuthSelfSigned
	AuthCA
	AuthNone
)

var authNames = [...]string{"sas", "selfSigned", "certificateAuthority", "none"}

// String returns the spelling that is used on the wire.
func (a AuthType) String() string {
	if int(a) < len(authNames) {
		return authNames[a]
	}
	return "none"
}

// ParseAuthType reads an authentication type without regard to case.
func ParseAuthType(s string) (AuthType, error) {
	for i, n := range authNames {
		if strings.EqualFold(s, n) {
			return AuthType(i), nil
		}
	}
	return 0, fmt.Errorf("%w: authentication type %q, allowed are sas, selfSigned, certificateAuthority and none", ErrArgument, s)
}

// Auth is how an identity authenticates. Primary and Secondary are sealed keys,
// used with AuthSAS only; the thumbprints, hex in upper case, with
// AuthSelfSigned only.
type Auth struct {
	Type                                   AuthType
	Primary, Secondary                     []byte
	PrimaryThumbprint, SecondaryThumbprint string
}

// Limits of an identity's free text.
const (
	MaxStatusReason = 128  // bytes
	MaxManagedBy    = 128  // bytes
	MaxScope        = 256  // bytes
	MaxParentScopes = 16   // items
	maxSealedKey    = 1024 // bytes
)

// MaxModules is how many modules a device may have (azure-iot-wire 1.1).
const MaxModules = 50

// Identity is a device or module as the hub admits it. Status, scopes and
// IoTEdge are a device's alone; a module connects while its device is enabled.
type Identity struct {
	DeviceID      string
	ModuleID      string // empty for a device
	ManagedBy     string // modules: free text, who looks after it
	GenerationID  string // changes when the device is deleted and made again
	ETag          string // changes with every change; bare, without quotes
	Status        Status
	StatusReason  string
	StatusUpdated time.Time // zero: never
	Auth          Auth
	IoTEdge       bool
	DeviceScope   string
	ParentScopes  []string
}

// Position is where in the log, and when, a change stands: all that ids and
// etags are derived from.
type Position struct {
	Partition int32
	Offset    int64
	Time      time.Time // the record's timestamp
}

// etag is the base64 text of the offset: unique for a device, whose records are
// all in one partition.
func (p Position) etag() string {
	return base64.StdEncoding.EncodeToString(strconv.AppendInt(nil, p.Offset, 10))
}

func (p Position) generation() string {
	return fmt.Sprintf("%d-%d-%d", p.Time.UnixMilli(), p.Partition, p.Offset)
}

// Apply returns the identity that a change at position p makes of the current
// one, which is nil when the device does not exist. Errors wrap ErrExists, ErrNotFound, ErrPrecondition or
// ErrArgument; they leave the current identity in force.
func (c *Change) Apply(current *Identity, p Position) (Identity, error) {
	w := &c.Wanted
	if err := w.Validate(); err != nil {
		return Identity{}, err
	}
	switch {
	case c.IfMatch == "" && current != nil:
		if w.ModuleID != "" {
			return Identity{}, &refError{ErrModuleExists, w.Ref()}
		}
		return Identity{}, &refError{ErrExists, w.Ref()}
	case c.IfMatch != "" && current == nil:
		return Identity{}, w.Ref().NotFound()
	case current != nil:
		if err := current.Match(c.IfMatch); err != nil {
			return Identity{}, err
		}
	}
	next := Identity{
		DeviceID:     w.DeviceID,
		ModuleID:     w.ModuleID,
		GenerationID: p.generation(),
		ETag:         p.etag(),
		Auth:         w.Auth.normal(),
	}
	if w.ModuleID != "" {
		next.ManagedBy = w.ManagedBy
	} else {
		next.Status, next.StatusReason = w.Status, w.StatusReason
		next.IoTEdge, next.DeviceScope, next.ParentScopes = w.IoTEdge, w.DeviceScope, slices.Clone(w.ParentScopes)
	}
	if current != nil {
		next.GenerationID = current.GenerationID
		next.StatusUpdated = current.StatusUpdated
		if next.Status != current.Status {
			next.StatusUpdated = p.Time.UTC()
		}
		c.keepKeys(&next.Auth, &current.Auth)
	}
	if err := next.scope(current, p, c.KeepScope); err != nil {
		return Identity{}, err
	}
	if next.Auth.Type == AuthSAS && (len(next.Auth.Primary) == 0 || len(next.Auth.Secondary) == 0) {
		return Identity{}, fmt.Errorf("%w: %s needs two keys", ErrArgument, w.Ref())
	}
	return next, nil
}

// Ref names the device or module.
func (id *Identity) Ref() Ref { return Ref{id.DeviceID, id.ModuleID} }

// Match reports whether a change that depends on ifMatch may go on: "" and "*"
// match every identity. The error wraps ErrPrecondition.
func (id *Identity) Match(ifMatch string) error {
	if ifMatch == "" || ifMatch == "*" || ifMatch == id.ETag {
		return nil
	}
	return fmt.Errorf("%w: %s has etag %s, not %q", ErrPrecondition, id.Ref(), id.ETag, ifMatch)
}

// Validate checks what a client may set. The error wraps ErrArgument.
func (id *Identity) Validate() error {
	if err := id.Ref().Valid(); err != nil {
		return err
	}
	a := &id.Auth
	switch {
	case id.Status > Disabled:
		return fmt.Errorf("%w: status %d", ErrArgument, id.Status)
	case a.Type > AuthNone:
		return fmt.Errorf("%w: authentication type %d", ErrArgument, a.Type)
	case len(id.StatusReason) > MaxStatusReason:
		return fmt.Errorf("%w: the status reason has %d bytes, %d are allowed", ErrArgument, len(id.StatusReason), MaxStatusReason)
	case len(id.ManagedBy) > MaxManagedBy:
		return fmt.Errorf("%w: managedBy has %d bytes, %d are allowed", ErrArgument, len(id.ManagedBy), MaxManagedBy)
	case len(id.DeviceScope) > MaxScope:
		return fmt.Errorf("%w: the device scope has %d bytes, %d are allowed", ErrArgument, len(id.DeviceScope), MaxScope)
	case len(id.ParentScopes) > MaxParentScopes:
		return fmt.Errorf("%w: %d parent scopes, %d are allowed", ErrArgument, len(id.ParentScopes), MaxParentScopes)
	case len(a.Primary) > maxSealedKey || len(a.Secondary) > maxSealedKey:
		return fmt.Errorf("%w: a sealed key is longer than %d bytes", ErrArgument, maxSealedKey)
	}
	for _, s := range id.ParentScopes {
		if len(s) > MaxScope {
			return fmt.Errorf("%w: a parent scope has %d bytes, %d are allowed", ErrArgument, len(s), MaxScope)
		}
	}
	if a.Type != AuthSelfSigned {
		return nil
	}
	if a.PrimaryThumbprint == "" && a.SecondaryThumbprint == "" {
		return fmt.Errorf("%w: selfSigned needs a thumbprint", ErrArgument)
	}
	for _, t := range []string{a.PrimaryThumbprint, a.SecondaryThumbprint} {
		if t != "" && !validThumbprint(t) {
			return fmt.Errorf("%w: a thumbprint has 40 (SHA-1) or 64 (SHA-256) hex digits", ErrArgument)
		}
	}
	return nil
}

func validThumbprint(s string) bool {
	if len(s) != 40 && len(s) != 64 {
		return false
	}
	for i := 0; i < len(s); i++ {
		if HexDigit(s[i]) < 0 {
			return false
		}
	}
	return true
}

// normal drops what the type does not use, so that no forgotten key or
// thumbprint comes back to life when the type changes again.
func (a Auth) normal() Auth {
	n := Auth{Type: a.Type}
	switch a.Type {
	case AuthSAS:
		n.Primary, n.Secondary = slices.Clone(a.Primary), slices.Clone(a.Secondary)
	case AuthSelfSigned:
		n.PrimaryThumbprint = strings.ToUpper(a.PrimaryThumbprint)
		n.SecondaryThumbprint = strings.ToUpper(a.SecondaryThumbprint)
	}
	return n
}

// keepKeys puts the current keys in the place of those that were only made for
// want of one.
func (c *Change) keepKeys(next, current *Auth) {
	if next.Type != AuthSAS || current.Type != AuthSAS {
		return
	}
	if c.KeepPrimary {
		next.Primary = current.Primary
	}
	if c.KeepSecondary {
		next.Secondary = current.Secondary
	}
}
