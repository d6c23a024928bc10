package broker

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gemello/gemello/persistence/broker/storage"
)

// Operations of IncrementalAlterConfigs.
const (
	configSet = iota
	configDelete
	configAppend
	configSubtract
)

func (s *Server) describeConfigs(r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.DescribeConfigsRequest)
	resp := r.response().(*kmsg.DescribeConfigsResponse)
	for _, asked := range req.Resources {
		rr := kmsg.NewDescribeConfigsResponseResource()
		rr.ResourceType, rr.ResourceName = asked.ResourceType, asked.ResourceName
		configs, err := s.describedConfigs(r.conn, asked.ResourceType, asked.ResourceName)
		rr.ErrorCode, rr.ErrorMessage = s.refused(err, kmsg.DescribeConfigs)
		rr.Configs = []kmsg.DescribeConfigsResponseResourceConfig{}
		for _, c := range configs {
			if asked.ConfigNames != nil && !slices.Contains(asked.ConfigNames, c.Name) {
				continue
			}
			if !req.IncludeSynonyms {
				c.ConfigSynonyms = nil
			}
			if !req.IncludeDocumentation {
				c.Documentation = nil
			}
			rr.Configs = append(rr.Configs, c)
		}
		resp.Resources = append(resp.Resources, rr)
	}
	return resp, nil
}

func (s *Server) describedConfigs(c *conn, kind kmsg.ConfigResourceType, name string) (configs []kmsg.DescribeConfigsResponseResourceConfig, err error) {
	switch kind {
	case kmsg.ConfigResourceTypeTopic:
		if !s.allowed(c, kmsg.ACLOperationDescribeConfigs, kmsg.ACLResourceTypeTopic, name) {
			return nil, kerr.TopicAuthorizationFailed
		}
		t, ok := s.log.Topic(name)
		if !ok && storage.ValidTopicName(name) != nil {
			return nil, kerr.InvalidTopicException
		}
		if !ok {
			return nil, kerr.UnknownTopicOrPartition
		}
		for _, k := range s.configs {
			v := k.of(t, s.opts)
			rc := kmsg.NewDescribeConfigsResponseResourceConfig()
			rc.Name, rc.Value, rc.Source = k.name, &v.value, v.source
			rc.IsDefault = v.source == kmsg.ConfigSourceDefaultConfig
			rc.ConfigType, rc.Documentation, rc.ConfigSynonyms = k.kind, &k.doc, v.synonyms
			configs = append(configs, rc)
		}
		return configs, nil
	case kmsg.ConfigResourceTypeBroker, kmsg.ConfigResourceTypeBrokerLogger:
		if !s.allowed(c, kmsg.ACLOperationDescribeConfigs, kmsg.ACLResourceTypeCluster, clusterName) {
			return nil, kerr.ClusterAuthorizationFailed
		}
		if name != "" && name != strconv.Itoa(nodeID) {
			return nil, refuse(kerr.InvalidRequest, "there is one broker, %d", nodeID)
		}
		if name == "" || kind == kmsg.ConfigResourceTypeBrokerLogger {
			// What was set for all brokers at run time, or for their loggers:
			// nothing.
			return nil, nil
		}
		for _, b := range s.brokerConfigs() {
			rc := kmsg.NewDescribeConfigsResponseResourceConfig()
			rc.Name, rc.Value, rc.ReadOnly = b.name, &b.value, true
			rc.Source = kmsg.ConfigSourceDefaultConfig
			if b.given {
				rc.Source = kmsg.ConfigSourceStaticBrokerConfig
			}
			rc.IsDefault = !b.given
			rc.ConfigType, rc.Documentation = b.kind, &b.doc
			synonym := kmsg.NewDescribeConfigsResponseResourceConfigConfigSynonym()
			synonym.Name, synonym.Value, synonym.Source = b.name, &b.value, rc.Source
			rc.ConfigSynonyms = append(rc.ConfigSynonyms, synonym)
			configs = append(configs, rc)
		}
		return configs, nil
	case kmsg.ConfigResourceTypeGroupConfig, kmsg.ConfigResourceTypeClientMetrics:
		if !s.allowed(c, kmsg.ACLOperationDescribeConfigs, kmsg.ACLResourceTypeCluster, clusterName) {
			return nil, kerr.ClusterAuthorizationFailed
		}
		return nil, nil
	}
	return nil, refuse(kerr.InvalidRequest, "resources of type %d have no configuration", kind)
}

