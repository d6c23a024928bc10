package broker

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gemello/gemello/persistence/broker/storage"
)

const (
	// maxSessions bounds the incremental fetch sessions of a connection;
	// clients use one. A further one replaces the oldest.
	maxSessions = 2
	// maxSessionPartitions bounds the partitions that sessions of all
	// connections remember together. A client without a session names all
	// partitions each time.
	maxSessionPartitions = 1 << 20
)

// fetchSessions are the incremental fetch sessions (KIP-227) of a connection.
// They end with it; a client that comes back begins a new one. They belong to
// the goroutine that serves the connection's requests, or to the parked fetch
// that it handed them to.
type fetchSessions struct{ open []*fetchSession }

// fetchSession remembers what a client fetches and what it was told last.
type fetchSession struct {
	id, epoch  int32
	ids        bool // topics are named by id (version 13 on)
	partitions []*fetchPartition
	index      map[fetchKey]*fetchPartition
}

// fetchKey names a partition as the client does.
type fetchKey struct {
	topic     string
	id        [16]byte
	partition int32
}

// fetchPartition is one partition of a fetch.
type fetchPartition struct {
	key         fetchKey
	name        string // of the topic; empty if it is not known
	offset      int64
	maxBytes    int32
	leaderEpoch int32

	// What the client was told; a session tells only what has changed.
	told           bool
	gave           bool // records, in the last answer
	high, logStart int64
}

func (p *fetchPartition) storage() storage.TopicPartition {
	return storage.TopicPartition{Topic: p.name, Partition: p.key.partition}
}

// fetchPlan is what a request asks for once its session is known.
type fetchPlan struct {
	session    *fetchSession // nil: none, all partitions are answered
	full       bool          // all partitions are answered
	partitions []*fetchPartition
}

func requestedPartitions(req *kmsg.FetchRequest) []*fetchPartition {
	var all []*fetchPartition
	for _, t := range req.Topics {
		for _, p := range t.Partitions {
			all = append(all, &fetchPartition{
				key:    fetchKey{topic: t.Topic, id: t.TopicID, partition: p.Partition},
				offset: p.FetchOffset, maxBytes: p.PartitionMaxBytes, leaderEpoch: p.CurrentLeaderEpoch,
			})
		}
	}
	return all
}

// plan finds or begins the session of a request.
func (f *fetchSessions) plan(s *Server, req *kmsg.FetchRequest) (fetchPlan, *kerr.Error) {
	asked := requestedPartitions(req)
	if req.Version < 7 || req.SessionEpoch == -1 {
		if req.Version >= 7 {
			f.end(s, req.SessionID)
		}
		return fetchPlan{full: true, partitions: asked}, nil
	}
	ids := req.Version >= 13
	if req.SessionEpoch == 0 {
		f.end(s, req.SessionID)
		session := f.begin(s, asked, ids)
		return fetchPlan{session: session, full: true, partitions: asked}, nil
	}
	i := slices.IndexFunc(f.open, func(o *fetchSession) bool { return o.id == req.SessionID })
	if i < 0 {
		return fetchPlan{}, kerr.FetchSessionIDNotFound
	}
	session := f.open[i]
	switch {
	case session.epoch != req.SessionEpoch:
		return fetchPlan{}, kerr.InvalidFetchSessionEpoch
	case session.ids != ids:
		return fetchPlan{}, kerr.FetchSessionTopicIDError
	}
	if !session.update(s, asked, req.ForgottenTopics) {
		f.end(s, session.id)
		return fetchPlan{}, kerr.FetchSessionIDNotFound
	}
	if len(session.partitions) == 0 {
		f.end(s, session.id)
		return fetchPlan{full: true}, nil
	}
	session.epoch = nextSessionEpoch(session.epoch)
	return fetchPlan{session: session, partitions: session.partitions}, nil
}

// begin returns a new session; nil if there is nothing to remember or no room.
func (f *fetchSessions) begin(s *Server, asked []*fetchPartition, ids bool) *fetchSession {
	if len(asked) == 0 {
		return nil
	}
	session := &fetchSession{ids: ids, epoch: 1, index: make(map[fetchKey]*fetchPartition, len(asked))}
	if len(f.open) == maxSessions {
		f.end(s, f.open[0].id)
	}
	if !s.remember(len(asked)) {
		return nil
	}
	for session.id == 0 || slices.ContainsFunc(f.open, func(o *fetchSession) bool { return o.id == session.id }) {
		session.id = rand.Int32()
	}
	for _, p := range asked {
		if session.index[p.key] == nil {
			session.index[p.key] = p
			session.partitions = append(session.partitions, p)
		}
	}
	s.remember(len(session.partitions) - len(asked))
	f.open = append(f.open, session)
	return session
}

// update adds, changes and forgets partitions; false if there is no room.
func (f *fetchSession) update(s *Server, asked []*fetchPartition, forgotten []kmsg.FetchRequestForgottenTopic) bool {
	for _, p := range asked {
		known := f.index[p.key]
		if known == nil {
			if !s.remember(1) {
				return false
			}
			f.index[p.key] = p
			f.partitions = append(f.partitions, p)
			continue
		}
		known.offset, known.maxBytes, known.leaderEpoch = p.offset, p.maxBytes, p.leaderEpoch
	}
	gone := 0
	for _, t := range forgotten {
		for _, partition := range t.Partitions {
			key := fetchKey{topic: t.Topic, id: t.TopicID, partition: partition}
			if f.index[key] != nil {
				delete(f.index, key)
				gone++
			}
		}
	}
	if gone > 0 {
		f.partitions = slices.DeleteFunc(f.partitions, func(p *fetchPartition) bool { return f.index[p.key] == nil })
		s.remember(-gone)
	}
	return true
}

// rotate moves partitions that gave records behind those that did not, so that
// all have their turn when a response has no room for all.
func (f *fetchSession) rotate() {
	rest := make([]*fetchPartition, 0, len(f.partitions))
	var later []*fetchPartition
	for _, p := range f.partitions {
		if p.gave {
			later = append(later, p)
		} else {
			rest = append(rest, p)
		}
	}
	f.partitions = append(rest, later...)
}

func (f *fetchSessions) end(s *Server, id int32) {
	f.open = slices.DeleteFunc(f.open, func(o *fetchSession) bool {
		if o.id != id {
			return false
		}
		s.remember(-len(o.partitions))
		return true
	})
}

func (f *fetchSessions) endAll(s *Server) {
	for len(f.open) > 0 {
		f.end(s, f.open[0].id)
	}
}

// remember counts partitions that sessions hold; false if they would be too
// many.
func (s *Server) remember(n int) bool {
	if s.remembered.Add(int64(n)) > maxSessionPartitions && n > 0 {
		s.remembered.Add(-int64(n))
		return false
	}
	return true
}

func nextSessionEpoch(epoch int32) int32 {
	if epoch == math.MaxInt32 {
		return 1
	}
	return epoch + 1
}
