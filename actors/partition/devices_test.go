package partition

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/windows"
)

// fleet feeds a Devices core.
type fleet struct {
	t     testing.TB
	core  *Devices
	store memory
	log   []Record
	// what commits have written
	state, twins map[string][]byte
}

func devicesOptions(s windows.State) DevicesOptions {
	return DevicesOptions{Partition: 2, State: s, StateTopic: "state", TwinsTopic: "twins", DeadLetter: "dead", Source: "log", CacheItems: 4,
		Routing: RoutingTopics{Events: "events", WebhookPrefix: "hub.webhook.", HubName: "myhub"}}
}

func newFleet(t testing.TB) *fleet {
	f := &fleet{t: t, store: memory{}, state: map[string][]byte{}, twins: map[string][]byte{}}
	f.open(0)
	return f
}

func (f *fleet) open(position int64) {
	f.t.Helper()
	core, err := NewDevices(devicesOptions(f.store), position)
	if err != nil {
		f.t.Fatal(err)
	}
	f.core = core
}

// apply appends a control record to the log and returns its reply. The record's
// bytes are destroyed after: the core must not keep them.
func (f *fleet) apply(kind, id, body string, headers ...string) Reply {
	f.t.Helper()
	r := Record{Offset: int64(len(f.log)), Arrival: base + windows.Tick(len(f.log))*windows.Second, Key: []byte(id), Value: []byte(body)}
	r.Headers = []Header{{device.HeaderKind, []byte(kind)}, {device.HeaderRequest, []byte("n/1")}}
	for i := 0; i < len(headers); i += 2 {
		r.Headers = append(r.Headers, Header{headers[i], []byte(headers[i+1])})
	}
	f.log = append(f.log, r)
	before := len(f.core.Effects().Replies)
	f.feed(r)
	replies := f.core.Effects().Replies[before:]
	if len(replies) == 0 {
		return Reply{}
	}
	if len(replies) > 1 || replies[0].Request != "n/1" {
		f.t.Fatalf("replies %+v", replies)
	}
	return replies[0]
}

func (f *fleet) feed(r Record) {
	f.t.Helper()
	c := r
	c.Key, c.Value = slices.Clone(r.Key), slices.Clone(r.Value)
	c.Headers = slices.Clone(r.Headers)
	for i := range c.Headers {
		c.Headers[i].Value = slices.Clone(c.Headers[i].Value)
	}
	if err := f.core.Apply(&c); err != nil {
		f.t.Fatal(err)
	}
	scribble(c.Key, c.Value)
	for _, h := range c.Headers {
		scribble(h.Value)
	}
}

func scribble(all ...[]byte) {
	for _, b := range all {
		for i := range b {
			b[i] = 0xfe
		}
	}
}

// commit keeps what a transaction would have written.
func (f *fleet) commit() []string {
	e := f.core.Take(&Effects{})
	for i := range e.Len() {
		o := e.Output(i)
		to := map[string]map[string][]byte{"state": f.state, "twins": f.twins}[o.Topic]
		switch {
		case to == nil:
		case o.Value == nil:
			delete(to, string(o.Key))
		default:
			to[string(o.Key)] = slices.Clone(o.Value)
		}
	}
	return lines(e)
}

func (f *fleet) flush() {
	f.t.Helper()
	f.commit()
	if err := f.core.Save(memoryBatch{f.store}); err != nil {
		f.t.Fatal(err)
	}
}

// all renders every device and the counts.
func (f *fleet) all() string {
	f.t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "%+v\n", f.core.Statistics())
	list, err := f.core.List("", 1000)
	if err != nil {
		f.t.Fatal(err)
	}
	for i := range list {
		got, err := f.core.Get(list[i].Identity.Ref())
		if err != nil || got == nil {
			f.t.Fatalf("listed device %q: %v, %v", list[i].Identity.DeviceID, got, err)
		}
		enc, err := appendDevice(nil, got)
		if err != nil {
			f.t.Fatal(err)
		}
		listed, err := appendDevice(nil, &list[i])
		if err != nil || string(enc) != string(listed) {
			f.t.Fatalf("device %q listed otherwise than got: %v", got.Identity.DeviceID, err)
		}
		fmt.Fprintf(&b, "%s %x\n", list[i].Identity.DeviceID, enc)
		f.queue(&b, got)
		modules, _, err := f.core.Modules(list[i].Identity.DeviceID)
		if err != nil {
			f.t.Fatal(err)
		}
		for j := range modules {
			enc, err := appendDevice(nil, &modules[j])
			if err != nil {
				f.t.Fatal(err)
			}
			fmt.Fprintf(&b, " %s %x\n", modules[j].Identity.ModuleID, enc)
			f.queue(&b, &modules[j])
		}
	}
	for i := range f.core.feedback.items {
		fmt.Fprintf(&b, "feedback %d %x\n", f.core.feedback.items[i].seq, f.core.feedback.items[i].append(nil))
	}
	return b.String()
}