func (s *Server) alterConfigs(r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.AlterConfigsRequest)
	resp := r.response().(*kmsg.AlterConfigsResponse)
	for _, asked := range req.Resources {
		rr := kmsg.NewAlterConfigsResponseResource()
		rr.ResourceType, rr.ResourceName = asked.ResourceType, asked.ResourceName
		err := s.alter(r, asked.ResourceType, asked.ResourceName, req.ValidateOnly, true, func(storage.Topic) (map[string]*string, error) {
			changes := make(map[string]*string)
			for _, c := range asked.Configs {
				if _, ok := changes[c.Name]; ok {
					return nil, refuse(kerr.InvalidConfig, "%s is given more than once", c.Name)
				}
				if c.Value == nil {
					return nil, refuse(kerr.InvalidConfig, "%s has no value", c.Name)
				}
				changes[c.Name] = c.Value
			}
			return changes, nil
		})
		rr.ErrorCode, rr.ErrorMessage = s.refused(err, kmsg.AlterConfigs)
		resp.Resources = append(resp.Resources, rr)
	}
	return resp, nil
}

func (s *Server) incrementalAlterConfigs(r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.IncrementalAlterConfigsRequest)
	resp := r.response().(*kmsg.IncrementalAlterConfigsResponse)
	seen := make(map[string]bool)
	for _, asked := range req.Resources {
		rr := kmsg.NewIncrementalAlterConfigsResponseResource()
		rr.ResourceType, rr.ResourceName = asked.ResourceType, asked.ResourceName
		key := strconv.Itoa(int(asked.ResourceType)) + asked.ResourceName
		err := refuse(kerr.InvalidRequest, "the resource is named more than once")
		if !seen[key] {
			err = s.alter(r, asked.ResourceType, asked.ResourceName, req.ValidateOnly, false, func(t storage.Topic) (map[string]*string, error) {
				return s.incrementalChanges(t, asked.Configs)
			})
		}
		seen[key] = true
		rr.ErrorCode, rr.ErrorMessage = s.refused(err, kmsg.IncrementalAlterConfigs)
		resp.Resources = append(resp.Resources, rr)
	}
	return resp, nil
}

// incrementalChanges turns operations into values; nil is the default's.
func (s *Server) incrementalChanges(t storage.Topic, ops []kmsg.IncrementalAlterConfigsRequestResourceConfig) (map[string]*string, error) {
	changes := make(map[string]*string)
	for _, c := range ops {
		if _, ok := changes[c.Name]; ok {
			return nil, refuse(kerr.InvalidRequest, "%s is given more than once", c.Name)
		}
		k := s.topicConfig(c.Name)
		if k == nil {
			return nil, refuse(kerr.InvalidConfig, "unknown topic config name: %s", c.Name)
		}
		if c.Op == configDelete {
			changes[c.Name] = nil
			continue
		}
		if c.Value == nil {
			return nil, refuse(kerr.InvalidConfig, "%s has no value", c.Name)
		}
		switch c.Op {
		case configSet:
			changes[c.Name] = c.Value
		case configAppend, configSubtract:
			if k.kind != kmsg.ConfigTypeList {
				return nil, refuse(kerr.InvalidConfig, "%s is no list that could be added to", c.Name)
			}
			list := words(k.of(t, s.opts).value)
			for _, w := range words(*c.Value) {
				list = slices.DeleteFunc(list, func(have string) bool { return have == w })
				if c.Op == configAppend {
					list = append(list, w)
				}
			}
			value := strings.Join(list, ",")
			changes[c.Name] = &value
		default:
			return nil, refuse(kerr.InvalidRequest, "operation %d on %s is not known", c.Op, c.Name)
		}
	}
	return changes, nil
}

