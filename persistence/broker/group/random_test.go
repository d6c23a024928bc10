package group

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// simulated is a member that does what a client does, at random moments: it
// may be slow, silent, start again or leave.
type simulated struct {
	id, instance  string
	generation    int32
	leads, synced bool
	peers         []string
	join, sync    Ticket
	part          string
}

// TestRandomMembers lets members come, go and be silent at random times and
// checks what must hold whatever they do:
//
//   - every request is answered at most once, and by the time-outs at all;
//   - who may commit in a generation is a member of it, and a member has been
//     told the generation that it commits in;
//   - in a generation no two members have the same part, and all agree on the
//     leader;
//   - generations grow;
//   - what is remembered is what the members need, and nothing when they are
//     gone.
func TestRandomMembers(t *testing.T) {
	for seed := range uint64(200) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { randomMembers(t, seed) })
	}
}

func randomMembers(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	o := Options{MaxMembers: 2 + r.IntN(5)}
	if r.IntN(2) == 0 {
		o.InitialRebalanceDelay = 100 * time.Millisecond
	}
	w := newWorld(t, o)
	members := make([]*simulated, 1+r.IntN(6))
	for i := range members {
		members[i] = &simulated{}
		if r.IntN(3) == 0 {
			members[i].instance = fmt.Sprint("i", i)
		}
	}
	var highest int32
	leaders := make(map[int32]string)
	parts := make(map[string]string) // generation and part: who has it
	pendingSince := make(map[Ticket]time.Time)

	request := func(m *simulated) *kmsg.JoinGroupRequest {
		protocols := []string{"range"}
		if r.IntN(4) == 0 {
			protocols = append(protocols, "sticky")
		}
		req := joinReq(m.id, protocols...)
		req.RebalanceTimeoutMillis = 20_000
		if m.instance != "" {
			req.InstanceID = &m.instance
		}
		return req
	}
	hear := func(m *simulated) {
		if res, ok := w.got[m.join].(*kmsg.JoinGroupResponse); ok {
			m.join = 0
			switch kerr.ErrorForCode(res.ErrorCode) {
			case nil:
				m.id, m.generation, m.synced, m.part = res.MemberID, res.Generation, false, ""
				m.leads, m.peers = res.LeaderID == res.MemberID && !res.SkipAssignment, nil
				for _, p := range res.Members {
					m.peers = append(m.peers, p.MemberID)
				}
				if res.Generation < highest {
					t.Fatalf("generation %d after %d", res.Generation, highest)
				}
				highest = res.Generation
				if l, ok := leaders[res.Generation]; ok && l != res.LeaderID && m.instance == "" && !res.SkipAssignment {
					// Only a static leader that came back changes its id.
					if len(l) > 0 && l[0] != 'i' {
						t.Fatalf("generation %d is led by %s and %s", res.Generation, l, res.LeaderID)
					}
				}
				leaders[res.Generation] = res.LeaderID
			case kerr.MemberIDRequired:
				m.id = res.MemberID
			case kerr.UnknownMemberID, kerr.FencedInstanceID:
				m.id = ""
			}
		}
		if res, ok := w.got[m.sync].(*kmsg.SyncGroupResponse); ok {
			m.sync = 0
			switch kerr.ErrorForCode(res.ErrorCode) {
			case nil:
				m.synced, m.part = true, string(res.MemberAssignment)
				key := fmt.Sprint(m.generation, " ", m.part)
				who := m.id
				if m.instance != "" {
					who = m.instance
				}
				if other, ok := parts[key]; ok && other != who && m.part != "" {
					t.Fatalf("%s and %s both have %s", other, who, key)
				}
				parts[key] = who
			case kerr.UnknownMemberID, kerr.FencedInstanceID:
				m.id = ""
			}
		}
	}
	check := func() {
		g := w.c.classic("g")
		if g == nil {
			if w.c.bytes != 0 {
				t.Fatalf("no group, %d bytes", w.c.bytes)
			}
			return
		}
		bytes := 0
		supports := make(map[string]int)
		for _, m := range g.members {
			bytes += len(m.assignment) + costOf(m.id, m.instance, m.protocols)
			for _, p := range m.protocols {
				supports[p.Name]++
			}
			if g.byID[m.id] != m || m.instance != nil && g.static[*m.instance] != m {
				t.Fatalf("member %s is not found", m.id)
			}
			if g.state == empty || g.state == stable && (m.join.waits() || m.sync.waits()) {
				t.Fatalf("member %s waits in state %s", m.id, g.state)
			}
			if m.expires.IsZero() && !m.join.waits() && !m.sync.waits() {
				t.Fatalf("member %s lives forever", m.id)
			}
		}
		for id := range g.pending {
			bytes += memberOverhead + len(id)
		}
		if bytes != w.c.bytes || len(supports) != len(g.supports) || len(g.byID) != len(g.members) {
			t.Fatalf("%d bytes, counted %d; protocols %v, counted %v", bytes, w.c.bytes, supports, g.supports)
		}
		if len(g.members) > 0 && g.byID[g.leader] == nil {
			t.Fatalf("leader %q is no member", g.leader)
		}
		if len(g.members) == 0 && g.state != empty && g.joinAt.IsZero() && len(g.pending) == 0 {
			t.Fatalf("no members in state %s", g.state)
		}
		for id := range g.unsynced {
			if g.byID[id] == nil {
				t.Fatalf("waiting for the sync of %s, who is no member", id)
			}
		}
	}
	step := func(m *simulated) {
		switch n := r.IntN(20); {
		case n == 0:
			m.id, m.join, m.sync = "", 0, 0 // started again
		case n == 1 && m.id != "":
			w.leave(leaver(m.id, m.instance))
			m.id, m.join, m.sync = "", 0, 0
		case n < 4:
			// silent
		case m.join != 0 || m.sync != 0:
		case m.id == "" || m.generation == 0 || n < 6:
			m.join = w.join(request(m))
		case !m.synced:
			req := syncReq(m.id, m.generation)
			req.Protocol = nil
			req.Version = 4
			if m.instance != "" {
				req.InstanceID = &m.instance
			}
			if m.leads {
				for i, p := range m.peers {
					a := kmsg.NewSyncGroupRequestGroupAssignment()
					a.MemberID, a.MemberAssignment = p, fmt.Append(nil, "part ", i)
					req.GroupAssignment = append(req.GroupAssignment, a)
				}
			}
			m.sync = w.syncReq(req)
		default:
			switch w.beat(m.id, m.generation) {
			case kerr.RebalanceInProgress, kerr.IllegalGeneration:
				m.join = w.join(request(m))
			case kerr.UnknownMemberID:
				m.id, m.generation = "", 0
			}
		}
		if m.id == "" {
			m.generation, m.synced = 0, false
		}
	}
	for range 400 {
		m := members[r.IntN(len(members))]
		step(m)
		check()
		if r.IntN(3) == 0 {
			w.pass(time.Duration(r.IntN(8_000)) * time.Millisecond)
			check()
		}
		for _, m := range members {
			hear(m)
			for _, tk := range []Ticket{m.join, m.sync} {
				if tk == 0 {
					continue
				}
				if _, ok := pendingSince[tk]; !ok {
					pendingSince[tk] = w.now
				}
				if waited := w.now.Sub(pendingSince[tk]); waited > 10*time.Minute {
					t.Fatalf("ticket %d waits for %v", tk, waited)
				}
			}
			if g := w.c.classic("g"); g != nil && m.id != "" {
				err := w.c.CheckCommit(w.now, Commit{Group: "g", Member: m.id, Generation: m.generation, Transactional: true})
				if in := g.byID[m.id] != nil && m.generation == g.generation; (err == nil) != in {
					t.Fatalf("member %s of %d may commit in %d: %v", m.id, m.generation, g.generation, err)
				}
			}
		}
	}
	w.pass(time.Hour)
	if groups, n := w.c.Members(); groups != 0 || n != 0 || w.c.bytes != 0 || len(w.c.due) != 0 {
		t.Fatalf("all are gone, but %d groups, %d members, %d bytes, %d deadlines", groups, n, w.c.bytes, len(w.c.due))
	}
	for tk := Ticket(1); tk <= w.last; tk++ {
		if w.got[tk] == nil {
			t.Fatalf("ticket %d was never answered", tk)
		}
	}
}
