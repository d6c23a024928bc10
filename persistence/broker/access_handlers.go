package broker

import "github.com/twmb/franz-go/pkg/kmsg"

func (s *Server) accessHandlers() []handler {
	return []handler{
		// Version 0 of the handshake is followed by messages that are no
		// requests, and is refused; but librdkafka wants it in the list before
		// it uses version 1.
		{key: kmsg.SASLHandshake, min: 0, max: 1, serve: s.saslHandshake, open: true},
		{key: kmsg.SASLAuthenticate, min: 0, max: 2, serve: s.saslAuthenticate, open: true},
		{key: kmsg.DescribeACLs, min: 1, max: 3, serve: s.describeACLs},
		{key: kmsg.CreateACLs, min: 1, max: 3, serve: s.createACLs},
		{key: kmsg.DeleteACLs, min: 1, max: 3, serve: s.deleteACLs},
		{key: kmsg.DescribeUserSCRAMCredentials, min: 0, max: 0, serve: s.describeUserScram},
		{key: kmsg.DescribeClientQuotas, min: 0, max: 1, serve: s.describeClientQuotas},
	}
}
