package broker

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func (s *Server) consumerGroupHeartbeat(r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.ConsumerGroupHeartbeatRequest)
	if !s.mayReadGroup(r, req.Group) {
		resp := r.response().(*kmsg.ConsumerGroupHeartbeatResponse)
		resp.ErrorCode = kerr.GroupAuthorizationFailed.Code
		resp.ErrorMessage = message(resp.ErrorCode)
		return resp, nil
	}
	for _, name := range req.SubscribedTopicNames {
		if !s.allowed(r.conn, kmsg.ACLOperationDescribe, kmsg.ACLResourceTypeTopic, name) {
			resp := r.response().(*kmsg.ConsumerGroupHeartbeatResponse)
			resp.ErrorCode = kerr.TopicAuthorizationFailed.Code
			resp.ErrorMessage = message(resp.ErrorCode)
			return resp, nil
		}
	}
	g := s.groups
	g.mu.Lock()
	defer g.mu.Unlock()
	resp := g.c.ConsumerHeartbeat(time.Now(), r.groupClient(), req)
	g.arm()
	return resp, nil
}

func (s *Server) consumerGroupDescribe(r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.ConsumerGroupDescribeRequest)
	resp := r.response().(*kmsg.ConsumerGroupDescribeResponse)
	for _, name := range req.Groups {
		d := kmsg.NewConsumerGroupDescribeResponseGroup()
		d.Group = name
		switch {
		case !s.allowed(r.conn, kmsg.ACLOperationDescribe, kmsg.ACLResourceTypeGroup, name):
			d.ErrorCode = kerr.GroupAuthorizationFailed.Code
		case name == "":
			d.ErrorCode = kerr.InvalidGroupID.Code
		default:
			s.groups.mu.Lock()
			d = s.groups.c.DescribeConsumer(name)
			s.groups.mu.Unlock()
			if req.IncludeAuthorizedOperations && d.ErrorCode == 0 {
				d.AuthorizedOperations = s.authorized(r.conn, kmsg.ACLResourceTypeGroup, name)
			}
		}
		resp.Groups = append(resp.Groups, d)
	}
	return resp, nil
}
