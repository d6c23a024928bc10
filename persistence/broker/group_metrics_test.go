package broker

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestGroupsAreCounted(t *testing.T) {
	r := prometheus.NewRegistry()
	s := start(t, Options{Registerer: r})
	w := dial(t, s)
	req := kmsg.NewPtrJoinGroupRequest()
	req.Group, req.ProtocolType, req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = "g", "consumer", 6000, 6000
	req.Protocols = append(req.Protocols, kmsg.JoinGroupRequestProtocol{Name: "range"})
	if r := ask[*kmsg.JoinGroupResponse](w, req, 3); r.ErrorCode != 0 {
		t.Fatalf("%+v", r)
	}
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			got[f.GetName()] = m.GetGauge().GetValue()
		}
	}
	if got["gemello_log_groups"] != 1 || got["gemello_log_group_members"] != 1 {
		t.Fatalf("%v", got)
	}
}