func change(t testing.TB, id, ifMatch string, status device.Status) string {
	c := device.Change{IfMatch: ifMatch, Wanted: device.Identity{
		DeviceID: id, Status: status, Auth: device.Auth{Primary: []byte("sealed-1"), Secondary: []byte("sealed-2")},
	}}
	b, err := c.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func wantErr(t *testing.T, r Reply, want error) {
	t.Helper()
	if !errors.Is(r.Err, want) || want == nil && r.Err != nil {
		t.Errorf("reply %v, want %v", r.Err, want)
	}
}

func TestIdentityChangesFollowTheirEtags(t *testing.T) {
	f := newFleet(t)
	wantErr(t, f.apply(device.KindIdentity, "d1", change(t, "d1", "*", 0)), device.ErrNotFound)
	made := f.apply(device.KindIdentity, "d1", change(t, "d1", "", 0))
	wantErr(t, made, nil)
	etag := made.Document.Identity.ETag
	wantErr(t, f.apply(device.KindIdentity, "d1", change(t, "d1", "", 0)), device.ErrExists)
	wantErr(t, f.apply(device.KindIdentity, "d1", change(t, "d1", "other", 0)), device.ErrPrecondition)
	r := f.apply(device.KindIdentity, "d1", change(t, "d1", etag, device.Disabled))
	wantErr(t, r, nil)
	if r.Document.Identity.ETag == etag || r.Document.Identity.GenerationID != made.Document.Identity.GenerationID {
		t.Errorf("updated identity %+v of %+v", r.Document.Identity, made.Document.Identity)
	}
	if got, want := f.core.Statistics(), (device.Statistics{Total: 1, Disabled: 1}); got != want {
		t.Errorf("counts %+v, want %+v", got, want)
	}
	wantErr(t, f.apply(device.KindDelete, "d1", "", device.HeaderIfMatch, etag), device.ErrPrecondition)
	wantErr(t, f.apply(device.KindDelete, "d1", "", device.HeaderIfMatch, "*"), nil)
	wantErr(t, f.apply(device.KindDelete, "d1", ""), device.ErrNotFound)
	again := f.apply(device.KindIdentity, "d1", change(t, "d1", "", 0))
	if again.Document.Identity.GenerationID == made.Document.Identity.GenerationID {
		t.Error("a device made again has the generation of the deleted one")
	}
	if got, want := f.core.Statistics(), (device.Statistics{Total: 1, Enabled: 1}); got != want {
		t.Errorf("counts %+v, want %+v", got, want)
	}
	notices := 0
	for _, n := range f.core.Effects().Notices {
		if n.Ref.Device == "d1" && n.Kind == NoticeIdentity {
			notices++
		}
	}
	if notices != 4 {
		t.Errorf("%d notices, want one for each change that was made", notices)
	}
}

func TestTwinPatches(t *testing.T) {
	f := newFleet(t)
	wantErr(t, f.apply(device.KindReported, "d1", `{"a":1}`), device.ErrNotFound)
	wantErr(t, f.apply(device.KindTwin, "d1", `{}`), device.ErrNotFound)
	f.apply(device.KindIdentity, "d1", change(t, "d1", "", 0))
	r := f.apply(device.KindReported, "d1", `{"fw":{"v":"1.2"}}`)
	wantErr(t, r, nil)
	if r.Version != 2 {
		t.Errorf("reported version %d, want 2", r.Version)
	}
	wantErr(t, f.apply(device.KindReported, "d1", `{"fw":`), device.ErrFormat)
	r = f.apply(device.KindTwin, "d1", `{"tags":{"site":"x"},"properties":{"desired":{"rate":5}}}`)
	wantErr(t, r, nil)
	n := f.core.Effects().Notices
	if last := n[len(n)-1]; last.Kind != NoticeDesired || last.Version != 2 || string(last.Patch) != `{"rate":5,"$version":2}` {
		t.Errorf("notice %+v %s", last, last.Patch)
	}
	etag := r.Document.Twin.ETag()
	wantErr(t, f.apply(device.KindTwin, "d1", `{"tags":{"site":null}}`, device.HeaderIfMatch, "AAAA"), device.ErrPrecondition)
	before := len(f.core.Effects().Notices)
	wantErr(t, f.apply(device.KindTwin, "d1", `{"tags":{"site":null}}`, device.HeaderIfMatch, etag), nil)
	if len(f.core.Effects().Notices) != before {
		t.Error("a change of tags was told to the device")
	}
	r = f.apply(device.KindTwin, "d1", `{"properties":{"desired":{"x":1}}}`, device.HeaderReplace, "true")
	wantErr(t, r, nil)
	if view := string(r.Document.AppendServiceView(nil)); !strings.Contains(view, `"desired":{"x":1,`) || strings.Contains(view, "rate") {
		t.Errorf("replaced twin %s", view)
	}
	if strings.Contains(string(r.Document.AppendServiceView(nil)), "sealed") {
		t.Error("the service view holds a key")
	}
}

// A disconnect of a session that is not the current one is ignored, and so is
// the presence of devices that are not there.
func TestPresenceIsOfTheCurrentSession(t *testing.T) {
	f := newFleet(t)
	f.apply(device.KindConnected, "d1", "", device.HeaderSession, "s0")
	f.apply(device.KindIdentity, "d1", change(t, "d1", "", 0))
	connected := func() bool {
		d, err := f.core.Get(device.Ref{Device: "d1"})
		if err != nil {
			t.Fatal(err)
		}
		if got := f.core.Statistics().Connected; (got == 1) != d.Presence.Connected {
			t.Errorf("%d are counted as connected", got)
		}
		return d.Presence.Connected
	}
	for _, s := range []struct {
		kind, session, module string
		want                  bool
	}{
		{device.KindConnected, "s1", "", true},
		{device.KindConnected, "s2", "", true},
		{device.KindDisconnected, "s1", "", true},
		{device.KindDisconnected, "s2", "m", true},
		{device.KindDisconnected, "s2", "", false},
		{device.KindDisconnected, "s2", "", false},
		{device.KindConnected, "s3", "", true},
	} {
		headers := []string{device.HeaderSession, s.session}
		if s.module != "" {
			headers = append(headers, device.HeaderModule, s.module)
		}
		f.apply(s.kind, "d1", "", headers...)
		if connected() != s.want {
			t.Fatalf("after %+v connected is %v", s, !s.want)
		}
	}
	f.apply(device.KindDelete, "d1", "")
	if got := f.core.Statistics(); got != (device.Statistics{}) {
		t.Errorf("counts after the last delete %+v", got)
	}
}

// Records that can't be applied are dead letters, whoever waits for them.
func TestUnusableControlRecords(t *testing.T) {
	f := newFleet(t)
	wantErr(t, f.apply(device.KindIdentity, "d1", change(t, "d2", "", 0)), device.ErrArgument)
	if r := f.apply(device.KindIdentity, "d1", "\x07"); r.Err == nil {
		t.Error("a damaged change was accepted")
	}
	f.apply("mystery"+strings.Repeat("!", 100), "d1", "")
	got := f.commit()
	if len(got) != 3 {
		t.Fatalf("dead letters %q", got)
	}
	for i, row := range got {
		if !strings.HasPrefix(row, `dead "d1" {"reason":"control"`) || !strings.Contains(row, fmt.Sprintf(`"partition":2,"offset":%d`, i)) {
			t.Errorf("dead letter %s", row)
		}
	}
}

// The changelog has one record a device and commit, with its newest state.
func TestChangelogHasOneRecordADevice(t *testing.T) {
	f := newFleet(t)
	f.apply(device.KindIdentity, "d1", change(t, "d1", "", 0))
	for i := range 5 {
		f.apply(device.KindReported, "d1", fmt.Sprintf(`{"n":%d}`, i))
	}
	f.apply(device.KindIdentity, "d2", change(t, "d2", "", 0))
	f.apply(device.KindDelete, "d2", "")
	got := slices.DeleteFunc(f.commit(), func(row string) bool { return strings.HasPrefix(row, `events "`) })
	if len(got) != 4 || !strings.Contains(got[1], `"n":4`) || got[2] != `state "d2" deleted` || got[3] != `twins "d2" deleted` {
		t.Errorf("changelog %q", got)
	}
	if len(f.commit()) != 0 {
		t.Error("an unchanged device was written again")
	}
	f.apply(device.KindReported, "d1", `{"n":9}`)
	if err := f.core.Save(memoryBatch{f.store}); err == nil {
		t.Error("a save went before the changelog")
	}
}

// randomRecord applies one record of any kind.
func (f *fleet) randomRecord(r *rand.Rand) {
	id := fmt.Sprintf("d%02d", r.IntN(20))
	session := fmt.Sprintf("s%d", r.IntN(3))
	switch r.IntN(15) {
	case 14:
		f.apply(device.KindIdentity, id, moduleChange(f.t, id, "m1", ""), device.HeaderModule, "m1")
	case 9, 10, 11, 12, 13:
		f.randomCommand(r)
	case 0, 1:
		f.apply(device.KindIdentity, id, change(f.t, id, "", device.Status(r.IntN(2))))
	case 2:
		f.apply(device.KindIdentity, id, change(f.t, id, "*", device.Status(r.IntN(2))))
	case 3:
		f.apply(device.KindDelete, id, "", device.HeaderIfMatch, "*")
	case 4, 5:
		f.apply(device.KindReported, id, fmt.Sprintf(`{"k%d":{"n":%d}}`, r.IntN(4), r.IntN(100)))
	case 6:
		f.apply(device.KindTwin, id, fmt.Sprintf(`{"tags":{"t":%d},"properties":{"desired":{"k%d":%d}}}`, r.IntN(9), r.IntN(4), r.IntN(100)))
	case 7:
		f.apply(device.KindConnected, id, "", device.HeaderSession, session)
	case 8:
		f.apply(device.KindDisconnected, id, "", device.HeaderSession, session)
	}
}

// After any history the core has the same devices and counts, whether it went
// on, came back from its store and the log after it, or was rebuilt from the
// state topic; and what it commits from there on is the same.
func TestDevicesComeBackAsTheyWere(t *testing.T) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 4))
		f := newFleet(t)
		flushed := 0
		for range 150 {
			f.randomRecord(r)
			switch r.IntN(12) {
			case 0:
				f.flush()
				flushed = len(f.log)
			case 1, 2:
				f.commit()
			}
		}
		f.commit()
		want := f.all()

		back := &fleet{t: t, store: f.store, state: map[string][]byte{}, twins: map[string][]byte{}, log: f.log}
		back.open(int64(flushed))
		back.core.Suppress(true)
		for _, rec := range f.log[flushed:] {
			back.feed(rec)
		}
		if e := back.core.Effects(); !e.Empty() || len(e.Replies)+len(e.Notices) > 0 {
			t.Fatalf("seed %d: a suppressed replay had effects", seed)
		}
		back.core.Suppress(false)
		if got := back.commit(); len(got) > 0 {
			t.Fatalf("seed %d: a replay was committed again: %q", seed, got)
		}
		if got := back.all(); got != want {
			t.Fatalf("seed %d: from the store\n%s\nwant\n%s", seed, got, want)
		}

		rebuilt := &fleet{t: t, store: memory{}, state: map[string][]byte{}, twins: map[string][]byte{}, log: f.log}
		rebuilt.open(0)
		for id, v := range f.state {
			if r.IntN(2) == 0 { // an older record that compaction left
				if err := rebuilt.core.Restore(id, nil); err != nil {
					t.Fatal(err)
				}
			}
			if err := rebuilt.core.Restore(id, v); err != nil {
				t.Fatal(err)
			}
		}
		rebuilt.core.Skip(int64(len(f.log)))
		if got := rebuilt.all(); got != want {
			t.Fatalf("seed %d: from the state topic\n%s\nwant\n%s", seed, got, want)
		}
		if got := rebuilt.commit(); len(got) > 0 {
			t.Fatalf("seed %d: a rebuild was committed again: %q", seed, got)
		}

		rec := Record{Offset: int64(len(f.log)), Arrival: base + windows.Hour, Key: []byte("d03"), Value: []byte(`{"x":1}`), Headers: []Header{{device.HeaderKind, []byte(device.KindReported)}}}
		var next []string
		for _, c := range []*fleet{f, back, rebuilt} {
			c.feed(rec)
			next = append(next, strings.Join(c.commit(), "\n"))
		}
		if next[0] != next[1] || next[0] != next[2] {
			t.Fatalf("seed %d: commits differ: %q", seed, next)
		}
	}
}

