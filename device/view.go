package device

import (
	"strconv"
	"strings"
)

// View is a value of a twin's section, read in place. The zero View is of
// nothing. It stays what it was when the twin changes.
type View struct {
	n       *node
	section *Section // the root's own where $version and $metadata show
	meta    bool     // the metadata of n instead of n
}

// View returns the section's document with $version and $metadata.
func (s *Section) View() View { return View{n: &s.root, section: s} }

// Members returns the section's document alone, as tags are shown.
func (s *Section) Members() View { return View{n: &s.root} }

// Exists reports whether there is a value.
func (v View) Exists() bool { return v.n != nil }

// Member returns a member of an object: of View also $version and
// $metadata, of metadata $lastUpdated and $lastUpdatedVersion. What is
// no View of its own, a number or a time, comes as its JSON text; then and else
// where there is no such member the View is of nothing. fold compares names
// without case; of several names that fit the first in order counts.
func (v View) Member(key string, fold bool) (member View, text string) {
	if v.n == nil {
		return View{}, ""
	}
	if len(key) > 0 && key[0] == '$' {
		return v.special(key, fold)
	}
	if !v.n.object {
		return View{}, ""
	}
	if i, ok := v.n.find(key); ok {
		return View{n: &v.n.kids[i], meta: v.meta}, ""
	}
	if fold {
		for i := range v.n.kids {
			if strings.EqualFold(v.n.kids[i].key, key) {
				return View{n: &v.n.kids[i], meta: v.meta}, ""
			}
		}
	}
	return View{}, ""
}

func (v View) special(key string, fold bool) (View, string) {
	is := func(name string) bool { return key == name || fold && strings.EqualFold(key, name) }
	switch {
	case v.meta && is("$lastUpdated"):
		return View{}, string(appendTime(nil, ticksTime(v.n.at)))
	case v.meta && v.n.ver > 0 && is("$lastUpdatedVersion"):
		return View{}, strconv.FormatInt(v.n.ver, 10)
	case v.section != nil && !v.meta && is("$version"):
		return View{}, strconv.FormatInt(v.section.Version, 10)
	case v.section != nil && !v.meta && is("$metadata"):
		return View{n: v.n, section: v.section, meta: true}, ""
	}
	return View{}, ""
}

// Object reports whether the value is an object.
func (v View) Object() bool { return v.n != nil && (v.meta || v.n.object) }

// Text returns the JSON text of a value that is no object.
func (v View) Text() string {
	if v.Object() || v.n == nil {
		return ""
	}
	return v.n.raw
}

// AppendJSON appends the value as a twin's reader sees it.
func (v View) AppendJSON(dst []byte) []byte {
	switch {
	case v.n == nil:
		return append(dst, nullText...)
	case v.meta:
		return v.n.appendMetadata(dst)
	case v.section != nil:
		return v.section.AppendJSON(dst)
	case v.n.object:
		return v.n.appendMembers(dst, "")
	}
	return append(dst, v.n.raw...)
}
