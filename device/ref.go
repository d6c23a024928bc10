package device

import "strings"

// Ref names an entity of the hub: a device, or a module of a device. It is
// comparable.
type Ref struct {
	Device string
	Module string // empty for the device itself
}

// String returns "did" or "did/mid". No id holds a slash.
func (r Ref) String() string {
	if r.Module == "" {
		return r.Device
	}
	return r.Device + "/" + r.Module
}

// ParseRef reads what String returned.
func ParseRef(s string) Ref {
	did, mid, _ := strings.Cut(s, "/")
	return Ref{did, mid}
}

// Key returns the key that stores and the changelog hold the entity under:
// "did", or "did NUL mid". It sorts a device's modules right behind the device,
// since no id holds a byte below 0x21.
func (r Ref) Key() string {
	if r.Module == "" {
		return r.Device
	}
	return r.Device + "\x00" + r.Module
}

// ParseKey reads what Key returned.
func ParseKey(key string) Ref {
	did, mid, _ := strings.Cut(key, "\x00")
	return Ref{did, mid}
}

// Valid reports whether the ids are those that a device or module may have. The
// error wraps ErrArgument.
func (r Ref) Valid() error {
	if err := ValidID(r.Device); err != nil || r.Module == "" {
		return err
	}
	return ValidID(r.Module)
}

// NotFound is the error for an entity that does not exist: ErrModuleNotFound for
// a module, else ErrNotFound.
func (r Ref) NotFound() error {
	if r.Module != "" {
		return &refError{ErrModuleNotFound, r}
	}
	return &refError{ErrNotFound, r}
}

// refError is an error of an entity.
type refError struct {
	err error
	ref Ref
}

func (e *refError) Error() string { return e.err.Error() + ": " + e.ref.String() }
func (e *refError) Unwrap() error { return e.err }
