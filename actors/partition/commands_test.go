package partition

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/windows"
)

func (f *fleet) send(id, body string, headers ...string) Reply {
	f.t.Helper()
	return f.apply(device.KindCommand, id, body, append([]string{device.HeaderSize, strconv.Itoa(len(body))}, headers...)...)
}

func (f *fleet) receive(id, session string, most int) []device.Delivery {
	f.t.Helper()
	r := f.apply(device.KindReceive, id, "", device.HeaderSession, session, device.HeaderMax, strconv.Itoa(most))
	if r.Err != nil {
		f.t.Fatal(r.Err)
	}
	return r.Commands
}

func (f *fleet) settle(id, session, lock string, o device.Outcome) Reply {
	f.t.Helper()
	return f.apply(device.KindSettle, id, "", device.HeaderSession, session, device.HeaderLock, lock, device.HeaderOutcome, o.String())
}

func (f *fleet) queued(id string) int {
	f.t.Helper()
	d, err := f.core.Get(device.Ref{Device: id})
	if err != nil || d == nil {
		f.t.Fatalf("device %s: %v, %v", id, d, err)
	}
	return d.Presence.Queued
}

// queue renders what the core keeps of a device's queue beside its document.
func (f *fleet) queue(b *strings.Builder, d *Device) {
	f.t.Helper()
	for _, c := range d.Queue.Commands() {
		content, err := f.core.contents.get(contentKey(d.Identity.Ref(), c.Sequence))
		if err != nil {
			f.t.Fatal(err)
		}
		fmt.Fprintf(b, "  %d %q %q\n", c.Sequence, content.Bag, content.Body)
	}
	due, ok := f.core.due.times[d.Identity.Ref().Key()]
	if ok != (d.Queue.Len() > 0) || ok && due != (scheduled{windows.TickOf(d.Queue.Next()), d.Queue.Len()}) {
		f.t.Fatalf("due %v, %v with %d commands, next %v", due, ok, d.Queue.Len(), d.Queue.Next())
	}
}

// randomCommand applies one record about the queue of any device.
func (f *fleet) randomCommand(r *rand.Rand) {
	id, session := fmt.Sprintf("d%02d", r.IntN(3)), []string{"", "s0", "s1"}[r.IntN(3)]
	module := []string{device.HeaderModule, "m1"}[:2*r.IntN(2)]
	switch r.IntN(8) {
	case 0, 1, 2:
		headers := []string{device.HeaderBag, "a=b", device.HeaderAck, []string{"none", "full"}[r.IntN(2)]}
		if r.IntN(2) == 0 {
			until := (base + windows.Tick(len(f.log)+r.IntN(90))*windows.Second).Time().UnixMilli()
			headers = append(headers, device.HeaderExpires, strconv.FormatInt(until, 10))
		}
		f.send(id, strings.Repeat("x", r.IntN(300)), append(headers, module...)...)
	case 3, 4:
		f.apply(device.KindReceive, id, "", append(module, device.HeaderSession, session, device.HeaderMax, strconv.Itoa(1+r.IntN(3)))...)
	case 5:
		lock := lockToken(2, int64(max(0, len(f.log)-1-r.IntN(9))), 0)
		f.apply(device.KindSettle, id, "", append(module, device.HeaderSession, session, device.HeaderLock, lock, device.HeaderOutcome, device.Outcome(r.IntN(3)).String())...)
	case 6:
		f.apply([]string{device.KindDue, device.KindPurge}[r.IntN(2)], id, "", module...)
	case 7:
		headers := []string{device.HeaderLock, lockToken(2, int64(max(0, len(f.log)-1-r.IntN(5))), 0), device.HeaderOutcome, device.Outcome(r.IntN(2)).String()}
		f.apply(device.KindFeedback, id, "", headers[:r.IntN(2)*4]...)
	}
}

