package broker

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gemello/gemello/persistence/broker/group"
)

// groups drives the coordinator of groups with the wall clock.
type groups struct {
	server *Server

	// reserving is held while generations are reserved.
	reserving sync.Mutex

	// members holds the names of groups that have members. It is apart from
	// the coordinator because the storage asks while it holds its own locks.
	members sync.Map

	mu sync.Mutex // guards what follows; not held during I/O
	// c is told of every request and of the time.
	c       *group.Coordinator
	waiting map[group.Ticket]*slot
	last    group.Ticket
	commits map[string][]*commit
	timer   *time.Timer
	armed   time.Time // when timer calls; zero: it does not
	closed  bool
	// reserved is the first generation that may not be given out; 0: none was
	// reserved yet.
	reserved int32
}

// generationBlock is how many generations are reserved at a time.
const generationBlock = 4096

// reserve makes sure that there are generations for whoever joins.
func (g *groups) reserve(ctx context.Context) error {
	g.reserving.Lock()
	defer g.reserving.Unlock()
	g.mu.Lock()
	enough := g.reserved > 0 && g.c.Generation() < g.reserved-generationBlock/2
	g.mu.Unlock()
	if enough {
		return nil
	}
	first, err := g.server.log.ReserveGenerations(ctx, generationBlock)
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.reserved == 0 {
		g.c.StartAfter(first)
	}
	g.reserved = first + generationBlock
	return nil
}

func newGroups(s *Server) *groups {
	g := &groups{
		server: s, waiting: make(map[group.Ticket]*slot), commits: make(map[string][]*commit),
	}
	g.c = group.New(g.options())
	if err := g.register(s.opts.Registerer); err != nil {
		s.opts.Logger.Warn("groups are not counted", "error", err)
	}
	return g
}

// options are those of the coordinator.
func (g *groups) options() group.Options {
	return group.Options{
		InitialRebalanceDelay: g.server.opts.InitialRebalanceDelay,
		Activity: func(name string, active bool) {
			if active {
				g.members.Store(name, nil)
			} else {
				g.members.Delete(name)
			}
		},
		Topics: groupTopics{g.server},
	}
}

// active reports whether the group has members.
func (g *groups) active(name string) bool {
	_, ok := g.members.Load(name)
	return ok
}

// stored reports whether the storage has offsets of a group that is not in
// memory. The lock must not be held: the storage answers when what was
// committed before is durable.
func (g *groups) stored(name string) bool {
	g.mu.Lock()
	known := g.c.Known(name)
	g.mu.Unlock()
	return !known && len(g.server.log.CommittedOffsets(name)) > 0
}

// close ends what the groups run. Members that wait are not answered.
func (g *groups) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	if g.timer != nil {
		g.timer.Stop()
	}
}

// counts returns the number of groups in memory and of their members.
func (g *groups) counts() (groups, members int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.c.Members()
}

// ask parks the request and lets f hand it to the coordinator. Answers that
// are ready, to this request or others, are sent.
func (g *groups) ask(r *request, f func(now time.Time, t group.Ticket) []group.Reply) (kmsg.Response, error) {
	g.mu.Lock()
	g.last++
	g.waiting[g.last] = r.slot
	replies := f(time.Now(), g.last)
	g.arm()
	done := g.answered(replies)
	g.mu.Unlock()
	done()
	return nil, nil
}

// answered returns what sends the replies, to be called without the lock. The
// lock must be held.
func (g *groups) answered(replies []group.Reply) func() {
	slots := make([]*slot, len(replies))
	for i, reply := range replies {
		slots[i] = g.waiting[reply.Ticket]
		delete(g.waiting, reply.Ticket)
	}
	return func() {
		for i, s := range slots {
			s.finish(replies[i].Response)
		}
	}
}

