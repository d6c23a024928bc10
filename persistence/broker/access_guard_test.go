package broker

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/gemello/gemello/persistence/broker/access"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

func as256(user, password string) sasl.Mechanism {
	return scram.Auth{User: user, Pass: password}.AsSha256Mechanism()
}

func (s *Server) node() sasl.Mechanism { return as256(nodeUser, s.password) }

// tryProduce reports what a record to the topic comes to.
func tryProduce(t *testing.T, cl *kgo.Client, topic string) error {
	t.Helper()
	return cl.ProduceSync(bounded(t), &kgo.Record{Topic: topic, Value: []byte("v")}).FirstErr()
}

// tryRead reports what a fetch of the topic from its start comes to.
func tryRead(t *testing.T, cl *kgo.Client, topic string) error {
	t.Helper()
	req := kmsg.NewPtrFetchRequest()
	req.MaxBytes = 1 << 20
	rt := kmsg.NewFetchRequestTopic()
	rt.Topic = topic
	rp := kmsg.NewFetchRequestTopicPartition()
	rp.PartitionMaxBytes = 1 << 20
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	resp, err := req.RequestWith(bounded(t), cl)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode)
}

func createAs(t *testing.T, cl *kgo.Client, topic string) error {
	t.Helper()
	req := kmsg.NewPtrCreateTopicsRequest()
	rt := kmsg.NewCreateTopicsRequestTopic()
	rt.Topic, rt.NumPartitions, rt.ReplicationFactor = topic, 1, 1
	req.Topics = append(req.Topics, rt)
	resp, err := req.RequestWith(bounded(t), cl)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(resp.Topics[0].ErrorCode)
}

func beginAs(t *testing.T, cl *kgo.Client, txnID string) error {
	t.Helper()
	req := kmsg.NewPtrInitProducerIDRequest()
	req.TransactionalID, req.TransactionTimeoutMillis = &txnID, 10000
	req.ProducerID, req.ProducerEpoch = -1, -1
	resp, err := req.RequestWith(bounded(t), cl)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(resp.ErrorCode)
}

func commitAs(t *testing.T, cl *kgo.Client, group, topic string) error {
	t.Helper()
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.Generation = group, -1
	rt := kmsg.NewOffsetCommitRequestTopic()
	rt.Topic = topic
	rp := kmsg.NewOffsetCommitRequestTopicPartition()
	rp.Offset = 1
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	req.SetVersion(8)
	resp, err := req.RequestWith(bounded(t), cl)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode)
}

