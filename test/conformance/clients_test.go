package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// fill writes n numbered records over the partitions of a topic.
func fill(t testing.TB, tp topic, n int) {
	t.Helper()
	cl := client(t, kgo.DefaultProduceTopic(tp.name))
	var rs []*kgo.Record
	for i := range n {
		rs = append(rs, &kgo.Record{Key: fmt.Append(nil, i), Value: fmt.Append(nil, i)})
	}
	if err := cl.ProduceSync(within(t), rs...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// Consumers of a group share what there is, come and go, and between them see
// every record; under each way of assignment of franz-go, the cooperative one
// included (KIP-429), and under the new protocol where it is served (KIP-848).
func TestGroupsOfClients(t *testing.T) {
	kinds := map[string][]kgo.Opt{
		"range":       {kgo.Balancers(kgo.RangeBalancer())},
		"sticky":      {kgo.Balancers(kgo.StickyBalancer())},
		"cooperative": {kgo.Balancers(kgo.CooperativeStickyBalancer())},
		"static":      {kgo.Balancers(kgo.RangeBalancer())},
	}
	if _, ok := apiVersions(t)[68]; ok {
		kinds["consumer"] = []kgo.Opt{kgo.ServerSideBalancer()}
	}
	for kind, opts := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			const records = 600
			w := dial(t)
			tp := newTopic(t, w, 6)
			group := name(t, "group")
			fill(t, tp, records)
			ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
			defer cancel()
			var mu sync.Mutex
			seen := map[string]int{}
			enough := make(chan struct{})
			var done sync.WaitGroup
			member := func(i int, stop <-chan struct{}) {
				all := append([]kgo.Opt{
					kgo.SeedBrokers(target), kgo.ConsumerGroup(group), kgo.ConsumeTopics(tp.name), kgo.WithContext(ctx),
					kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.HeartbeatInterval(200 * time.Millisecond), kgo.SessionTimeout(6 * time.Second), kgo.DisableAutoCommit(),
					kgo.FetchMaxWait(200 * time.Millisecond), kgo.BlockRebalanceOnPoll(),
				}, opts...)
				if kind == "static" {
					all = append(all, kgo.InstanceID(fmt.Sprint("instance-", i)))
				}
				cl, err := kgo.NewClient(all...)
				if err != nil {
					t.Error(err)
					return
				}
				done.Go(func() {
					defer cl.CloseAllowingRebalance()
					for {
						select {
						case <-stop:
							return
						case <-ctx.Done():
							return
						default:
						}
						poll, end := context.WithTimeout(ctx, 200*time.Millisecond)
						fs := cl.PollRecords(poll, 20)
						end()
						if ctx.Err() == nil {
							if err := cl.CommitRecords(ctx, fs.Records()...); err != nil && ctx.Err() == nil {
								t.Errorf("commit: %v", err)
							}
						}
						mu.Lock()
						for _, r := range fs.Records() {
							seen[string(r.Value)]++
						}
						if len(seen) == records {
							select {
							case <-enough:
							default:
								close(enough)
							}
						}
						mu.Unlock()
						cl.AllowRebalance()
					}
				})
			}
			leave := make(chan struct{})
			stop := make(chan struct{})
			member(1, leave)
			member(2, stop)
			eventually(t, "a first part", func() bool { mu.Lock(); defer mu.Unlock(); return len(seen) > 50 })
			member(3, stop)
			close(leave)
			select {
			case <-enough:
			case <-ctx.Done():
				t.Errorf("%d of %d records", len(seen), records)
			}
			close(stop)
			done.Wait()
			twice := 0
			for _, n := range seen {
				if n > 1 {
					twice++
				}
			}
			if twice > 0 {
				t.Errorf("%d records were consumed again though they were committed", twice)
			}
		})
	}
}

