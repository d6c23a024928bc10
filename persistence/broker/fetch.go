package broker

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gemello/gemello/persistence/broker/storage"
)

const (
	// maxFetchPartitions bounds the partitions of one fetch.
	maxFetchPartitions = 20_000
	// maxFetchWait bounds the long poll.
	maxFetchWait = 5 * time.Minute
	// fetchShare is the part of the fetch budget that one response may have.
	fetchShare = 4
	// oneBatch is room for a batch of the usual largest size, below which it is
	// not worth while to look. A fetch waits for that much.
	oneBatch = 1 << 20
)

// fetching is one fetch, from its first look to its answer.
type fetching struct {
	server    *Server
	request   *request
	plan      fetchPlan
	committed bool
	minBytes  int
	want      int64     // bytes of records, at most
	deadline  time.Time // zero: answer at once
	starved   bool      // no room to look
	memory    lease     // for what was read and once more for its frame
	buf       []byte
	got       []fetched // one for each partition of the plan
	total     int       // bytes of records in got
}

// fetched is what a look found of a partition.
type fetched struct {
	storage.Fetched
	code int16
}

// fetch reads what is there, and is parked if that is less than asked for. One
// fetch of a connection is under way at a time, and so a session has one user.
func (s *Server) fetch(r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.FetchRequest)
	if !r.conn.beginFetch() {
		return nil, r.ctx.Err()
	}
	plan, refused := r.conn.sessions.plan(s, req)
	if refused == nil && len(plan.partitions) > maxFetchPartitions {
		refused = kerr.InvalidRequest
	}
	if refused != nil {
		r.conn.endFetch()
		resp := r.response().(*kmsg.FetchResponse)
		resp.ErrorCode = refused.Code
		return resp, nil
	}
	f := &fetching{
		server: s, request: r, plan: plan,
		committed: req.IsolationLevel == 1,
		minBytes:  int(req.MinBytes),
		memory:    lease{budget: s.fetches},
	}
	if req.MaxWaitMillis > 0 && len(plan.partitions) > 0 {
		f.deadline = time.Now().Add(min(time.Duration(req.MaxWaitMillis)*time.Millisecond, maxFetchWait))
	}
	for _, p := range plan.partitions {
		// A topic may have come, gone or been made anew since the last fetch
		// of the session.
		p.name, p.gave = p.key.topic, false
		f.want += int64(max(p.maxBytes, 0))
		if r.header.version >= 13 {
			t, _ := s.log.TopicByID(p.key.id)
			p.name = t.Name
		}
	}
	// An empty limit still gives a batch.
	f.want = max(1, min(f.want, int64(req.MaxBytes)))
	if f.look() {
		f.answer()
		return nil, nil
	}
	s.tasks.Go(func() {
		f.wait()
		f.answer()
	})
	return nil, nil
}

// look reads all partitions if there is room in memory, and reports whether
// that is an answer.
func (f *fetching) look() bool {
	s := f.server
	share := min(2*max(f.want, oneBatch), s.opts.MaxFetchBytes/fetchShare)
	f.memory.upTo(share - f.memory.n)
	least := 2 * min(f.want, oneBatch)
	if f.memory.n < least && !f.memory.try(least-f.memory.n) {
		f.starved = true
		return false
	}
	return f.readAll(int(min(f.want, f.memory.n/2)))
}

// readAll reads at most n bytes of all partitions together, or one batch that
// is larger; of n of zero, no bytes. It reports whether that is an answer.
func (f *fetching) readAll(n int) bool {
	if f.got == nil {
		f.got = make([]fetched, len(f.plan.partitions))
	}
	f.buf = f.server.buffers.get(f.request.conn.fetchSize)
	f.total = 0
	done := f.deadline.IsZero()
	for i, p := range f.plan.partitions {
		f.got[i] = f.read(p, n)
		f.total += len(f.got[i].Batches)
		n = max(0, n-len(f.got[i].Batches))
		done = done || f.got[i].code != 0
	}
	f.memory.settle(2 * int64(f.total))
	if f.total == 0 {
		f.forget()
	}
	return done || f.total >= f.minBytes
}