func TestACommandIsDeliveredWithItsContentAndCounted(t *testing.T) {
	f := newFleet(t)
	wantErr(t, f.send("d1", "x"), device.ErrNotFound)
	f.apply(device.KindIdentity, "d1", change(t, "d1", "", 0))
	sent := f.send("d1", "hello", device.HeaderBag, "k=v", device.HeaderMessageID, "m1")
	wantErr(t, sent, nil)
	if sent.Offset != int64(len(f.log)-1) || f.queued("d1") != 1 {
		t.Errorf("sent at %d, %d queued", sent.Offset, f.queued("d1"))
	}
	f.flush()
	f.open(int64(len(f.log)))
	got := f.receive("d1", "s1", 5)
	if len(got) != 1 || string(got[0].Body) != "hello" || got[0].Bag != "k=v" || got[0].MessageID != "m1" || got[0].Deliveries != 1 {
		t.Fatalf("received %+v", got)
	}
	if again := f.receive("d1", "s1", 5); len(again) > 0 {
		t.Fatalf("a locked command was given again: %+v", again)
	}
	wantErr(t, f.settle("d1", "s0", got[0].Lock, device.OutcomeComplete), device.ErrLockLost)
	wantErr(t, f.settle("d1", "s1", got[0].Lock, device.OutcomeComplete), nil)
	wantErr(t, f.settle("d1", "s1", got[0].Lock, device.OutcomeComplete), device.ErrLockLost)
	if f.queued("d1") != 0 {
		t.Errorf("%d queued", f.queued("d1"))
	}
	f.commit()
	if keys := len(f.state); keys != 1 || !strings.Contains(string(f.twins["d1"]), `"cloudToDeviceMessageCount":0`) {
		t.Errorf("%d state records, twin %s", keys, f.twins["d1"])
	}
}

func TestAQueueHasRoomForFifty(t *testing.T) {
	f := newFleet(t)
	f.apply(device.KindIdentity, "d1", change(t, "d1", "", 0))
	for range device.MaxCommands {
		wantErr(t, f.send("d1", "x"), nil)
	}
	wantErr(t, f.send("d1", "x"), device.ErrQueueFull)
	r := f.apply(device.KindPurge, "d1", "")
	if r.Count != device.MaxCommands || f.queued("d1") != 0 {
		t.Errorf("purged %d, %d left", r.Count, f.queued("d1"))
	}
	wantErr(t, f.send("d1", "x"), nil)
	wantErr(t, f.send("d1", "x", device.HeaderAck, "loud"), device.ErrArgument)
	wantErr(t, f.apply(device.KindCommand, "d1", "long", device.HeaderSize, "1"), device.ErrArgument)
}

// What a hub sets about commands goes along in the records; a record that says
// what no hub may is refused.
func TestRulesOfCommandsComeFromTheirRecords(t *testing.T) {
	f := newFleet(t)
	f.apply(device.KindIdentity, "d1", change(t, "d1", "", 0))
	at := int64(len(f.log))
	wantErr(t, f.send("d1", "x", device.HeaderTTL, "90000", device.HeaderDeliveries, "1", device.HeaderFeedback, "60000", device.HeaderAck, "full"), nil)
	arrival := base + windows.Tick(at)*windows.Second
	if next := f.core.due.times["d1"].at; next != arrival+90*windows.Second {
		t.Errorf("it waits until %v, sent at %v", next, arrival)
	}
	got := f.apply(device.KindReceive, "d1", "", device.HeaderMax, "1", device.HeaderLockTime, "5000").Commands
	if len(got) != 1 || got[0].LockedUntil != (arrival+6*windows.Second).Time() {
		t.Fatalf("received %+v", got)
	}
	wantErr(t, f.settle("d1", "", got[0].Lock, device.OutcomeAbandon), nil)
	item := f.core.feedback.items[0]
	if item.End != device.EndDeliveries || item.expires.Sub(item.Ended) != time.Minute {
		t.Errorf("feedback %+v", item)
	}
	for _, h := range [][2]string{
		{device.HeaderTTL, "59999"}, {device.HeaderTTL, "172800001"}, {device.HeaderTTL, "0"}, {device.HeaderTTL, "1h"},
		{device.HeaderDeliveries, "0"}, {device.HeaderDeliveries, "101"}, {device.HeaderDeliveries, "-1"},
		{device.HeaderFeedback, "1"}, {device.HeaderFeedback, "99999999999999999999"},
	} {
		wantErr(t, f.send("d1", "x", h[:]...), device.ErrArgument)
	}
	for _, v := range []string{"4999", "300001", "x"} {
		wantErr(t, f.apply(device.KindReceive, "d1", "", device.HeaderMax, "1", device.HeaderLockTime, v), device.ErrArgument)
	}
}

