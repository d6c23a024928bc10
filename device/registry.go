package device

import "time"

// Audit says who asked for a change. It travels in the headers of the change's
// device-log record and never holds a secret.
type Audit struct {
	Actor      string // "policy:NAME", "device:ID" or "admin"
	Credential string // which credential: "primary", "secondary", "token"
	Address    string // source address, host:port
	RequestID  string // the client's request id, or the one made for it
}

// Change asks for the identity of a device or module to be created or updated.
type Change struct {
	// Wanted holds what the client may set: DeviceID and Auth with sealed keys;
	// of a device Status, StatusReason, IoTEdge, DeviceScope and ParentScopes; of a
	// module ModuleID and ManagedBy. All else is ignored.
	Wanted Identity
	// KeepPrimary and KeepSecondary say that the key in Wanted was made for want
	// of one: the current key, if there is one, stays instead.
	KeepPrimary, KeepSecondary bool
	// KeepScope says that the scope in Wanted is the one that a new edge device
	// had on the hub that it comes from, which its children name; without it a new
	// edge device gets a scope of its own.
	KeepScope bool
	// IfMatch is empty to create (ErrExists if there is one), "*" to update
	// whatever is there, else the etag to update (ErrPrecondition if it differs).
	// An update of an unknown device is ErrNotFound; modules have ErrModuleExists
	// and ErrModuleNotFound.
	IfMatch string
	Audit   Audit
}

// TwinChange asks for tags and desired properties to be changed.
type TwinChange struct {
	DeviceID string
	ModuleID string // empty for the device itself
	// Body is {"tags":…,"properties":{"desired":…}}; all other members are ignored.
	Body []byte
	// Replace makes tags and desired exactly the supplied documents; a section
	// that is left out becomes empty.
	Replace bool
	// IfMatch is the twin etag that the change depends on; "" and "*" match all.
	IfMatch string
	Audit   Audit
}

// Ref names the entity whose twin is to change.
func (c *TwinChange) Ref() Ref { return Ref{c.DeviceID, c.ModuleID} }

// Presence is what is known of a device's connection. Zero times mean never.
type Presence struct {
	Connected    bool
	Updated      time.Time // when Connected last changed
	LastActivity time.Time
	Queued       int // cloud-to-device messages still queued
}

// Entry is a device as the registry knows it. Keys in Identity are sealed.
type Entry struct {
	Identity Identity
	Presence Presence
}

// Document is a device with its twin.
type Document struct {
	Entry
	Twin Twin
	// Configurations is the JSON text of the twin's member configurations, "" for
	// none.
	Configurations string
}

// Statistics counts the devices of a hub.
type Statistics struct {
	Total, Enabled, Disabled, Connected int64
}
