package broker

import "github.com/twmb/franz-go/pkg/kmsg"

// dataHandlers are what producers and consumers need.
func (s *Server) dataHandlers() []handler {
	return []handler{
		{key: kmsg.ApiVersions, min: 0, max: 4, serve: s.apiVersions, open: true},
	}
}
