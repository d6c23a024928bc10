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
	for _, h := range s.table {
		k := kmsg.NewApiVersionsResponseApiKey()
		k.ApiKey, k.MinVersion, k.MaxVersion = h.key.Int16(), h.min, h.max
		resp.ApiKeys = append(resp.ApiKeys, k)
	}
	slices.SortFunc(resp.ApiKeys, func(a, b kmsg.ApiVersionsResponseApiKey) int { return cmp.Compare(a.ApiKey, b.ApiKey) })
	return resp, nil
}
