package broker

import "github.com/twmb/franz-go/pkg/kmsg"

// dataHandlers are what producers and consumers need.
func (s *Server) dataHandlers() []handler {
	return []handler{
		{key: kmsg.ApiVersions, min: 0, max: 4, serve: s.apiVersions, open: true},
		{key: kmsg.Metadata, min: 0, max: 13, serve: s.metadata},
		{key: kmsg.FindCoordinator, min: 0, max: 6, serve: s.findCoordinator},
		{key: kmsg.Produce, min: 3, max: 13, serve: s.produce, check: checkProduce, pipelined: true},
		{key: kmsg.Fetch, min: 4, max: 17, serve: s.fetch},
		{key: kmsg.ListOffsets, min: 1, max: 10, serve: s.listOffsets},
		{key: kmsg.OffsetForLeaderEpoch, min: 0, max: 4, serve: s.offsetForLeaderEpoch},
	}
}
