package broker

import (
	"context"
	"slices"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gemello/gemello/persistence/broker/group"
	"github.com/gemello/gemello/persistence/broker/storage"
)

// maxOffsetMetadata is the number of characters that may go with an offset, as
// Kafka's offset.metadata.max.bytes.
const maxOffsetMetadata = 4096

// offsetTopic finds the topic of a request that names it or, in later
// versions, its id, and whether the connection may read it.
func (s *Server) offsetTopic(r *request, byID bool, name string, id [16]byte, op kmsg.ACLOperation) (storage.Topic, *kerr.Error) {
	if byID {
		t, ok := s.log.TopicByID(id)
		if !ok {
			return t, kerr.UnknownTopicID
		}
		name = t.Name
	}
	if !s.allowed(r.conn, op, kmsg.ACLResourceTypeTopic, name) {
		return storage.Topic{}, kerr.TopicAuthorizationFailed
	}
	t, ok := s.log.Topic(name)
	if !ok {
		return t, kerr.UnknownTopicOrPartition
	}
	return t, nil
}

// checkOffset returns the code that an offset for the partition is refused
// with.
func checkOffset(t storage.Topic, partition int32, metadata *string) int16 {
	switch {
	case partition < 0 || partition >= t.Partitions:
		return kerr.UnknownTopicOrPartition.Code
	case metadata != nil && utf8.RuneCountInString(*metadata) > maxOffsetMetadata:
		return kerr.OffsetMetadataTooLarge.Code
	}
	return 0
}