func words(list string) []string {
	return slices.DeleteFunc(strings.Split(list, ","), func(w string) bool { return w == "" })
}

// alter changes the configuration of a topic; replace gives what is not named
// its default.
func (s *Server) alter(r *request, kind kmsg.ConfigResourceType, name string, validateOnly, replace bool, changes func(storage.Topic) (map[string]*string, error)) error {
	switch kind {
	case kmsg.ConfigResourceTypeTopic:
	case kmsg.ConfigResourceTypeBroker, kmsg.ConfigResourceTypeBrokerLogger:
		if !s.allowed(r.conn, kmsg.ACLOperationAlterConfigs, kmsg.ACLResourceTypeCluster, clusterName) {
			return kerr.ClusterAuthorizationFailed
		}
		return refuse(kerr.PolicyViolation, "the broker's configuration is given when it is started; change it there")
	default:
		return refuse(kerr.InvalidRequest, "resources of type %d have no configuration that can be changed", kind)
	}
	if !s.allowed(r.conn, kmsg.ACLOperationAlterConfigs, kmsg.ACLResourceTypeTopic, name) {
		return kerr.TopicAuthorizationFailed
	}
	t, ok := s.log.Topic(name)
	if !ok {
		return kerr.UnknownTopicOrPartition
	}
	set, err := changes(t)
	if err != nil {
		return err
	}
	after := make(map[string]string)
	if !replace {
		maps.Copy(after, t.Configs)
	}
	for name, value := range set {
		delete(after, name)
		if value != nil {
			after[name] = *value
		}
	}
	if err := s.checkTopicConfigs(after); err != nil || validateOnly {
		return err
	}
	ctx, cancel := context.WithTimeout(r.ctx, adminTimeout)
	defer cancel()
	return s.log.SetTopicConfigs(ctx, name, set, replace)
}

// listConfigResources names what has a configuration (KIP-1142).
func (s *Server) listConfigResources(r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.ListConfigResourcesRequest)
	resp := r.response().(*kmsg.ListConfigResourcesResponse)
	if !s.allowed(r.conn, kmsg.ACLOperationDescribeConfigs, kmsg.ACLResourceTypeCluster, clusterName) {
		resp.ErrorCode = kerr.ClusterAuthorizationFailed.Code
		return resp, nil
	}
	asked := func(kind kmsg.ConfigResourceType) bool {
		if r.header.version == 0 {
			return kind == kmsg.ConfigResourceTypeClientMetrics
		}
		return len(req.ResourceTypes) == 0 || slices.Contains(req.ResourceTypes, int8(kind))
	}
	add := func(kind kmsg.ConfigResourceType, name string) {
		rc := kmsg.NewListConfigResourcesResponseConfigResource()
		rc.Name, rc.Type = name, int8(kind)
		resp.ConfigResources = append(resp.ConfigResources, rc)
	}
	if asked(kmsg.ConfigResourceTypeTopic) {
		for _, t := range s.log.Topics() {
			add(kmsg.ConfigResourceTypeTopic, t.Name)
		}
	}
	for _, kind := range []kmsg.ConfigResourceType{kmsg.ConfigResourceTypeBroker, kmsg.ConfigResourceTypeBrokerLogger} {
		if asked(kind) {
			add(kind, strconv.Itoa(nodeID))
		}
	}
	slices.SortStableFunc(resp.ConfigResources, func(a, b kmsg.ListConfigResourcesResponseConfigResource) int {
		return cmp.Compare(a.Type, b.Type)
	})
	return resp, nil
}