// A list merges what is saved and what is not, in order of id, in pages.
func TestListMergesSavedAndChanged(t *testing.T) {
	f := newFleet(t)
	put := func(ids ...string) {
		for _, id := range ids {
			f.apply(device.KindIdentity, id, change(t, id, "", 0))
		}
	}
	put("b", "d", "f", "h")
	f.flush()
	put("a", "e", "i")
	f.apply(device.KindDelete, "d", "")
	f.apply(device.KindReported, "f", `{"n":1}`)
	for _, c := range []struct {
		after string
		limit int
		want  string
	}{
		{"", 10, "a b e f h i"}, {"", 3, "a b e"}, {"b", 2, "e f"}, {"c", 2, "e f"}, {"d", 1, "e"}, {"h", 5, "i"}, {"i", 5, ""}, {"", 1, "a"}, {"", 0, ""}, {"f", 1, "h"},
	} {
		list, err := f.core.List(c.after, c.limit)
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, d := range list {
			ids = append(ids, d.Identity.DeviceID)
		}
		if got := strings.Join(ids, " "); got != c.want {
			t.Errorf("List(%q, %d) = %s, want %s", c.after, c.limit, got, c.want)
		}
	}
}

// A state of another version, or damaged, is refused.
func TestDamagedDevicesAreRefused(t *testing.T) {
	f := newFleet(t)
	f.apply(device.KindIdentity, "d1", change(t, "d1", "", 0))
	f.flush()
	key := string(deviceKey("d1"))
	whole := f.store[key]
	for n := range len(whole) {
		f.store[key] = whole[:n]
		f.open(1)
		if _, err := f.core.Get(device.Ref{Device: "d1"}); err == nil {
			t.Fatalf("%d of %d bytes were accepted", n, len(whole))
		}
	}
	f.store[key] = append(slices.Clone(whole), 0)
	f.open(1)
	if _, err := f.core.Get(device.Ref{Device: "d1"}); !errors.Is(err, errCorrupt) {
		t.Errorf("bytes after the end: %v", err)
	}
	f.store[string(countsKey)] = []byte{2}
	if _, err := NewDevices(devicesOptions(f.store), 1); !errors.Is(err, errCorrupt) {
		t.Errorf("counts of another version: %v", err)
	}
}