// read reads a partition, at most n bytes of it or the batch that comes first
// in the response.
func (f *fetching) read(p *fetchPartition, n int) fetched {
	s, r := f.server, f.request
	switch {
	case r.header.version >= 13 && p.name == "":
		return fetched{code: kerr.UnknownTopicID.Code}
	case !s.allowed(r.conn, kmsg.ACLOperationRead, kmsg.ACLResourceTypeTopic, p.name):
		return fetched{code: kerr.TopicAuthorizationFailed.Code}
	case p.leaderEpoch > leaderEpoch:
		return fetched{code: kerr.UnknownLeaderEpoch.Code}
	}
	got := fetched{Fetched: s.log.Read(storage.Read{
		TopicPartition: p.storage(),
		Offset:         p.offset,
		MaxBytes:       min(n, int(max(p.maxBytes, 0))),
		Committed:      f.committed,
		AtLeastOne:     f.total == 0 && n > 0,
	}, f.buf[len(f.buf):])}
	if got.Err != nil {
		got.code = s.code(got.Err, kmsg.Fetch)
		got.Batches = nil
		return got
	}
	if room := f.buf[len(f.buf):cap(f.buf)]; len(got.Batches) > 0 && len(room) >= len(got.Batches) && &room[0] == &got.Batches[0] {
		f.buf = f.buf[:len(f.buf)+len(got.Batches)]
	}
	if r.header.version < 10 && usesZstd(got.Batches) {
		return fetched{code: kerr.UnsupportedCompressionType.Code}
	}
	return got
}

// forget gives back the records that a look found.
func (f *fetching) forget() {
	f.server.buffers.put(f.buf)
	f.buf = nil
	f.memory.release()
}

// answer sends what the last look found, or what has changed of it for the
// client's session.
func (f *fetching) answer() {
	r, c := f.request, f.request.conn
	resp := r.response().(*kmsg.FetchResponse)
	session := f.plan.session
	if session != nil {
		resp.SessionID = session.id
	}
	places := make(map[fetchKey]int)
	for i, p := range f.plan.partitions {
		p.gave = len(f.got[i].Batches) > 0
		rp := f.response(&f.got[i], p.key.partition)
		if session != nil {
			changed := !p.told || rp.ErrorCode != 0 || len(rp.RecordBatches) > 0 ||
				p.high != rp.HighWatermark || p.logStart != rp.LogStartOffset
			p.told, p.high, p.logStart = true, rp.HighWatermark, rp.LogStartOffset
			if !changed && !f.plan.full {
				continue
			}
		}
		topic := fetchKey{topic: p.key.topic, id: p.key.id}
		at, ok := places[topic]
		if !ok {
			at = len(resp.Topics)
			places[topic] = at
			rt := kmsg.NewFetchResponseTopic()
			rt.Topic, rt.TopicID = topic.topic, topic.id
			resp.Topics = append(resp.Topics, rt)
		}
		resp.Topics[at].Partitions = append(resp.Topics[at].Partitions, rp)
	}
	if session != nil && f.total > 0 {
		session.rotate()
	}
	f.server.metrics.fetched.Add(float64(f.total))
	c.fetchSize = f.total
	if f.buf != nil {
		r.slot.onDone(f.forget)
	}
	r.slot.size = f.total + 128*len(f.plan.partitions)
	c.endFetch()
	r.reply(resp)
}

func (f *fetching) response(got *fetched, partition int32) kmsg.FetchResponseTopicPartition {
	rp := kmsg.NewFetchResponseTopicPartition()
	rp.Partition, rp.ErrorCode = partition, got.code
	rp.RecordBatches = []byte{}
	if got.code != 0 {
		rp.HighWatermark = -1
		return rp
	}
	rp.HighWatermark, rp.LastStableOffset, rp.LogStartOffset = got.HighWatermark, got.LastStable, got.LogStart
	if got.Batches != nil {
		rp.RecordBatches = got.Batches
	}
	if f.committed {
		rp.AbortedTransactions = make([]kmsg.FetchResponseTopicPartitionAbortedTransaction, len(got.Aborted))
		for i, a := range got.Aborted {
			rp.AbortedTransactions[i].Default()
			rp.AbortedTransactions[i].ProducerID, rp.AbortedTransactions[i].FirstOffset = a.ProducerID, a.FirstOffset
		}
	}
	return rp
}
