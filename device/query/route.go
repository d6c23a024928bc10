package query

import (
	"strings"
)

// Route is the condition of a message route (azure-iot-wire 9.2). Names, strings
// and functions have no case.
type Route struct{ where Expr }

// ParseRoute reads a route's condition; "" is true. The error is an *Error.
func ParseRoute(text string) (*Route, error) {
	if strings.TrimSpace(text) == "" {
		return &Route{&Const{OfBool(true)}}, nil
	}
	p, err := newParser(text, true)
	if err != nil {
		return nil, err
	}
	x, err := p.expr()
	if err == nil {
		err = p.end()
	}
	if err != nil {
		return nil, err
	}
	return &Route{x}, nil
}

// String returns the condition as text that ParseRoute reads as the same.
func (r *Route) String() string { return string(r.where.print(nil, 0)) }

// Verdict is what a condition says of a message.
type Verdict uint8

// The verdicts. Only Yes lets a message pass.
const (
	Unknown Verdict = iota // undefined: a path or type does not fit
	No
	Yes
)

// Match evaluates the condition for one message.
func (r *Route) Match(m *Message) Verdict {
	v := r.where.eval(&scope{source: m, fold: true})
	switch {
	case v.True():
		return Yes
	case v.kind == Bool:
		return No
	}
	return Unknown
}

// Message is a message as route conditions see it.
type Message struct {
	// System returns a system property by its name without $, in lower case:
	// contenttype, contentencoding, enqueuedtime, connectiondeviceid,
	// connectionmoduleid, correlationid, messageid, userid, to. nil: none.
	System func(name string) (string, bool)
	// Property returns an application property by its name without case. nil: none.
	Property func(name string) (string, bool)
	// Body is the body as JSON in UTF-8, "" where the content type and encoding
	// don't say that it is.
	Body string
	// Twin is the device's, nil where there is none.
	Twin *Twin
}

// Fields of a route's paths.
const (
	fieldBody Field = 200 + iota
	fieldTwin
)

func (p *Path) resolveRoute() {
	switch strings.ToLower(p.Steps[0].Name) {
	case "$body":
		p.field = fieldBody
	case "$twin":
		p.field = fieldTwin
		if len(p.Steps) > 1 && !p.Steps[1].IsIndex {
			p.rest = &Path{Steps: p.Steps[1:], field: fieldOf(strings.ToLower(p.Steps[1].Name))}
		}
	}
}

// Lookup resolves a path.
func (m *Message) Lookup(p *Path) Value {
	switch p.field {
	case fieldBody:
		return walk(m.Body, p.Steps[1:], true)
	case fieldTwin:
		if m.Twin == nil || p.rest == nil {
			return Value{}
		}
		switch p.rest.field {
		case FieldTags:
			return m.Twin.section(m.Twin.Document.Twin.Tags.Members(), p.rest.Steps[1:], true)
		case FieldProperties:
			return m.Twin.properties(p.rest.Steps[1:], true)
		}
		return Value{}
	}
	if len(p.Steps) > 1 {
		return Value{}
	}
	name := p.Steps[0].Name
	if short, ok := strings.CutPrefix(name, "$"); ok && m.System != nil {
		if v, ok := m.System(strings.ToLower(short)); ok {
			return OfString(v)
		}
	}
	if m.Property != nil {
		if v, ok := m.Property(name); ok {
			return OfString(v)
		}
	}
	return Value{}
}
