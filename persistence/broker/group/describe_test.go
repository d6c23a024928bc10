package group

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
)

func TestDescribe(t *testing.T) {
	w := newWorld(t, Options{})
	if d := w.c.Describe("g", 5, w.stored["g"]); d.State != "Dead" || d.ErrorCode != 0 {
		t.Fatalf("%+v", d)
	}
	if d := w.c.Describe("g", 6, w.stored["g"]); d.State != "Dead" || kerr.ErrorForCode(d.ErrorCode) != kerr.GroupIDNotFound {
		t.Fatalf("%+v", d)
	}
	w.stored["g"] = true
	if d := w.c.Describe("g", 6, w.stored["g"]); d.State != "Empty" || d.ErrorCode != 0 {
		t.Fatalf("%+v", d)
	}
	l, _ := w.pair()
	d := w.c.Describe("g", 6, w.stored["g"])
	if d.State != "Stable" || d.Protocol != "range" || d.ProtocolType != "consumer" || len(d.Members) != 2 {
		t.Fatalf("%+v", d)
	}
	if m := d.Members[0]; m.MemberID != l || m.ClientID != "app" || m.ClientHost != "/10.0.0.1" || string(m.MemberAssignment) != "a" || len(m.ProtocolMetadata) == 0 {
		t.Fatalf("%+v", m)
	}
	w.join(joinReq(l))
	if d := w.c.Describe("g", 6, w.stored["g"]); d.State != "PreparingRebalance" || d.Protocol != "" || len(d.Members[0].ProtocolMetadata) != 0 {
		t.Fatalf("%+v", d)
	}
}

func TestList(t *testing.T) {
	w := newWorld(t, Options{})
	w.pair()
	for _, tc := range []struct {
		rule          string
		states, types []string
		want          string
	}{
		{"all", nil, nil, "g/Stable/classic/consumer old/Empty/classic/ "},
		{"by state in any case", []string{"STABLE"}, nil, "g/Stable/classic/consumer "},
		{"by several states", []string{"dead", "empty"}, nil, "old/Empty/classic/ "},
		{"by type", nil, []string{"Classic"}, "g/Stable/classic/consumer old/Empty/classic/ "},
		{"by another type", nil, []string{"consumer"}, ""},
	} {
		got := ""
		for _, l := range w.c.List(tc.states, tc.types, []string{"g", "old"}) {
			got += fmt.Sprintf("%s/%s/%s/%s ", l.Group, l.GroupState, l.GroupType, l.ProtocolType)
		}
		if got != tc.want {
			t.Errorf("%s: %q, want %q", tc.rule, got, tc.want)
		}
	}
}

func TestDelete(t *testing.T) {
	w := newWorld(t, Options{})
	check := func(want *kerr.Error) {
		t.Helper()
		if err := w.c.CheckDeleteGroup("g", w.stored["g"]); err != want {
			t.Fatalf("%v, want %v", err, want)
		}
	}
	check(kerr.GroupIDNotFound)
	w.stored["g"] = true
	check(nil)
	l, f := w.pair()
	check(kerr.NonEmptyGroup)
	w.c.Forget("g")
	w.state("Stable")
	w.leave(leaver(l, ""), leaver(f, ""))
	w.join(joinReq("")) // an id given out does not keep the group
	check(nil)
	w.c.Forget("g")
	if groups, _ := w.c.Members(); groups != 0 || w.c.bytes != 0 {
		t.Fatalf("%d groups, %d bytes", groups, w.c.bytes)
	}
}

func TestActivity(t *testing.T) {
	var told []string
	w := newWorld(t, Options{Activity: func(g string, active bool) { told = append(told, fmt.Sprint(g, " ", active)) }})
	l, f := w.pair()
	w.leave(leaver(f, ""))
	w.leave(leaver(l, ""))
	w.join(joinReq(""))
	if got := fmt.Sprint(told); got != "[g true g false]" {
		t.Fatal(got)
	}
}