func (s *Server) offsetCommit(r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.OffsetCommitRequest)
	resp := r.response().(*kmsg.OffsetCommitResponse)
	mayGroup := s.mayReadGroup(r, req.Group)
	var offsets []storage.Offset
	exist := false // a partition that is there, so that the group is asked
	for _, t := range req.Topics {
		rt := kmsg.NewOffsetCommitResponseTopic()
		rt.Topic, rt.TopicID = t.Topic, t.TopicID
		topic, refused := s.offsetTopic(r, req.Version >= 10, t.Topic, t.TopicID, kmsg.ACLOperationRead)
		for _, p := range t.Partitions {
			rp := kmsg.NewOffsetCommitResponseTopicPartition()
			rp.Partition = p.Partition
			if refused != nil {
				rp.ErrorCode = refused.Code
			} else if rp.ErrorCode = checkOffset(topic, p.Partition, p.Metadata); rp.ErrorCode == 0 {
				offsets = append(offsets, storage.Offset{
					TopicPartition: storage.TopicPartition{Topic: topic.Name, Partition: p.Partition},
					Offset:         p.Offset, LeaderEpoch: p.LeaderEpoch, Metadata: text(p.Metadata),
				})
			}
			exist = exist || rp.ErrorCode == 0 || rp.ErrorCode == kerr.OffsetMetadataTooLarge.Code
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	var code int16
	all := true // the error is that of all partitions, not only of those without one
	switch {
	case !mayGroup:
		code = kerr.GroupAuthorizationFailed.Code
	case exist:
		code, all = s.commitOffsets(r, group.Commit{
			Group: req.Group, Member: req.MemberID, Instance: req.InstanceID,
			Generation: req.Generation, Version: req.Version,
		}, func(ctx context.Context) error {
			if len(offsets) == 0 {
				return nil
			}
			return s.log.CommitOffsets(ctx, req.Group, offsets)
		}, kmsg.OffsetCommit)
	}
	if code != 0 {
		for i := range resp.Topics {
			for j := range resp.Topics[i].Partitions {
				if p := &resp.Topics[i].Partitions[j]; all || p.ErrorCode == 0 {
					p.ErrorCode = code
				}
			}
		}
	}
	return resp, nil
}

// commitOffsets stores offsets for whom may commit; refused is whether it was
// the group that refused it.
func (s *Server) commitOffsets(r *request, who group.Commit, store func(context.Context) error, asked kmsg.Key) (code int16, refused bool) {
	end, err := s.groups.begin(r.ctx, who)
	if err != nil {
		return s.code(err, asked), true
	}
	defer end()
	// A connection that ends now must not let others believe that the offsets
	// are settled.
	return s.code(store(context.WithoutCancel(r.ctx)), asked), false
}

func (s *Server) offsetFetch(r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.OffsetFetchRequest)
	resp := r.response().(*kmsg.OffsetFetchResponse)
	if req.Version >= 8 {
		for _, g := range req.Groups {
			resp.Groups = append(resp.Groups, s.fetchOffsets(r, g, req.RequireStable))
		}
		return resp, nil
	}
	asked := kmsg.NewOffsetFetchRequestGroup()
	asked.Group = req.Group
	if req.Topics != nil {
		asked.Topics = []kmsg.OffsetFetchRequestGroupTopic{}
	}
	for _, t := range req.Topics {
		at := kmsg.NewOffsetFetchRequestGroupTopic()
		at.Topic, at.Partitions = t.Topic, t.Partitions
		asked.Topics = append(asked.Topics, at)
	}
	got := s.fetchOffsets(r, asked, req.RequireStable)
	resp.ErrorCode = got.ErrorCode
	if got.ErrorCode != 0 && req.Version < 2 {
		// There is no error but that of partitions.
		for _, t := range asked.Topics {
			got.Topics = append(got.Topics, noOffsets(t, got.ErrorCode))
		}
	}
	for _, t := range got.Topics {
		rt := kmsg.NewOffsetFetchResponseTopic()
		rt.Topic = t.Topic
		for _, p := range t.Partitions {
			rp := kmsg.NewOffsetFetchResponseTopicPartition()
			rp.Partition, rp.Offset, rp.LeaderEpoch, rp.Metadata, rp.ErrorCode = p.Partition, p.Offset, p.LeaderEpoch, p.Metadata, p.ErrorCode
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp, nil
}

// fetchOffsets answers for one group; topics nil asks for all offsets.
func (s *Server) fetchOffsets(r *request, asked kmsg.OffsetFetchRequestGroup, stable bool) kmsg.OffsetFetchResponseGroup {
	resp := kmsg.NewOffsetFetchResponseGroup()
	resp.Group = asked.Group
	if !s.allowed(r.conn, kmsg.ACLOperationDescribe, kmsg.ACLResourceTypeGroup, asked.Group) {
		resp.ErrorCode = kerr.GroupAuthorizationFailed.Code
		return resp
	}
	s.groups.mu.Lock()
	refused := s.groups.c.CheckFetch(asked.Group, asked.MemberID, asked.MemberEpoch)
	s.groups.mu.Unlock()
	if refused != nil {
		resp.ErrorCode = refused.Code
		return resp
	}
	if err := s.groups.settle(r.ctx, asked.Group); err != nil {
		resp.ErrorCode = s.code(err, kmsg.OffsetFetch)
		return resp
	}
	committed := make(map[storage.TopicPartition]storage.CommittedOffset)
	var all []storage.CommittedOffset
	for _, o := range s.log.CommittedOffsets(asked.Group) {
		committed[o.TopicPartition] = o
		all = append(all, o)
	}
	byID := r.body.GetVersion() >= 10
	if asked.Topics == nil {
		asked.Topics = s.offsetTopics(r, all, stable, byID)
	}
	for _, t := range asked.Topics {
		name := t.Topic
		if byID {
			topic, ok := s.log.TopicByID(t.TopicID)
			if !ok {
				resp.Topics = append(resp.Topics, noOffsets(t, kerr.UnknownTopicID.Code))
				continue
			}
			name = topic.Name
		}
		if !s.allowed(r.conn, kmsg.ACLOperationDescribe, kmsg.ACLResourceTypeTopic, name) {
			resp.Topics = append(resp.Topics, noOffsets(t, kerr.TopicAuthorizationFailed.Code))
			continue
		}
		rt := noOffsets(t, 0)
		for i := range rt.Partitions {
			p := &rt.Partitions[i]
			switch o, ok := committed[storage.TopicPartition{Topic: name, Partition: p.Partition}]; {
			case ok && o.Pending && stable:
				p.ErrorCode = kerr.UnstableOffsetCommit.Code
			case ok && o.Offset.Offset >= 0:
				p.Offset, p.LeaderEpoch, p.Metadata = o.Offset.Offset, o.LeaderEpoch, &o.Metadata
			}
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp
}

// offsetTopics names the partitions that the group has offsets of, and that
// the connection may know of.
func (s *Server) offsetTopics(r *request, all []storage.CommittedOffset, stable, byID bool) []kmsg.OffsetFetchRequestGroupTopic {
	var topics []kmsg.OffsetFetchRequestGroupTopic
	index := make(map[string]int)
	for _, o := range all {
		if o.Offset.Offset < 0 && !(o.Pending && stable) {
			continue
		}
		if !s.allowed(r.conn, kmsg.ACLOperationDescribe, kmsg.ACLResourceTypeTopic, o.Topic) {
			continue
		}
		i, ok := index[o.Topic]
		if !ok {
			t := kmsg.NewOffsetFetchRequestGroupTopic()
			t.Topic = o.Topic
			if byID {
				topic, ok := s.log.Topic(o.Topic)
				if !ok {
					continue
				}
				t.TopicID = topic.ID
			}
			i = len(topics)
			index[o.Topic] = i
			topics = append(topics, t)
		}
		topics[i].Partitions = append(topics[i].Partitions, o.Partition)
	}
	return topics
}

// noOffsets answers for a topic without offsets.
func noOffsets(t kmsg.OffsetFetchRequestGroupTopic, code int16) kmsg.OffsetFetchResponseGroupTopic {
	rt := kmsg.NewOffsetFetchResponseGroupTopic()
	rt.Topic, rt.TopicID = t.Topic, t.TopicID
	none := new(string)
	rt.Partitions = slices.Grow(rt.Partitions, len(t.Partitions))
	for _, p := range t.Partitions {
		rp := kmsg.NewOffsetFetchResponseGroupTopicPartition()
		rp.Partition, rp.Offset, rp.LeaderEpoch, rp.Metadata, rp.ErrorCode = p, -1, -1, none, code
		rt.Partitions = append(rt.Partitions, rp)
	}
	return rt
}

func (s *Server) offsetDelete(r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.OffsetDeleteRequest)
	resp := r.response().(*kmsg.OffsetDeleteResponse)
	if !s.allowed(r.conn, kmsg.ACLOperationDelete, kmsg.ACLResourceTypeGroup, req.Group) {
		resp.ErrorCode = kerr.GroupAuthorizationFailed.Code
		return resp, nil
	}
	stored := s.groups.stored(req.Group)
	s.groups.mu.Lock()
	subscribed, refused := s.groups.c.CheckDelete(req.Group, stored)
	held := make(map[string]bool)
	if refused == nil {
		for _, t := range req.Topics {
			held[t.Topic] = subscribed(t.Topic)
		}
	}
	s.groups.mu.Unlock()
	if refused != nil {
		resp.ErrorCode = refused.Code
		return resp, nil
	}
	var gone []storage.TopicPartition
	for _, t := range req.Topics {
		rt := kmsg.NewOffsetDeleteResponseTopic()
		rt.Topic = t.Topic
		topic, refused := s.offsetTopic(r, false, t.Topic, [16]byte{}, kmsg.ACLOperationRead)
		for _, p := range t.Partitions {
			rp := kmsg.NewOffsetDeleteResponseTopicPartition()
			rp.Partition = p.Partition
			switch {
			case refused != nil:
				rp.ErrorCode = refused.Code
			case p.Partition < 0 || p.Partition >= topic.Partitions:
				rp.ErrorCode = kerr.UnknownTopicOrPartition.Code
			case held[t.Topic]:
				rp.ErrorCode = kerr.GroupSubscribedToTopic.Code
			default:
				gone = append(gone, storage.TopicPartition{Topic: t.Topic, Partition: p.Partition})
			}
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	if len(gone) > 0 {
		resp.ErrorCode = s.code(s.log.DeleteOffsets(r.ctx, req.Group, gone), kmsg.OffsetDelete)
	}
	return resp, nil
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
