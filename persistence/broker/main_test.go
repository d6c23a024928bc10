package broker

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func bounded(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// start serves from memory unless the options say otherwise.
func start(t testing.TB, o Options) *Server {
	t.Helper()
	if o.Dir == "" {
		o.Dir, o.FS = "log", vfs.NewMem()
	}
	s, err := Start(bounded(t), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func client(t testing.TB, s *Server, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(s.Addr()), kgo.RecordPartitioner(kgo.ManualPartitioner()),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// wire is a client of one connection, with no mind of its own.
type wire struct {
	t  testing.TB
	nc net.Conn
	id int32
}

func dial(t testing.TB, s *Server) *wire {
	t.Helper()
	return dialAt(t, s.Addr())
}

func dialAt(t testing.TB, addr string) *wire {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(20 * time.Second))
	return &wire{t: t, nc: nc}
}

// send writes a request in the version it has set.
func (w *wire) send(req kmsg.Request) {
	w.t.Helper()
	w.write(w.append(nil, req))
}

// append appends the request's frame.
func (w *wire) append(b []byte, req kmsg.Request) []byte {
	w.id++
	return append(b, kmsg.NewRequestFormatter(kmsg.FormatterClientID("wire")).AppendRequest(nil, req, w.id)...)
}

func (w *wire) write(b []byte) {
	w.t.Helper()
	if _, err := w.nc.Write(b); err != nil {
		w.t.Fatal(err)
	}
}

// frame reads a response without knowing what it is.
func (w *wire) frame() (correlationID int32, rest []byte) {
	w.t.Helper()
	var size [4]byte
	if _, err := io.ReadFull(w.nc, size[:]); err != nil {
		w.t.Fatal(err)
	}
	b := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(w.nc, b); err != nil {
		w.t.Fatal(err)
	}
	return int32(binary.BigEndian.Uint32(b)), b[4:]
}

// receive reads the response to a request.
func (w *wire) receive(req kmsg.Request) kmsg.Response {
	w.t.Helper()
	_, b := w.frame()
	resp := req.ResponseKind()
	resp.SetVersion(req.GetVersion())
	if resp.IsFlexible() && resp.Key() != kmsg.ApiVersions.Int16() {
		b = b[1:]
	}
	if err := resp.ReadFrom(b); err != nil {
		w.t.Fatalf("%T: %v", resp, err)
	}
	return resp
}

// ask sends a request and reads its response.
func ask[R kmsg.Response](w *wire, req kmsg.Request, version int16) R {
	w.t.Helper()
	req.SetVersion(version)
	w.send(req)
	return w.receive(req).(R)
}

// ended waits until the server has closed the connection, and says how many
// bytes came before that.
func (w *wire) ended() int64 {
	w.t.Helper()
	n, err := io.Copy(io.Discard, w.nc)
	if ne, ok := err.(net.Error); ok && ne.Timeout() {
		w.t.Fatal("the connection is open")
	}
	return n
}

// createTopic makes a topic on the server's own storage.
func createTopic(t testing.TB, s *Server, name string, partitions int32, configs ...string) {
	t.Helper()
	w := dial(t, s)
	defer w.nc.Close()
	req := kmsg.NewPtrCreateTopicsRequest()
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, partitions, 1
	for i := 0; i < len(configs); i += 2 {
		c := kmsg.NewCreateTopicsRequestTopicConfig()
		c.Name, c.Value = configs[i], &configs[i+1]
		topic.Configs = append(topic.Configs, c)
	}
	req.Topics = append(req.Topics, topic)
	if got := ask[*kmsg.CreateTopicsResponse](w, req, 7).Topics[0]; got.ErrorCode != 0 {
		t.Fatalf("create %s: error %d: %s", name, got.ErrorCode, *got.ErrorMessage)
	}
}
