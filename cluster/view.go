package cluster

import (
	"slices"
	"sync"
)

// View is what a node believes about the cluster at one time. It is a hint: two
// nodes may hold different views for a while.
type View struct {
	Version uint64   // grows by one with each change, from 1
	Members []string // live members in order of their names, this node included
}

// Owner is the member that the partition is placed on.
func (v View) Owner(partition int32) string { return owner(v.Members, partition) }

// membership keeps the view and tells subscribers about changes.
type membership struct {
	// deliver is held while subscribers run, so that they see views in order and
	// none after their cancel has returned. It is taken before mu.
	deliver sync.Mutex

	mu   sync.Mutex // guards the following; no callback runs under it
	view View
	next int
	subs map[int]func(View)
}

func newMembership(self string) *membership {
	return &membership{
		view: View{Version: 1, Members: []string{self}},
		subs: map[int]func(View){},
	}
}

func (m *membership) current() View {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.view
}

// set replaces the members; an equal set is no change.
func (m *membership) set(members []string) {
	m.deliver.Lock()
	defer m.deliver.Unlock()
	members = slices.Compact(slices.Sorted(slices.Values(members)))
	m.mu.Lock()
	if slices.Equal(members, m.view.Members) {
		m.mu.Unlock()
		return
	}
	m.view = View{Version: m.view.Version + 1, Members: members}
	v, subs := m.view, make([]func(View), 0, len(m.subs))
	for _, f := range m.subs {
		subs = append(subs, f)
	}
	m.mu.Unlock()
	for _, f := range subs {
		f(v)
	}
}

func (m *membership) subscribe(f func(View)) (cancel func()) {
	m.deliver.Lock()
	defer m.deliver.Unlock()
	m.mu.Lock()
	id := m.next
	m.next++
	m.subs[id] = f
	v := m.view
	m.mu.Unlock()
	f(v)
	return func() {
		m.deliver.Lock()
		defer m.deliver.Unlock()
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.subs, id)
	}
}
