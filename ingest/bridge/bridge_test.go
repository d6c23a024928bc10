package bridge

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gemello/gemello/ingest"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestMessagesReachTheLogInOrderWithTheirDevice(t *testing.T) {
	b := newBroker(t, "")
	log := make(fakeLog, 1000)
	br, _ := b.run(log, nil)
	b.publish("plant/pump-1/data", numbers(0, 100)...)
	for i := range 100 {
		a := log.take(t)
		if a.device != "pump-1" || a.text != strconv.Itoa(i) {
			t.Fatalf("message %d is %q of %q", i, a.text, a.device)
		}
		a.done(nil)
	}
	eventually(t, "all are counted", func() bool { return testutil.ToFloat64(br.metrics.appended) == 100 })
	if n := testutil.ToFloat64(br.metrics.inflight); n != 0 {
		t.Errorf("%v messages in flight", n)
	}
}

func TestAcknowledgedMessagesDoNotComeAgainAndOthersDo(t *testing.T) {
	b := newBroker(t, "")
	log := make(fakeLog, 1000)
	b.run(log, func(o *Options) { o.MaxInflight = 2 })
	b.publish("plant/d/data", numbers(0, 5)...)
	log.takeAll(t, 2)
	// These come because the broker has the acknowledgements of the first two.
	unanswered := []appended{log.take(t), log.take(t)}
	b.stop()
	b.start()
	for _, a := range unanswered {
		a.done(nil) // too late for the connection that brought them
	}
	got := log.takeAll(t, 3)
	slices.Sort(got) // a mosquitto that starts again mixes what was sent with what was not
	if !slices.Equal(got, numbers(2, 5)) {
		t.Errorf("came again: %v", got)
	}
}

func TestStoppedBridgeFindsOnlyWhatItHasNotTaken(t *testing.T) {
	b := newBroker(t, "")
	log := make(fakeLog, 1000)
	_, stop := b.run(log, nil)
	b.publish("plant/d/data", numbers(0, 50)...)
	log.takeAll(t, 50)
	stop()
	b.publish("plant/d/data", "meanwhile")
	b.run(log, nil)
	if got := log.takeAll(t, 1); got[0] != "meanwhile" {
		t.Errorf("first came %q", got[0])
	}
}

func TestMessagesThatTheLogCannotTakeComeAgainInOrder(t *testing.T) {
	b := newBroker(t, "")
	log := make(fakeLog, 1000)
	br, _ := b.run(log, nil)
	b.publish("plant/d/data", "a", "b")
	first, second := log.take(t), log.take(t)
	first.done(ingest.ErrBusy)
	second.done(nil) // behind it, so not yet acknowledged
	if got := log.takeAll(t, 2); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("came again: %v", got)
	}
	b.publish("plant/d/data", "c")
	if got := log.takeAll(t, 1); got[0] != "c" {
		t.Errorf("then came %q", got[0])
	}
	if n := testutil.ToFloat64(br.metrics.retried); n != 1 {
		t.Errorf("%v retries counted, want 1", n)
	}
	if n := testutil.ToFloat64(br.metrics.connects); n != 2 {
		t.Errorf("%v connections, want 2", n)
	}
}