// KIP-447: consume, transform and produce exactly once, with a transaction that
// is aborted every third time and consumers that come and go.
func TestExactlyOnce(t *testing.T) {
	t.Parallel()
	const records = 300
	w := dial(t)
	in, out := newTopic(t, w, 3), newTopic(t, w, 2)
	group := name(t, "group")
	fill(t, in, records)
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	var done sync.WaitGroup
	work := func(i int, rounds int) {
		s, err := kgo.NewGroupTransactSession(
			kgo.SeedBrokers(target), kgo.ConsumerGroup(group), kgo.ConsumeTopics(in.name), kgo.DefaultProduceTopic(out.name),
			kgo.TransactionalID(fmt.Sprint(group, "-", i)), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.RequireStableFetchOffsets(),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(100*time.Millisecond), kgo.HeartbeatInterval(200*time.Millisecond),
		)
		if err != nil {
			t.Error(err)
			return
		}
		done.Go(func() {
			defer s.Close()
			for round := 0; ctx.Err() == nil && (rounds == 0 || round < rounds); round++ {
				poll, end := context.WithTimeout(ctx, 300*time.Millisecond)
				fs := s.PollRecords(poll, 25)
				end()
				if ctx.Err() != nil {
					return
				}
				if err := s.Begin(); err != nil {
					t.Errorf("begin: %v", err)
					return
				}
				fs.EachRecord(func(r *kgo.Record) { s.Produce(ctx, &kgo.Record{Value: r.Value}, nil) })
				if _, err := s.End(ctx, kgo.TransactionEndTry(round%3 != 1)); err != nil && ctx.Err() == nil {
					t.Errorf("end: %v", err)
					return
				}
			}
		})
	}
	work(1, 4)
	work(2, 0)
	work(3, 0)
	reader := client(t, kgo.ConsumeTopics(out.name), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	seen := map[string]int{}
	for len(seen) < records && ctx.Err() == nil {
		reader.PollFetches(ctx).EachRecord(func(r *kgo.Record) { seen[string(r.Value)]++ })
	}
	// What else is committed would come now.
	more, end := context.WithTimeout(ctx, time.Second)
	for more.Err() == nil {
		reader.PollFetches(more).EachRecord(func(r *kgo.Record) { seen[string(r.Value)]++ })
	}
	end()
	if ctx.Err() != nil {
		t.Errorf("%d of %d records", len(seen), records)
	}
	cancel()
	done.Wait()
	for v, n := range seen {
		if n != 1 {
			t.Errorf("record %s is there %d times", v, n)
		}
	}
}

// A client's own transactions: what it aborts is not read by who reads
// committed.
func TestTransactionsOfClients(t *testing.T) {
	w := dial(t)
	tp := newTopic(t, w, 1)
	cl := client(t, kgo.TransactionalID(name(t, "txn")), kgo.DefaultProduceTopic(tp.name))
	var want []string
	for i := range 9 {
		if err := cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		v := fmt.Sprint(i)
		if err := cl.ProduceSync(within(t), kgo.StringRecord(v)).FirstErr(); err != nil {
			t.Fatal(err)
		}
		commit := i%3 != 0
		if err := cl.EndTransaction(within(t), kgo.TransactionEndTry(commit)); err != nil {
			t.Fatal(err)
		}
		if commit {
			want = append(want, v)
		}
	}
	reader := client(t, kgo.ConsumeTopics(tp.name), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	var got []string
	for _, r := range consume(t, reader, len(want)) {
		got = append(got, string(r.Value))
	}
	if !slices.Equal(got, want) {
		t.Errorf("read %v, want %v", got, want)
	}
	// Who takes the id over shuts this one out.
	other := client(t, kgo.TransactionalID(transactionalID(cl)), kgo.DefaultProduceTopic(tp.name))
	if err := other.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := other.ProduceSync(within(t), kgo.StringRecord("other")).FirstErr(); err != nil {
		t.Fatal(err)
	}
	err := cl.BeginTransaction()
	if err == nil {
		err = errors.Join(cl.ProduceSync(within(t), kgo.StringRecord("zombie")).FirstErr(), cl.EndTransaction(within(t), kgo.TryCommit))
	}
	if err == nil {
		t.Error("the one that was replaced could go on")
	}
	if err := other.EndTransaction(within(t), kgo.TryCommit); err != nil {
		t.Error(err)
	}
}

func transactionalID(cl *kgo.Client) string {
	id, _ := cl.OptValue(kgo.TransactionalID).(*string)
	if id == nil {
		s, _ := cl.OptValue(kgo.TransactionalID).(string)
		return s
	}
	return *id
}