func TestALostSessionGivesItsCommandsBack(t *testing.T) {
	for name, lose := range map[string]func(*fleet){
		"disconnected": func(f *fleet) { f.apply(device.KindDisconnected, "d1", "", device.HeaderSession, "s1") },
		"taken over":   func(f *fleet) { f.apply(device.KindConnected, "d1", "", device.HeaderSession, "s2") },
	} {
		f := newFleet(t)
		f.apply(device.KindIdentity, "d1", change(t, "d1", "", 0))
		f.apply(device.KindConnected, "d1", "", device.HeaderSession, "s1")
		for i := range 3 {
			f.send("d1", fmt.Sprint(i))
		}
		first := f.receive("d1", "s1", 2)
		lose(f)
		wantErr(t, f.settle("d1", "s1", first[0].Lock, device.OutcomeComplete), device.ErrLockLost)
		f.apply(device.KindConnected, "d1", "", device.HeaderSession, "s2")
		var order []string
		for _, c := range f.receive("d1", "s2", 9) {
			order = append(order, string(c.Body))
		}
		if !slices.Equal(order, []string{"0", "1", "2"}) {
			t.Errorf("%s: redelivered %q", name, order)
		}
	}
}

func TestTimeEndsCommandsByARecord(t *testing.T) {
	f := newFleet(t)
	f.apply(device.KindIdentity, "d1", change(t, "d1", "", 0))
	f.apply(device.KindConnected, "d1", "", device.HeaderSession, "s1")
	f.send("d1", "short", device.HeaderExpires, strconv.FormatInt((base+30*windows.Second).Time().UnixMilli(), 10), device.HeaderAck, "negative", device.HeaderMessageID, "m")
	if got := f.core.Due(base+29*windows.Second, 10); len(got) > 0 {
		t.Fatalf("due %v", got)
	}
	if got := f.core.Due(base+30*windows.Second, 10); !slices.Equal(got, []string{"d1"}) {
		t.Fatalf("due %v", got)
	}
	for len(f.log) < 31 {
		f.apply(device.KindTelemetry, "x", "")
	}
	f.apply(device.KindDue, "d1", "")
	if f.queued("d1") != 0 || len(f.core.Due(base+windows.Hour, 10)) > 0 {
		t.Errorf("%d queued", f.queued("d1"))
	}
	rows := strings.Join(f.commit(), "\n")
	if !strings.Contains(rows, `"reason":"command","detail":"Expired, message id \"m\""`) || !strings.Contains(rows, `"payload":"short"`) {
		t.Errorf("no dead letter in %s", rows)
	}
	b := f.apply(device.KindFeedback, "d1", "").Feedback
	if b == nil || len(b.Records) != 1 || b.Records[0].End != device.EndExpired || b.Records[0].MessageID != "m" || b.Records[0].GenerationID == "" {
		t.Fatalf("feedback %+v", b)
	}
}