// expect compares errors, nil included.
func expect(t *testing.T, what string, got error, want *kerr.Error) {
	t.Helper()
	if want == nil && got != nil || want != nil && !errors.Is(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func TestAnonymousClientsUseWhatIsNotReserved(t *testing.T) {
	s := start(t, Options{
		Private:       []string{"hub.device-log", "hub.checkpoints"},
		ReadOnly:      []string{"hub.events"},
		PrivatePrefix: "hub.",
	})
	byName := kgo.MaxVersions(oldVersions())
	node := client(t, s, kgo.SASL(s.node()), byName)
	for _, topic := range []string{"hub.device-log", "hub.events", "results"} {
		expect(t, "node creates "+topic, createAs(t, node, topic), nil)
		expect(t, "node writes "+topic, tryProduce(t, node, topic), nil)
	}
	anyone := client(t, s, byName)
	denied := kerr.TopicAuthorizationFailed
	for topic, c := range map[string]struct{ read, write *kerr.Error }{
		"hub.device-log": {denied, denied}, "hub.events": {nil, denied}, "results": {nil, nil},
	} {
		expect(t, "read "+topic, tryRead(t, anyone, topic), c.read)
		expect(t, "write "+topic, tryProduce(t, anyone, topic), c.write)
		expect(t, "node reads "+topic, tryRead(t, node, topic), nil)
	}
	expect(t, "create a private topic", createAs(t, anyone, "hub.checkpoints"), denied)
	expect(t, "create one's own", createAs(t, anyone, "mine"), nil)
	expect(t, "private transactional id", beginAs(t, anyone, "hub.d.0"), kerr.TransactionalIDAuthorizationFailed)
	expect(t, "one's own transactional id", beginAs(t, anyone, "mine"), nil)
	expect(t, "node's transactional id", beginAs(t, node, "hub.d.0"), nil)
	expect(t, "private group", commitAs(t, anyone, "hub.d", "results"), kerr.GroupAuthorizationFailed)
	expect(t, "one's own group", commitAs(t, anyone, "mine", "results"), nil)
	expect(t, "node's group", commitAs(t, node, "hub.d", "hub.events"), nil)

	req := kmsg.NewPtrMetadataRequest() // all topics
	resp, err := req.RequestWith(bounded(t), anyone)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, topic := range resp.Topics {
		names = append(names, *topic.Topic)
	}
	slices.Sort(names)
	if !slices.Equal(names, []string{"hub.events", "mine", "results"}) {
		t.Errorf("topics shown: %v", names)
	}

	// Lag tools see the private groups.
	groups := kmsg.NewPtrOffsetFetchRequest()
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = "hub.d"
	groups.Groups = append(groups.Groups, g)
	lag, err := groups.RequestWith(bounded(t), anyone)
	if err != nil || lag.Groups[0].ErrorCode != 0 || len(lag.Groups[0].Topics) != 1 {
		t.Errorf("offsets of a private group: %+v, %v", lag, err)
	}
}

func TestWithoutReservedNamesEverybodyMayDoEverything(t *testing.T) {
	s := start(t, Options{})
	cl := client(t, s, kgo.MaxVersions(oldVersions()))
	expect(t, "create", createAs(t, cl, "a"), nil)
	expect(t, "write", tryProduce(t, cl, "a"), nil)
	expect(t, "begin", beginAs(t, cl, "a"), nil)
}

func TestUsersMayDoWhatTheyAreGranted(t *testing.T) {
	s := start(t, Options{
		Users:   []User{{"ana", "a"}, {"bob", "b"}, {"root", "r"}},
		Grants:  map[string][]access.Grant{"ana": {{May: access.Admin, Prefix: "orders."}}, "bob": {{May: access.Read, Prefix: "orders."}}},
		Private: []string{"orders.node"},
	})
	byName := kgo.MaxVersions(oldVersions())
	ana := client(t, s, kgo.SASL(as256("ana", "a")), byName)
	bob := client(t, s, kgo.SASL(as256("bob", "b")), byName)
	root := client(t, s, kgo.SASL(as256("root", "r")), byName)
	denied := kerr.TopicAuthorizationFailed
	expect(t, "ana creates", createAs(t, ana, "orders.eu"), nil)
	expect(t, "ana writes", tryProduce(t, ana, "orders.eu"), nil)
	expect(t, "ana creates another's", createAs(t, ana, "bills"), denied)
	expect(t, "ana creates what is reserved", createAs(t, ana, "orders.node"), denied)
	expect(t, "bob reads", tryRead(t, bob, "orders.eu"), nil)
	// He is not even given a producer id.
	expect(t, "bob writes", tryProduce(t, bob, "orders.eu"), kerr.ClusterAuthorizationFailed)
	careless := client(t, s, kgo.SASL(as256("bob", "b")), byName, kgo.DisableIdempotentWrite())
	expect(t, "bob writes without one", tryProduce(t, careless, "orders.eu"), denied)
	expect(t, "bob commits", commitAs(t, bob, "bob-1", "orders.eu"), nil)
	expect(t, "bob commits another's", commitAs(t, bob, "ana-1", "orders.eu"), kerr.GroupAuthorizationFailed)
	expect(t, "root creates", createAs(t, root, "bills"), nil)
	expect(t, "root reads", tryRead(t, root, "orders.eu"), nil)
	expect(t, "bob reads another's", tryRead(t, bob, "bills"), denied)
}

func TestGrantsOfNobodyAreRefused(t *testing.T) {
	_, err := Start(bounded(t), Options{Dir: t.TempDir(), Users: []User{{"ana", "a"}}, Grants: map[string][]access.Grant{"eve": {{May: access.Read}}}})
	if err == nil {
		t.Error("taken")
	}
}

func TestWithUsersOnlyTheyConnect(t *testing.T) {
	s := start(t, Options{Users: []User{{"ana", "first"}}})
	for name, c := range map[string]struct {
		mechanism sasl.Mechanism
		ok        bool
	}{
		"scram 256":      {as256("ana", "first"), true},
		"scram 512":      {scram.Auth{User: "ana", Pass: "first"}.AsSha512Mechanism(), true},
		"this process":   {s.node(), true},
		"nobody":         {nil, false},
		"wrong password": {as256("ana", "guess"), false},
		"unknown user":   {as256("eve", "first"), false},
		"anonymous":      {as256(anonymousUser, "first"), false},
		"plain":          {plain.Auth{User: "ana", Pass: "first"}.AsMechanism(), false},
		"plain, no word": {plain.Auth{User: nodeUser, Pass: ""}.AsMechanism(), false},
	} {
		opts := []kgo.Opt{kgo.RequestRetries(0), kgo.RetryTimeout(time.Second)}
		if c.mechanism != nil {
			opts = append(opts, kgo.SASL(c.mechanism))
		}
		err := client(t, s, opts...).Ping(bounded(t))
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// oldVersions keep requests to topics' names.
func oldVersions() *kversion.Versions { return kversion.V3_0_0() }