// arm makes the timer call when the coordinator wants to know the time. The
// lock must be held.
func (g *groups) arm() {
	at, ok := g.c.Deadline()
	if !ok || g.closed || !g.armed.IsZero() && !at.Before(g.armed) {
		return
	}
	g.armed = at
	wait := max(0, time.Until(at))
	if g.timer == nil {
		g.timer = time.AfterFunc(wait, g.tick)
	} else {
		g.timer.Reset(wait)
	}
}

func (g *groups) tick() {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return
	}
	g.armed = time.Time{}
	done := g.answered(g.c.Tick(time.Now()))
	g.arm()
	g.mu.Unlock()
	done()
}

// groupTopics tells consumer groups what topics the storage has.
type groupTopics struct{ s *Server }

func (t groupTopics) TopicByName(name string) ([16]byte, int32, bool) {
	topic, ok := t.s.log.Topic(name)
	return topic.ID, topic.Partitions, ok
}

func (t groupTopics) TopicName(id [16]byte) (string, bool) {
	topic, ok := t.s.log.TopicByID(id)
	return topic.Name, ok
}

func (t groupTopics) TopicNames() []string {
	var names []string
	for _, topic := range t.s.log.Topics() {
		names = append(names, topic.Name)
	}
	return names
}

// groupHandlers are what members of groups and their administrators ask.
func (s *Server) groupHandlers() []handler {
	return []handler{
		{key: kmsg.JoinGroup, min: 0, max: 9, serve: s.joinGroup},
		{key: kmsg.SyncGroup, min: 0, max: 5, serve: s.syncGroup},
		{key: kmsg.Heartbeat, min: 0, max: 4, serve: s.heartbeat},
		{key: kmsg.LeaveGroup, min: 0, max: 5, serve: s.leaveGroup},
		{key: kmsg.OffsetCommit, min: 2, max: 10, serve: s.offsetCommit},
		{key: kmsg.OffsetFetch, min: 1, max: 10, serve: s.offsetFetch},
		{key: kmsg.OffsetDelete, min: 0, max: 0, serve: s.offsetDelete},
		{key: kmsg.DescribeGroups, min: 0, max: 6, serve: s.describeGroups},
		{key: kmsg.ListGroups, min: 0, max: 5, serve: s.listGroups},
		{key: kmsg.DeleteGroups, min: 0, max: 2, serve: s.deleteGroups},
		{key: kmsg.ConsumerGroupHeartbeat, min: 0, max: 1, serve: s.consumerGroupHeartbeat},
		{key: kmsg.ConsumerGroupDescribe, min: 0, max: 1, serve: s.consumerGroupDescribe},
	}
}

func (s *Server) mayReadGroup(r *request, name string) bool {
	return s.allowed(r.conn, kmsg.ACLOperationRead, kmsg.ACLResourceTypeGroup, name)
}

func (s *Server) joinGroup(r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.JoinGroupRequest)
	if !s.mayReadGroup(r, req.Group) {
		resp := r.response().(*kmsg.JoinGroupResponse)
		resp.ErrorCode = kerr.GroupAuthorizationFailed.Code
		return resp, nil
	}
	if err := s.groups.reserve(r.ctx); err != nil {
		resp := r.response().(*kmsg.JoinGroupResponse)
		resp.ErrorCode = kerr.CoordinatorNotAvailable.Code
		return resp, nil
	}
	from := r.groupClient()
	return s.groups.ask(r, func(now time.Time, t group.Ticket) []group.Reply {
		return s.groups.c.Join(now, from, req, t)
	})
}

// groupClient is who asks, written as Kafka writes it.
func (r *request) groupClient() group.Client {
	host := r.conn.nc.RemoteAddr().String()
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return group.Client{ID: r.header.clientID, Host: "/" + host}
}

func (s *Server) syncGroup(r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.SyncGroupRequest)
	if !s.mayReadGroup(r, req.Group) {
		resp := r.response().(*kmsg.SyncGroupResponse)
		resp.ErrorCode = kerr.GroupAuthorizationFailed.Code
		return resp, nil
	}
	return s.groups.ask(r, func(now time.Time, t group.Ticket) []group.Reply {
		return s.groups.c.Sync(now, req, t)
	})
}

