package access

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	topic   = kmsg.ACLResourceTypeTopic
	group   = kmsg.ACLResourceTypeGroup
	txnID   = kmsg.ACLResourceTypeTransactionalId
	cluster = kmsg.ACLResourceTypeCluster

	opAll             = kmsg.ACLOperationAll
	opRead            = kmsg.ACLOperationRead
	opWrite           = kmsg.ACLOperationWrite
	opCreate          = kmsg.ACLOperationCreate
	opDelete          = kmsg.ACLOperationDelete
	opAlter           = kmsg.ACLOperationAlter
	opDescribe        = kmsg.ACLOperationDescribe
	opDescribeConfigs = kmsg.ACLOperationDescribeConfigs
	opAlterConfigs    = kmsg.ACLOperationAlterConfigs
	opIdempotentWrite = kmsg.ACLOperationIdempotentWrite
)

type question struct {
	name     string
	op       kmsg.ACLOperation
	resource kmsg.ACLResourceType
	on       string
	want     bool
}

func ask(t *testing.T, r *Rules, p Principal, questions []question) {
	t.Helper()
	for _, q := range questions {
		if got := r.Allowed(p, q.op, q.resource, q.on); got != q.want {
			t.Errorf("%s: %v on %v %q: %v", q.name, q.op, q.resource, q.on, got)
		}
	}
}

