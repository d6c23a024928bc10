package broker

import "github.com/twmb/franz-go/pkg/kmsg"

// adminHandlers are what those need who look after topics.
func (s *Server) adminHandlers() []handler {
	return []handler{
		{key: kmsg.DescribeCluster, min: 0, max: 2, serve: s.describeCluster},
		{key: kmsg.DescribeTopicPartitions, min: 0, max: 0, serve: s.describeTopicPartitions},
		{key: kmsg.CreateTopics, min: 0, max: 7, serve: s.createTopics},
		{key: kmsg.DeleteTopics, min: 0, max: 6, serve: s.deleteTopics},
		{key: kmsg.CreatePartitions, min: 0, max: 3, serve: s.createPartitions},
		{key: kmsg.DeleteRecords, min: 0, max: 2, serve: s.deleteRecords},
		{key: kmsg.DescribeConfigs, min: 0, max: 4, serve: s.describeConfigs},
		{key: kmsg.AlterConfigs, min: 0, max: 2, serve: s.alterConfigs},
		{key: kmsg.IncrementalAlterConfigs, min: 0, max: 1, serve: s.incrementalAlterConfigs},
		{key: kmsg.ListConfigResources, min: 0, max: 1, serve: s.listConfigResources},
		{key: kmsg.DescribeLogDirs, min: 0, max: 4, serve: s.describeLogDirs},
		{key: kmsg.ElectLeaders, min: 0, max: 2, serve: s.electLeaders},
	}
}