func (s *Server) heartbeat(r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.HeartbeatRequest)
	if !s.mayReadGroup(r, req.Group) {
		resp := r.response().(*kmsg.HeartbeatResponse)
		resp.ErrorCode = kerr.GroupAuthorizationFailed.Code
		return resp, nil
	}
	g := s.groups
	g.mu.Lock()
	defer g.mu.Unlock()
	resp := g.c.Heartbeat(time.Now(), req)
	g.arm()
	return resp, nil
}

func (s *Server) leaveGroup(r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.LeaveGroupRequest)
	if !s.mayReadGroup(r, req.Group) {
		resp := r.response().(*kmsg.LeaveGroupResponse)
		resp.ErrorCode = kerr.GroupAuthorizationFailed.Code
		return resp, nil
	}
	return s.groups.ask(r, func(now time.Time, t group.Ticket) []group.Reply {
		return s.groups.c.Leave(now, req, t)
	})
}

func (s *Server) describeGroups(r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.DescribeGroupsRequest)
	resp := r.response().(*kmsg.DescribeGroupsResponse)
	for _, name := range req.Groups {
		if !s.allowed(r.conn, kmsg.ACLOperationDescribe, kmsg.ACLResourceTypeGroup, name) {
			d := kmsg.NewDescribeGroupsResponseGroup()
			d.Group, d.ErrorCode = name, kerr.GroupAuthorizationFailed.Code
			resp.Groups = append(resp.Groups, d)
			continue
		}
		stored := s.groups.stored(name)
		s.groups.mu.Lock()
		d := s.groups.c.Describe(name, req.Version, stored)
		s.groups.mu.Unlock()
		if req.IncludeAuthorizedOperations && d.ErrorCode == 0 {
			d.AuthorizedOperations = s.authorized(r.conn, kmsg.ACLResourceTypeGroup, name)
		}
		resp.Groups = append(resp.Groups, d)
	}
	return resp, nil
}

func (s *Server) listGroups(r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.ListGroupsRequest)
	resp := r.response().(*kmsg.ListGroupsResponse)
	stored := s.log.Groups()
	s.groups.mu.Lock()
	listed := s.groups.c.List(req.StatesFilter, req.TypesFilter, stored)
	s.groups.mu.Unlock()
	if !s.allowed(r.conn, kmsg.ACLOperationDescribe, kmsg.ACLResourceTypeCluster, clusterName) {
		listed = slices.DeleteFunc(listed, func(l kmsg.ListGroupsResponseGroup) bool {
			return !s.allowed(r.conn, kmsg.ACLOperationDescribe, kmsg.ACLResourceTypeGroup, l.Group)
		})
	}
	resp.Groups = listed
	return resp, nil
}

func (s *Server) deleteGroups(r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.DeleteGroupsRequest)
	resp := r.response().(*kmsg.DeleteGroupsResponse)
	slices.Sort(req.Groups)
	for _, name := range slices.Compact(req.Groups) {
		d := kmsg.NewDeleteGroupsResponseGroup()
		d.Group, d.ErrorCode = name, s.deleteGroup(r, name)
		resp.Groups = append(resp.Groups, d)
	}
	return resp, nil
}

func (s *Server) deleteGroup(r *request, name string) int16 {
	if !s.allowed(r.conn, kmsg.ACLOperationDelete, kmsg.ACLResourceTypeGroup, name) {
		return kerr.GroupAuthorizationFailed.Code
	}
	g := s.groups
	stored := g.stored(name)
	g.mu.Lock()
	err := g.c.CheckDeleteGroup(name, stored)
	if err == nil {
		// From here on a member that comes finds a new group.
		g.c.Forget(name)
	}
	g.mu.Unlock()
	if err != nil {
		return err.Code
	}
	gone := s.log.DeleteGroup(r.ctx, name)
	if errors.Is(gone, kerr.GroupIDNotFound) && !stored {
		return 0 // it had no offsets
	}
	return s.code(gone, kmsg.DeleteGroups)
}
