package sim

import (
	"encoding/json"
	"fmt"
	"math/bits"
	"slices"
)

// section is what one writer of a twin's section knows: the twin up to a version,
// and patches after it of which it does not know whether they were applied. It is
// not safe for concurrent use.
type section struct {
	version int64 // as last answered or read
	doc     properties
	open    []int64         // sent after that, not answered, in order
	floor   int64           // a version that was answered; what is read must not be below
	last    int64           // number of the newest patch
	history map[int64]int64 // by version: the patch that made it
}

// properties are what patches leave, see patchOf: the counter and the members
// k0 to k2, 0 for one that is absent.
type properties struct {
	n int64
	k [3]int64
}

func newSection() section { return section{version: 1, floor: 1, history: map[int64]int64{}} }

// with is the merge of patch n.
func (p properties) with(n int64) properties {
	p.n = n
	p.k[n%3] = n
	if n%5 == 4 {
		p.k[n%3] = 0
	}
	return p
}

// next numbers a patch; it counts as unknown until it is answered or read.
func (s *section) next() int64 {
	s.last++
	s.open = append(s.open, s.last)
	return s.last
}

// answered takes the version that the newest patch was answered with. known
// says that nothing is left to read: all before it is known as well.
func (s *section) answered(version int64) (known bool, err error) {
	if version <= s.version || version > s.version+int64(len(s.open)) {
		return false, fmt.Errorf("patch %d was answered with version %d, after version %d and %d patches without an answer", s.last, version, s.version, len(s.open)-1)
	}
	s.floor = version
	if version > s.version+1 && len(s.open) > int(version-s.version) {
		return false, nil // some of those without an answer were applied: a read tells which
	}
	if version == s.version+1 {
		s.open = s.open[len(s.open)-1:]
	}
	s.apply(s.open)
	s.open = nil
	return true, nil
}

func (s *section) apply(patches []int64) {
	for _, n := range patches {
		s.version++
		s.doc = s.doc.with(n)
		s.history[s.version] = n
	}
}

// maxOpen bounds the patches without an answer: with more, too many twins would
// pass.
const maxOpen = 12

// read compares what was read with what can be: some of the open patches were
// applied, in order, and as many as the version says. What the twin shows is
// known afterwards; patches after the last applied one stay open.
func (s *section) read(version int64, got properties) error {
	grown := version - s.version
	switch {
	case version < s.floor:
		return fmt.Errorf("%w: it has version %d, and %d was answered before", errTwinLost, version, s.floor)
	case grown > int64(len(s.open)):
		return fmt.Errorf("%w: it has version %d, %d above the last known one, with %d patches", errTwinDoubled, version, grown, len(s.open))
	}
	for set := range uint(1) << len(s.open) {
		if int64(bits.OnesCount(set)) != grown {
			continue
		}
		doc := s.doc
		var applied []int64
		for i, n := range s.open {
			if set&(1<<i) != 0 {
				doc = doc.with(n)
				applied = append(applied, n)
			}
		}
		if doc != got {
			continue
		}
		s.apply(applied)
		s.open = slices.Clone(s.open[bits.Len(set):])
		return nil
	}
	return fmt.Errorf("%w: at version %d it is %+v, and was %+v at %d with %v to come", errTwinWrong, version, got, s.doc, s.version, s.open)
}

// view is a section as the hub shows it.
type view struct {
	version int64
	doc     properties
}

func (v *view) UnmarshalJSON(b []byte) error {
	type member struct{ At int64 }
	var s struct {
		Version int64 `json:"$version"`
		N       int64
		K0      *member
		K1      *member
		K2      *member
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	*v = view{version: s.Version, doc: properties{n: s.N}}
	for i, k := range []*member{s.K0, s.K1, s.K2} {
		if k != nil {
			v.doc.k[i] = k.At
		}
	}
	return nil
}

// notification is a change of desired properties as a device heard of it.
type notification struct {
	session int
	version int64
	patch   int64
}

// judgeNotifications checks that versions only grow within a session and that
// each notification carries the patch of its version. missed counts the ones
// that a session did not get between two that it got.
func judgeNotifications(list []notification, history map[int64]int64) (missed int, problems []string) {
	for i, n := range list {
		if want, ok := history[n.version]; !ok || want != n.patch {
			problems = append(problems, fmt.Sprintf("version %d came with patch %d, it is that of %d", n.version, n.patch, want))
		}
		if i == 0 || list[i-1].session != n.session {
			continue
		}
		before := list[i-1].version
		if n.version <= before {
			problems = append(problems, fmt.Sprintf("version %d came after %d", n.version, before))
		} else {
			missed += int(n.version - before - 1)
		}
	}
	return missed, problems
}
