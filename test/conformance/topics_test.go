package conformance

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func deleteTopic(t testing.TB, w *wire, n string) {
	t.Helper()
	req := kmsg.NewPtrDeleteTopicsRequest()
	rt := kmsg.NewDeleteTopicsRequestTopic()
	rt.Topic = &n
	req.Topics, req.TimeoutMillis = append(req.Topics, rt), 10000
	resp := ask[*kmsg.DeleteTopicsResponse](w, 6, req)
	must(t, "delete topic", resp.Topics[0].ErrorCode)
	eventually(t, "deletion of "+n, func() bool { return metadata(w, n).Topics[0].ErrorCode == 3 })
}

// recreate makes a topic under a name that was in use.
func recreate(t testing.TB, w *wire, n string, partitions int32, configs ...string) topic {
	t.Helper()
	var made kmsg.CreateTopicsResponseTopic
	eventually(t, "creation of "+n, func() bool {
		made = createTopic(w, n, partitions, 1, false, configs...)
		return made.ErrorCode == 0
	})
	tp := topic{n, made.TopicID}
	eventually(t, "metadata of "+n, func() bool {
		m := metadata(w, n).Topics[0]
		return m.ErrorCode == 0 && m.TopicID == tp.id && len(m.Partitions) == int(partitions) && m.Partitions[0].Leader >= 0 &&
			fetchFrom(w, tp, 0, 0, fetchOptions{}).ErrorCode == 0
	})
	return tp
}