func TestWaitingCommandsAreOfferedToTheLiveSession(t *testing.T) {
	f := newFleet(t)
	offers := func() (n int) {
		for _, notice := range f.core.Effects().Notices {
			if notice.Kind == NoticeCommands {
				n++
			}
		}
		return n
	}
	f.apply(device.KindIdentity, "d1", change(t, "d1", "", 0))
	f.send("d1", "x")
	if offers() != 0 {
		t.Error("offered while nobody is connected")
	}
	f.apply(device.KindConnected, "d1", "", device.HeaderSession, "s1")
	f.send("d1", "y")
	if offers() != 1 {
		t.Errorf("%d offers after a send", offers())
	}
	got := f.receive("d1", "s1", 9)
	f.settle("d1", "s1", got[0].Lock, device.OutcomeComplete)
	if offers() != 1 {
		t.Error("offered although nothing waits")
	}
	f.settle("d1", "s1", got[1].Lock, device.OutcomeAbandon)
	if offers() != 2 {
		t.Error("not offered again after an abandon")
	}
}

func TestFeedbackIsReadUnderALock(t *testing.T) {
	f := newFleet(t)
	f.apply(device.KindIdentity, "d1", change(t, "d1", "", 0))
	for i := range 3 {
		f.send("d1", "x", device.HeaderAck, "full", device.HeaderMessageID, fmt.Sprint("m", i))
	}
	f.apply(device.KindPurge, "d1", "")
	read := func() *device.FeedbackBatch { return f.apply(device.KindFeedback, "d1", "").Feedback }
	settle := func(lock string, o device.Outcome) Reply {
		return f.apply(device.KindFeedback, "d1", "", device.HeaderLock, lock, device.HeaderOutcome, o.String())
	}
	first := read()
	if first == nil || len(first.Records) != 3 || read() != nil {
		t.Fatalf("first read %+v", first)
	}
	if id, ok := f.core.FeedbackOf(f.core.Arrival(), first.Lock); !ok || id != "d1" {
		t.Errorf("lock leads to %q, %v", id, ok)
	}
	wantErr(t, settle(first.Lock, device.OutcomeAbandon), nil)
	wantErr(t, settle(first.Lock, device.OutcomeComplete), device.ErrLockLost)
	second := read()
	wantErr(t, settle(second.Lock, device.OutcomeComplete), nil)
	if read() != nil || len(f.core.feedback.items) != 0 {
		t.Error("completed feedback is still there")
	}
}

func TestFeedbackIsBounded(t *testing.T) {
	f := newFleet(t)
	f.apply(device.KindIdentity, "d1", change(t, "d1", "", 0))
	for range maxFeedback/device.MaxCommands + 1 {
		for range device.MaxCommands {
			f.send("d1", "", device.HeaderAck, "full")
		}
		f.apply(device.KindPurge, "d1", "")
	}
	if n := len(f.core.feedback.items); n != maxFeedback || f.core.feedback.dropped != device.MaxCommands {
		t.Errorf("%d kept, %d dropped", n, f.core.feedback.dropped)
	}
}

func TestADeletedDeviceLeavesNoCommands(t *testing.T) {
	f := newFleet(t)
	f.apply(device.KindIdentity, "d1", change(t, "d1", "", 0))
	f.send("d1", "x")
	f.flush()
	f.apply(device.KindDelete, "d1", "")
	f.flush()
	if len(f.state) != 0 {
		t.Errorf("state topic %v", f.state)
	}
	for k := range f.store {
		if k != string(countsKey) {
			t.Errorf("store still has %q", k)
		}
	}
}

func FuzzFeedbackBytes(f *testing.F) {
	item := feedbackItem{seq: 7, Feedback: device.Feedback{MessageID: "m", DeviceID: "d1", End: device.EndExpired, Ended: base.Time()}, lock: "l", until: base.Time()}
	f.Add(item.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := decodeFeedback(7, b)
		if err == nil && string(got.append(nil)) != string(b) {
			t.Fatalf("%x became %x", b, got.append(nil))
		}
	})
}
