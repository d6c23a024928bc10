package embedded

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ourConfig prefixes the settings of a topic that the broker stores and must
// not act on.
const ourConfig = "gemello."

// keepRetention hides retention from the broker in requests that create
// topics: it would delete without regard for replay points. The function runs
// before the broker handles the request. Retention that is set on a topic
// later is the broker's, and applied with the next compaction.
func keepRetention(c *kfake.Cluster) {
	c.ControlKey(int16(kmsg.CreateTopics), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		req := kreq.(*kmsg.CreateTopicsRequest)
		for i := range req.Topics {
			for j := range req.Topics[i].Configs {
				switch cfg := &req.Topics[i].Configs[j]; cfg.Name {
				case "retention.ms", "retention.bytes":
					cfg.Name = ourConfig + cfg.Name
				}
			}
		}
		return nil, nil, false
	})
}

// retained is a partition under retention, with what may be cut off its front.
type retained struct {
	partitionDir
	age   time.Duration // < 0: no bound
	bytes int64         // < 0: no bound
	cut   int           // segments to delete
	may   int           // segments that may be deleted
}

func (r *retained) size() (n int64) {
	for _, seg := range r.segments[r.cut:] {
		n += seg.size
	}
	return n
}

// plan says what to cut, oldest first. A segment goes as a whole, when its
// last record is old enough; the one being written never goes.
func planRetention(rs []*retained, now time.Time, total int64) {
	for _, r := range rs {
		for r.age >= 0 && r.cut < r.may && now.Sub(r.segments[r.cut].written) > r.age {
			r.cut++
		}
		for r.bytes >= 0 && r.cut < r.may && r.size() > r.bytes {
			r.cut++
		}
	}
	if total < 0 {
		return
	}
	var sum int64
	for _, r := range rs {
		sum += r.size()
	}
	for sum > total {
		var oldest *retained
		for _, r := range rs {
			if r.cut < r.may && (oldest == nil || r.segments[r.cut].written.Before(oldest.segments[oldest.cut].written)) {
				oldest = r
			}
		}
		if oldest == nil {
			return // all that is left is needed or being written
		}
		sum -= oldest.segments[oldest.cut].size
		oldest.cut++
	}
}

// retain deletes what is old or too much and not needed.
func (s *Server) retain(now time.Time) error {
	ps, err := listPartitions(s.dir)
	if err != nil {
		return err
	}
	var rs []*retained
	for _, p := range ps {
		info := s.cluster.TopicInfo(p.topic)
		if info == nil || compacts(info.Configs) || len(p.segments) == 0 {
			continue
		}
		r := &retained{partitionDir: p, age: s.opts.Retention, bytes: -1, may: len(p.segments) - 1}
		if ms, ok := number(info.Configs, ourConfig+"retention.ms"); ok {
			r.age = time.Duration(ms) * time.Millisecond
		}
		if n, ok := number(info.Configs, ourConfig+"retention.bytes"); ok {
			r.bytes = n
		}
		if s.opts.Floor != nil {
			if floor, ok := s.opts.Floor(p.topic, p.number); ok {
				for r.may > 0 && p.segments[r.may].base > floor {
					r.may--
				}
			}
		}
		rs = append(rs, r)
	}
	planRetention(rs, now, s.opts.RetentionBytes)
	for _, r := range rs {
		if r.cut == 0 {
			continue
		}
		if err := s.cluster.DeleteRecords(r.topic, r.number, r.segments[r.cut].base); err != nil {
			return fmt.Errorf("topic %s partition %d: %w", r.topic, r.number, err)
		}
		s.opts.Logger.Info("embedded log: deleted by retention", "topic", r.topic, "partition", r.number, "before", r.segments[r.cut].base)
	}
	return nil
}

func compacts(configs map[string]*string) bool {
	v := configs["cleanup.policy"]
	return v != nil && strings.Contains(*v, "compact")
}

func number(configs map[string]*string, key string) (int64, bool) {
	v := configs[key]
	if v == nil {
		return 0, false
	}
	n, err := strconv.ParseInt(*v, 10, 64)
	return n, err == nil
}