func TestRefusedMessagesAreKeptBeforeTheyAreAcknowledged(t *testing.T) {
	b := newBroker(t, "")
	log := make(fakeLog, 1000)
	type letter struct {
		Refusal
		done func(error)
	}
	letters := make(chan letter, 100)
	br, stop := b.run(log, func(o *Options) {
		o.Filter = "plant/#"
		o.MaxBody = 1000
		o.DeadLetter = func(r Refusal, done func(error)) { letters <- letter{r, done} }
	})
	read := func() letter {
		select {
		case l := <-letters:
			return l
		case <-time.After(patience):
			t.Fatal("no refusal came")
			return letter{}
		}
	}
	b.publish("plant/d/other", "x")
	if l := read(); l.Reason != ReasonTopic || l.Topic != "plant/d/other" || string(l.Body) != "x" {
		t.Errorf("refusal %+v", l.Refusal)
	} else {
		l.done(errors.New("dead letters are away"))
	}
	if l := read(); l.Topic != "plant/d/other" {
		t.Errorf("refusal that could not be kept came again as %+v", l.Refusal)
	} else {
		l.done(nil)
	}
	b.publish("plant/no spaces/data", "x")
	if l := read(); l.Reason != ReasonDeviceID {
		t.Errorf("refusal %+v", l.Refusal)
	} else {
		l.done(nil)
	}
	b.publish("plant/d/data", strings.Repeat("x", 1001))
	if l := read(); l.Reason != ReasonTooLarge || l.DeviceID != "d" {
		t.Errorf("refusal %+v", l.Refusal)
	} else {
		l.done(nil)
	}
	b.publish("plant/d/data", "unknown")
	log.take(t).done(fmt.Errorf("no such device: %w", ingest.ErrNotFound))
	if l := read(); l.Reason != ReasonUnknownDevice || l.DeviceID != "d" || string(l.Body) != "unknown" {
		t.Errorf("refusal %+v", l.Refusal)
	} else {
		l.done(nil)
	}
	stop()
	b.run(log, func(o *Options) { o.Filter = "plant/#" })
	b.publish("plant/d/data", "last")
	if got := log.takeAll(t, 1); got[0] != "last" {
		t.Errorf("refused message came again: %q", got[0])
	}
	for reason, want := range map[Reason]float64{ReasonTopic: 2, ReasonDeviceID: 1, ReasonTooLarge: 1, ReasonUnknownDevice: 1} {
		if n := testutil.ToFloat64(br.metrics.refused.WithLabelValues(string(reason))); n != want {
			t.Errorf("%s: %v counted, want %v", reason, n, want)
		}
	}
}

func TestMessagesInFlightAreBounded(t *testing.T) {
	b := newBroker(t, "")
	log := make(fakeLog, 1000)
	br, _ := b.run(log, func(o *Options) { o.MaxInflight = 4 })
	b.publish("plant/d/data", numbers(0, 40)...)
	var waiting []appended
	seen := 0
	for seen < 40 {
		a := log.take(t)
		seen++
		waiting = append(waiting, a)
		if len(waiting) < 4 {
			continue
		}
		if n := len(br.slots); n != 4 {
			t.Fatalf("%d messages in flight, want 4", n)
		}
		select {
		case a := <-log:
			t.Fatalf("message %s came while 4 were in flight", a.text)
		default:
		}
		waiting[0].done(nil)
		waiting = waiting[1:]
	}
	for _, a := range waiting {
		a.done(nil)
	}
}

func TestBridgeComesBackWhenItsBrokerDoes(t *testing.T) {
	b := newBroker(t, "")
	log := make(readyLog, 1000)
	br, _ := b.run(log, nil)
	for round := range 3 {
		b.publish("plant/d/data", strconv.Itoa(round))
		// What the broker had not seen acknowledged when it went comes again first.
		for text := ""; text != strconv.Itoa(round); {
			select {
			case text = <-log:
			case <-time.After(patience):
				t.Fatalf("round %d: no message came", round)
			}
		}
		b.stop()
		b.start()
		eventually(t, "the bridge is back", func() bool {
			return testutil.ToFloat64(br.metrics.connects) == float64(round+2) && testutil.ToFloat64(br.metrics.connected) == 1
		})
	}
}

func TestGroupSharesTheMessages(t *testing.T) {
	b := newBroker(t, "")
	one, two := make(fakeLog, 1000), make(fakeLog, 1000)
	b.run(one, nil)
	b.run(two, func(o *Options) { o.ClientID = "node-1" })
	b.publish("plant/d/data", numbers(0, 100)...)
	var got []string
	counts := map[fakeLog]int{}
	for len(got) < 100 {
		var a appended
		select {
		case a = <-one:
			counts[one]++
		case a = <-two:
			counts[two]++
		case <-time.After(patience):
			t.Fatalf("%d messages came", len(got))
		}
		a.done(nil)
		got = append(got, a.text)
	}
	want := numbers(0, 100)
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("messages lost or twice: %v", got)
	}
	if counts[one] == 0 || counts[two] == 0 {
		t.Errorf("shares are %d and %d", counts[one], counts[two])
	}
}

