package device

import (
	"slices"
	"strings"
	"time"
)

const nullText = "null"

// node is a value of a twin with its metadata. Nodes are never changed once
// they are part of a section: a merge copies the path that it changes.
type node struct {
	key    string
	raw    string // JSON text of a leaf (arrays are leaves), as received
	kids   []node // members of an object, sorted by key
	object bool
	size   int32 // by the rule of azure-iot-wire 6, without the key
	text   int32 // bytes of JSON text below, without the key
	held   int32 // roots of patches: bytes of the text that the strings refer to
	at     int64 // ticks of the last change
	ver    int64 // desired version of the last change, 0 in other sections
}

func (n *node) null() bool { return !n.object && n.raw == nullText }

// find returns the place of a key among the members.
func (n *node) find(key string) (int, bool) {
	return slices.BinarySearchFunc(n.kids, key, func(k node, key string) int { return strings.Compare(k.key, key) })
}

// measure sets an object's size from its members.
func (n *node) measure() {
	n.size, n.text = 0, 2
	for i := range n.kids {
		k := &n.kids[i]
		n.size += int32(len(k.key)) + k.size
		n.text += int32(len(k.key)) + 4 + k.text
	}
}

// stamp is the metadata that a merge puts on what it changes.
type stamp struct{ at, version int64 }

// merge returns target changed by patch, both objects, by RFC 7396: objects
// merge member by member, null removes, all else replaces. An object keeps its
// own metadata current when a member below changes or goes.
func (s stamp) merge(target, patch *node) node {
	out := node{key: patch.key, object: true, at: s.at, ver: s.version}
	out.kids = make([]node, 0, len(target.kids)+len(patch.kids))
	i, j := 0, 0
	for i < len(target.kids) || j < len(patch.kids) {
		switch {
		case j == len(patch.kids) || i < len(target.kids) && target.kids[i].key < patch.kids[j].key:
			out.kids = append(out.kids, target.kids[i])
			i++
		case i == len(target.kids) || patch.kids[j].key < target.kids[i].key:
			if p := &patch.kids[j]; !p.null() {
				out.kids = append(out.kids, s.value(&node{}, p))
			}
			j++
		default:
			if p := &patch.kids[j]; !p.null() {
				out.kids = append(out.kids, s.value(&target.kids[i], p))
			}
			i++
			j++
		}
	}
	out.measure()
	return out
}

func (s stamp) value(target, patch *node) node {
	if patch.object {
		if !target.object {
			target = &node{}
		}
		return s.merge(target, patch)
	}
	out := *patch
	out.at, out.ver = s.at, s.version
	return out
}

// secondsTo1970 is the time from year 1 to the Unix epoch.
const secondsTo1970 = 62135596800

// ticks counts units of 100 ns from 0001-01-01T00:00:00Z: the zero time.Time is
// 0 and every year to 9999 fits.
func ticks(t time.Time) int64 {
	return (t.Unix()+secondsTo1970)*10_000_000 + int64(t.Nanosecond())/100
}

func ticksTime(n int64) time.Time {
	return time.Unix(n/10_000_000-secondsTo1970, n%10_000_000*100).UTC()
}