func rules(t *testing.T, list ...Rule) *Rules {
	t.Helper()
	r, err := NewRules(list)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRulesMeanWhatKafkasDo(t *testing.T) {
	r := rules(t,
		Rule{"ana", topic, false, "a", opRead, false},
		Rule{"ana", topic, true, "p.", opAll, false},
		Rule{"ana", topic, true, "p.secret.", opRead, true},
		Rule{"ana", topic, false, "p.shut", opAll, true},
		Rule{"ana", topic, false, "conf", opAlterConfigs, false},
		Rule{"*", topic, false, "public", opRead, false},
		Rule{"*", group, false, "*", opRead, false},
		Rule{"bob", topic, false, "*", opAll, true},
	)
	ask(t, r, Principal{Name: "ana"}, []question{
		{"allowed", opRead, topic, "a", true},
		{"reading implies describing", opDescribe, topic, "a", true},
		{"reading implies no writing", opWrite, topic, "a", false},
		{"a literal name is no prefix", opRead, topic, "ab", false},
		{"a topic is no group", opWrite, group, "a", false},
		{"prefix", opDelete, topic, "p.x", true},
		{"prefix itself", opDelete, topic, "p.", true},
		{"shorter than the prefix", opDelete, topic, "p", false},
		{"denied prefix wins", opRead, topic, "p.secret.x", false},
		{"a denied operation is that one alone", opWrite, topic, "p.secret.x", true},
		{"denying reads denies no describing", opDescribe, topic, "p.secret.x", true},
		{"all denied", opDescribe, topic, "p.shut", false},
		{"altering configs implies describing them", opDescribeConfigs, topic, "conf", true},
		{"and not the topic", opDescribe, topic, "conf", false},
		{"everybody's", opRead, topic, "public", true},
		{"any name", opRead, group, "whatever", true},
		{"no rule", opAlter, cluster, ClusterName, false},
	})
	ask(t, r, Principal{Name: "bob"}, []question{
		{"denied to him, allowed to everybody", opRead, topic, "public", false},
		{"what is not denied", opRead, group, "g", true},
	})
	ask(t, r, Principal{Name: "bob", Super: true}, []question{{"super", opDelete, topic, "public", true}})
	ask(t, r, Principal{}, []question{{"nobody", opDelete, topic, "a", false}})
	ask(t, Open(), Principal{}, []question{{"open", opDelete, topic, "a", true}})
}

func TestRulesAllowedSome(t *testing.T) {
	for name, c := range map[string]struct {
		list []Rule
		want bool
	}{
		"nothing":                  {nil, false},
		"one":                      {[]Rule{{"ana", topic, false, "a", opWrite, false}}, true},
		"another's":                {[]Rule{{"bob", topic, false, "a", opWrite, false}}, false},
		"another operation":        {[]Rule{{"ana", topic, false, "a", opRead, false}}, false},
		"denied by name":           {[]Rule{{"ana", topic, false, "a", opWrite, false}, {"*", topic, false, "a", opWrite, true}}, false},
		"denied by prefix":         {[]Rule{{"ana", topic, true, "a.b", opWrite, false}, {"ana", topic, true, "a", opAll, true}}, false},
		"all denied":               {[]Rule{{"ana", topic, false, "*", opAll, false}, {"ana", topic, false, "*", opWrite, true}}, false},
		"part of all denied":       {[]Rule{{"ana", topic, false, "*", opAll, false}, {"ana", topic, true, "a", opWrite, true}}, true},
		"denied another operation": {[]Rule{{"ana", topic, false, "a", opWrite, false}, {"ana", topic, false, "a", opRead, true}}, true},
	} {
		if got := rules(t, c.list...).AllowedSome(Principal{Name: "ana"}, opWrite, topic); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestRulesWithoutSenseAreRefused(t *testing.T) {
	for name, r := range map[string]Rule{
		"no principal":     {"", topic, false, "a", opRead, false},
		"no name":          {"ana", topic, true, "", opRead, false},
		"no operation":     {"ana", topic, false, "a", 0, false},
		"absurd operation": {"ana", topic, false, "a", 99, false},
		"no resource":      {"ana", 0, false, "a", opRead, false},
	} {
		if _, err := NewRules([]Rule{r}); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestReservedNamesAreTheServersAlone(t *testing.T) {
	reserved := Reserved{Private: []string{"hub.device-log"}, ReadOnly: []string{"hub.events"}, Prefix: "hub."}
	r := rules(t, reserved.Rules(Anonymous)...)
	ask(t, r, Principal{Name: Anonymous}, []question{
		{"private read", opRead, topic, "hub.device-log", false},
		{"private described", opDescribe, topic, "hub.device-log", false},
		{"private created", opCreate, topic, "hub.device-log", false},
		{"read-only read", opRead, topic, "hub.events", true},
		{"read-only described", opDescribe, topic, "hub.events", true},
		{"read-only described in full", opDescribeConfigs, topic, "hub.events", true},
		{"read-only written", opWrite, topic, "hub.events", false},
		{"read-only deleted", opDelete, topic, "hub.events", false},
		{"read-only configured", opAlterConfigs, topic, "hub.events", false},
		{"read-only extended", opAlter, topic, "hub.events", false},
		{"own created", opCreate, topic, "results", true},
		{"own written", opWrite, topic, "results", true},
		{"own deleted", opDelete, topic, "results", true},
		{"own configured", opAlterConfigs, topic, "results", true},
		{"topics have no private prefix", opWrite, topic, "hub.mine", true},
		{"private transactional id", opWrite, txnID, "hub.d.0", false},
		{"private transactional id described", opDescribe, txnID, "hub.d.0", false},
		{"own transactional id", opWrite, txnID, "mine", true},
		{"private group joined", opRead, group, "hub.d", false},
		{"private group deleted", opDelete, group, "hub.d", false},
		{"private group described", opDescribe, group, "hub.d", true},
		{"own group", opRead, group, "mine", true},
		{"cluster described", opDescribe, cluster, ClusterName, true},
		{"idempotent writes", opIdempotentWrite, cluster, ClusterName, true},
		{"topics created by the cluster's right", opCreate, cluster, ClusterName, false},
		{"cluster changed", opAlter, cluster, ClusterName, false},
		{"cluster configured", opAlterConfigs, cluster, ClusterName, false},
	})
	ask(t, r, Principal{Name: "gemello-node", Super: true}, []question{{"the node", opWrite, topic, "hub.device-log", true}})
	if !(Reserved{}).Empty() || reserved.Empty() {
		t.Error("Empty")
	}
}

func TestGrants(t *testing.T) {
	for text, c := range map[string][]question{
		"read:orders.": {
			{"read", opRead, topic, "orders.eu", true}, {"other", opRead, topic, "bills", false},
			{"write", opWrite, topic, "orders.eu", false}, {"group by prefix", opRead, group, "orders.g", true},
			{"group by user", opRead, group, "ana-1", true}, {"other group", opRead, group, "g", false},
			{"transactional id", opWrite, txnID, "ana-1", false}, {"cluster", opDescribe, cluster, ClusterName, true},
		},
		"write:orders.": {
			{"read", opRead, topic, "orders.eu", true}, {"write", opWrite, topic, "orders.eu", true},
			{"create", opCreate, topic, "orders.eu", false}, {"transactional id", opWrite, txnID, "ana-1", true},
			{"other transactional id", opWrite, txnID, "bob-1", false},
		},
		"admin:orders.": {
			{"create", opCreate, topic, "orders.eu", true}, {"delete", opDelete, topic, "orders.eu", true},
			{"configure", opAlterConfigs, topic, "orders.eu", true}, {"other", opCreate, topic, "bills", false},
			{"forget group", opDelete, group, "orders.g", true}, {"cluster", opAlter, cluster, ClusterName, false},
		},
		"write:*": {
			{"any topic", opWrite, topic, "x", true}, {"any group", opRead, group, "x", true}, {"create", opCreate, topic, "x", false},
		},
	} {
		g, err := ParseGrant(text)
		if err != nil {
			t.Fatal(err)
		}
		if g.String() != text {
			t.Errorf("%s prints as %s", text, g)
		}
		ask(t, rules(t, g.Rules("ana")...), Principal{Name: "ana"}, c)
	}
	for _, text := range []string{"", "read", "read:", "own:x", ":x"} {
		if g, err := ParseGrant(text); err == nil {
			t.Errorf("%q was taken as %v", text, g)
		}
	}
}

func FuzzParseGrant(f *testing.F) {
	f.Add("read:orders.")
	f.Add("admin:*")
	f.Fuzz(func(t *testing.T, s string) {
		g, err := ParseGrant(s)
		if err != nil {
			return
		}
		if again, err := ParseGrant(g.String()); err != nil || again != g {
			t.Errorf("%q: %v, then %v, %v", s, g, again, err)
		}
		if _, err := NewRules(g.Rules("ana")); err != nil {
			t.Error(err)
		}
	})
}

func BenchmarkAllowed(b *testing.B) {
	r, err := NewRules(Reserved{Private: []string{"hub.device-log", "hub.checkpoints"}, ReadOnly: []string{"hub.events"}, Prefix: "hub."}.Rules(Anonymous))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		r.Allowed(Principal{Name: Anonymous}, opWrite, topic, "results")
	}
}