func TestTLSWithClientCertificateAndAPasswordThatIsPutRight(t *testing.T) {
	if _, err := exec.LookPath("mosquitto_passwd"); err != nil {
		t.Skip("mosquitto_passwd is not installed; apt-get install mosquitto")
	}
	ca, cert, key := pki(t)
	passwords := filepath.Join(t.TempDir(), "passwords")
	if out, err := exec.Command("mosquitto_passwd", "-b", "-c", passwords, "bridge", "right").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	b := newBroker(t, fmt.Sprintf("cafile %s\ncertfile %s\nkeyfile %s\nrequire_certificate true\nallow_anonymous false\npassword_file %s\n",
		ca, cert, key, passwords))
	mine := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(mine, []byte("wrong\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o := options()
	o.Broker = "mqtts://127.0.0.1:" + b.port
	o.CAFile, o.CertFile, o.KeyFile = ca, cert, key
	o.User, o.PasswordFile = "bridge", mine
	o.RetryMin, o.RetryMax = time.Millisecond, 10*time.Millisecond
	o.Registerer = prometheus.NewPedanticRegistry()
	br, _ := start(t, o)
	eventually(t, "the broker has refused the password", func() bool { return testutil.ToFloat64(br.metrics.failures) >= 2 })
	if n := testutil.ToFloat64(br.metrics.connected); n != 0 {
		t.Fatal("connected with the wrong password")
	}
	if err := os.WriteFile(mine, []byte("right\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the bridge is subscribed", func() bool { return testutil.ToFloat64(br.metrics.connected) == 1 })
	problems, err := testutil.GatherAndLint(o.Registerer.(prometheus.Gatherer))
	if err != nil || len(problems) > 0 {
		t.Errorf("metrics: %v, %v", problems, err)
	}
}

func TestBridgeWithoutABrokerKeepsTryingAndStops(t *testing.T) {
	o := options()
	o.Broker = "mqtt://127.0.0.1:1" // nobody listens there
	o.RetryMin, o.RetryMax = time.Millisecond, 2*time.Millisecond
	br, stop := start(t, o)
	eventually(t, "it has tried again", func() bool { return testutil.ToFloat64(br.metrics.failures) >= 3 })
	stop()
}

func TestPauseGrowsToItsBound(t *testing.T) {
	br, err := New(options())
	if err != nil {
		t.Fatal(err)
	}
	if d := br.pause(0); d != 0 {
		t.Errorf("pause before the first connection is %v", d)
	}
	for n := int32(1); n < 100; n++ {
		br.lost.Store(n)
		top := br.RetryMax
		if n <= 8 { // 200 ms doubled seven times is below 30 s
			top = br.RetryMin << (n - 1)
		}
		if d := br.pause(0); d < top/2 || d > top {
			t.Fatalf("pause after %d failures is %v, want %v to %v", n, d, top/2, top)
		}
	}
}

// BenchmarkBridge is a stream of messages of 100 bytes with QoS 1 from
// mosquitto_pub through mosquitto; the log is a callback.
func BenchmarkBridge(b *testing.B) {
	if _, err := exec.LookPath("mosquitto_pub"); err != nil {
		b.Skip("mosquitto_pub is not installed; apt-get install mosquitto-clients")
	}
	br := newBroker(b, "")
	log := make(readyLog, 1000)
	bridge, _ := br.run(log, nil)
	b.ReportAllocs()
	b.ResetTimer()
	const most = 10_000 // mosquitto_pub 2.0 loses lines when it has too many in flight
	for left := b.N; left > 0; left -= most {
		n := min(left, most)
		pub := exec.Command("mosquitto_pub", "-h", "127.0.0.1", "-p", br.port, "-V", "5", "-q", "1", "-l", "-t", "plant/d/data")
		pub.Stdin = strings.NewReader(strings.Repeat(strings.Repeat("x", 100)+"\n", n))
		if err := pub.Start(); err != nil {
			b.Fatal(err)
		}
		for i := range n {
			select {
			case <-log:
			case <-time.After(patience):
				b.Fatalf("%d of %d messages came; %d are in flight", i, n, len(bridge.slots))
			}
		}
		b.StopTimer()
		if err := pub.Wait(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}
