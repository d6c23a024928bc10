package broker

import (
	"cmp"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// apiVersions tells what the server speaks. A version that it does not know is
// answered in version 0 with an error and the list (KIP-511).
func (s *Server) apiVersions(r *request) (kmsg.Response, error) {
	resp := kmsg.NewPtrApiVersionsResponse()
	resp.SetVersion(r.header.version)
	if r.unsupported {
		resp.ErrorCode = kerr.UnsupportedVersion.Code
	}
	if req := r.body.(*kmsg.ApiVersionsRequest); r.header.version >= 3 &&
		!(softwareName(req.ClientSoftwareName) && softwareName(req.ClientSoftwareVersion)) {
		resp.ErrorCode = kerr.InvalidRequest.Code
		return resp, nil
	}
	for _, h := range s.table {
		k := kmsg.NewApiVersionsResponseApiKey()
		k.ApiKey, k.MinVersion, k.MaxVersion = h.key.Int16(), h.min, h.max
		if h.key == kmsg.Produce {
			// librdkafka before 2.11 takes a broker without it for one that
			// knows no compression, as Apache Kafka found out (KAFKA-18659).
			k.MinVersion = 0
		}
		resp.ApiKeys = append(resp.ApiKeys, k)
	}
	slices.SortFunc(resp.ApiKeys, func(a, b kmsg.ApiVersionsResponseApiKey) int { return cmp.Compare(a.ApiKey, b.ApiKey) })
	resp.FinalizedFeaturesEpoch = 1
	for _, f := range s.features() {
		supported := kmsg.NewApiVersionsResponseSupportedFeature()
		supported.Name, supported.MaxVersion = f.name, f.level
		if r.header.version < 4 {
			// A least version of 0 breaks clients of before version 4.
			supported.MinVersion = 1
		}
		resp.SupportedFeatures = append(resp.SupportedFeatures, supported)
		final := kmsg.NewApiVersionsResponseFinalizedFeature()
		final.Name, final.MinVersionLevel, final.MaxVersionLevel = f.name, f.level, f.level
		resp.FinalizedFeatures = append(resp.FinalizedFeatures, final)
	}
	return resp, nil
}

// feature is what a cluster's brokers have agreed on (KIP-584).
type feature struct {
	name  string
	level int16
}

// features returns what the handlers that are there amount to.
func (s *Server) features() []feature {
	var all []feature
	serves := func(key kmsg.Key, version int16) bool {
		h := s.table[key.Int16()]
		return h != nil && h.max >= version
	}
	if serves(kmsg.ConsumerGroupHeartbeat, 0) {
		all = append(all, feature{"group.version", 1})
	}
	if serves(kmsg.EndTxn, 5) && serves(kmsg.TxnOffsetCommit, 5) && serves(kmsg.Produce, 12) {
		all = append(all, feature{"transaction.version", 2})
	}
	return all
}

// softwareName reports whether a client may call itself so: letters, digits,
// and '-' and '.' inside.
func softwareName(name string) bool {
	for i, c := range []byte(name) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case (c == '-' || c == '.') && i > 0 && i < len(name)-1:
		default:
			return false
		}
	}
	return name != ""
}