// Times outlive the encoding; never stays never.
func TestPresenceTimesAreKept(t *testing.T) {
	d := Device{Session: "s"}
	d.Twin = device.NewTwin()
	d.Identity = device.Identity{DeviceID: "d", Auth: device.Auth{Type: device.AuthNone}}
	d.Presence.LastActivity = time.Date(2024, 2, 29, 1, 2, 3, 400, time.UTC)
	b, err := appendDevice(nil, &d)
	if err != nil {
		t.Fatal(err)
	}
	got, err := decodeDevice(b)
	if err != nil || !got.Presence.LastActivity.Equal(d.Presence.LastActivity) || !got.Presence.Updated.IsZero() || got.Session != "s" {
		t.Errorf("%+v, %v", got, err)
	}
}

// A host saves by what Unsaved says, and until then changed documents stay in
// memory.
func TestChangedDocumentsAreSavedLongBeforeAsManyRecordsWouldBe(t *testing.T) {
	d, err := NewDevices(DevicesOptions{State: memory{}, StateTopic: "state", TwinsTopic: "twins", DeadLetter: "dead"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	const devices = 50
	for i := range devices {
		c := device.Change{Wanted: device.Identity{DeviceID: fmt.Sprint("d", i), Auth: device.Auth{Type: device.AuthCA}}}
		body, err := c.AppendBinary(nil)
		if err != nil {
			t.Fatal(err)
		}
		r := Record{Offset: int64(i), Arrival: base, Key: []byte(c.Wanted.DeviceID), Value: body, Headers: []Header{{device.HeaderKind, []byte(device.KindIdentity)}}}
		if err := d.Apply(&r); err != nil {
			t.Fatal(err)
		}
	}
	d.Take(&Effects{})
	if got := d.Unsaved(); got != devices*changedWeight {
		t.Errorf("%d unsaved records for %d documents, want %d", got, devices, devices*changedWeight)
	}
	if err := d.Save(memoryBatch{memory{}}); err != nil {
		t.Fatal(err)
	}
	if got := d.Unsaved(); got != 0 {
		t.Errorf("%d unsaved records after a save", got)
	}
}
