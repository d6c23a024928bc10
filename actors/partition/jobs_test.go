package partition

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/gemello/gemello/device"
)

// shelved renders jobs and configurations with all that a core knows of them.
func (f *fleet) shelved() string {
	f.t.Helper()
	var b strings.Builder
	for _, kind := range []string{shelfJob, shelfDef, shelfPart, shelfRow, shelfConfig, shelfTally, shelfSweep} {
		err := f.core.shelf.scan(kind, "", func(name string, v []byte) (bool, error) {
			fmt.Fprintf(&b, "%s %s\n", name, v)
			return true, nil
		})
		if err != nil {
			f.t.Fatal(err)
		}
	}
	return b.String()
}

// checkJobs compares the counts of every job with its rows.
func (f *fleet) checkJobs() {
	f.t.Helper()
	ids, err := f.core.JobIDs("", 100)
	if err != nil {
		f.t.Fatal(err)
	}
	for _, id := range ids {
		var want device.JobCounts
		for after, more := "", true; more; more = after != "" {
			if after, err = f.core.JobRows(id, after, 3, func(r *JobDevice) bool {
				want.Total++
				want.Add(r.Row.Status, +1)
				return true
			}); err != nil {
				f.t.Fatal(err)
			}
		}
		part, err := f.core.JobPart(id)
		if err != nil || part.Counts != want {
			f.t.Fatalf("job %s counts %+v, its rows %+v (%v)", id, part.Counts, want, err)
		}
	}
}

// checkConfigurations compares the tallies, and with all swept the devices, with
// what the configurations say.
func (f *fleet) checkConfigurations() {
	f.t.Helper()
	s, err := f.core.Configurations()
	if err != nil {
		f.t.Fatal(err)
	}
	list, err := f.core.List("", 1000)
	if err != nil {
		f.t.Fatal(err)
	}
	want := map[string]ConfigurationCounts{}
	for i := range list {
		c, err := list[i].configured()
		if err != nil {
			f.t.Fatal(err)
		}
		for id, status := range c.Status {
			n := want[id]
			n.Targeted++
			if status == statusApplied {
				n.Applied++
			}
			want[id] = n
		}
		if !s.Swept {
			continue
		}
		// Of c1 and c2 the latter has the higher priority.
		site := strings.Contains(string(list[i].Twin.Tags.AppendDocument(nil)), `"site":"a"`)
		expected := `{}`
		_, one := s.Revisions["c1"]
		_, two := s.Revisions["c2"]
		switch {
		case two && site:
			expected = `{"v":2}`
		case one:
			expected = `{"v":1}`
		}
		if got := string(list[i].Twin.Desired.AppendDocument(nil)); got != expected {
			f.t.Fatalf("%s has %s, want %s (site %v, configurations %v)", list[i].Identity.DeviceID, got, expected, site, s.Revisions)
		}
		_, three := s.Revisions["c3"]
		module, err := f.core.Get(device.Ref{Device: list[i].Identity.DeviceID, Module: "m"})
		if err != nil {
			f.t.Fatal(err)
		}
		if expected = `{}`; three && site && list[i].Identity.IoTEdge {
			expected = `{"v":3}`
		}
		if module == nil && expected == `{}` {
			continue
		}
		if module == nil || string(module.Twin.Desired.AppendDocument(nil)) != expected {
			f.t.Fatalf("module of %s is %+v, want %s", list[i].Identity.DeviceID, module, expected)
		}
	}
	for id, n := range s.Counts {
		if n != want[id] {
			f.t.Fatalf("configuration %s counts %+v, its devices are %+v", id, n, want[id])
		}
	}
}

func jobBody(t *testing.T, id, body string) string {
	j, err := device.ParseJob(id, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(&j)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestJobsAndConfigurationsSurviveCrashes runs random records, repeated ones
// among them, and shows after crashes of both kinds, with the store and without
// it, that the state is what it was and that no device was changed twice.
func TestJobsAndConfigurationsSurviveCrashes(t *testing.T) {
	for seed := range uint64(12) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		f := newFleet(t)
		saved, committed := 0, 0
		applied := map[string]int{}
		revision := 1
		for range 400 {
			id, job := fmt.Sprintf("d%d", rnd.IntN(9)), fmt.Sprintf("j%d", rnd.IntN(3))
			switch rnd.IntN(14) {
			case 0, 1:
				f.apply(device.KindIdentity, id, edgeChange(t, id, []string{"", "", "*"}[rnd.IntN(3)], rnd.IntN(2) == 0))
			case 2:
				f.apply(device.KindDelete, id, "")
			case 3, 4:
				f.apply(device.KindTwin, id, fmt.Sprintf(`{"tags":{"site":%q}}`, string(rune('a'+rnd.IntN(2)))))
			case 5:
				kind := `"type":"scheduleUpdateTwin","updateTwin":{"tags":{"job":1}}`
				if job == "j2" {
					kind = `"type":"scheduleDeviceMethod","cloudToDeviceMethod":{"methodName":"m"}`
				}
				body := jobBody(t, job, `{`+kind+`,"queryCondition":"tags.site != 'b'"}`)
				f.apply(device.KindJob, "/jobs/"+job, body, device.HeaderJob, job, device.HeaderAction, device.JobActionCreate)
				f.apply(device.KindJobPart, "/jobs/"+job, body, device.HeaderJob, job, device.HeaderAction, PartPick)
			case 6, 7, 8:
				for range 1 + rnd.IntN(2) { // a record may be repeated
					r := f.apply(device.KindJobStep, id, `{"tags":{"job":1}}`, device.HeaderJob, job, device.HeaderAction, device.StepApply)
					if r.Changed && r.Row.Status.Ended() {
						applied[job+id]++
					}
				}
			case 9:
				by := fmt.Sprint("n/", rnd.IntN(2))
				action := []string{device.StepCall, device.StepRelease, device.StepDone, device.StepFail}[rnd.IntN(4)]
				body := map[string]string{device.StepDone: `{"status":200,"payload":1}`, device.StepFail: `{"code":"c","description":""}`}[action]
				f.apply(device.KindJobStep, id, body, device.HeaderJob, "j2", device.HeaderAction, action, device.HeaderSession, by)
			case 10:
				if rnd.IntN(8) == 0 {
					action := []string{PartExpire, PartCancel}[rnd.IntN(2)]
					f.apply(device.KindJobPart, "/jobs/"+job, "", device.HeaderJob, job, device.HeaderAction, action)
				}
			case 11:
				c, action := fmt.Sprint("c", 1+rnd.IntN(3)), ConfigPut
				if rnd.IntN(3) == 0 {
					action = ConfigDelete
				}
				revision++
				body := fmt.Sprintf(`{"id":%q,"revision":%d,"priority":%s,"targetCondition":%q,"createdTimeUtc":"2026-01-02T03:04:05Z","content":%s}`,
					c, revision, c[1:], map[string]string{"c1": "*", "c2": "tags.site = 'a'", "c3": "tags.site = 'a'"}[c], map[string]string{
						"c1": `{"deviceContent":{"properties.desired.v":1}}`, "c2": `{"deviceContent":{"properties.desired.v":2}}`,
						"c3": `{"modulesContent":{"m":{"properties.desired.v":3}}}`}[c])
				f.apply(device.KindConfig, "/configurations/0", body, device.HeaderConfig, c, device.HeaderAction, action)
			case 12:
				for range 2 {
					f.apply(device.KindConfig, "/configurations/0", "", device.HeaderAction, ConfigSweep)
				}
			case 13:
				f.commit()
				if committed = len(f.log); rnd.IntN(2) == 0 {
					f.flush()
					saved = committed
				}
			}
			f.checkJobs()
			f.checkConfigurations()
			if rnd.IntN(10) > 0 {
				continue
			}
			want := f.all() + f.shelved()
			if rnd.IntN(2) == 0 { // the store is lost
				f.store, saved = memory{}, committed
				f.open(0)
				for k, v := range f.state {
					if err := f.core.Restore(k, v); err != nil {
						t.Fatal(err)
					}
				}
				f.core.Skip(int64(committed))
				f.flush()
			} else {
				f.open(int64(saved))
				f.core.Suppress(true)
				for _, r := range f.log[saved:committed] {
					f.feed(r)
				}
				f.core.Effects().Reset()
				f.core.Suppress(false)
			}
			for _, r := range f.log[committed:] {
				f.feed(r)
			}
			if got := f.all() + f.shelved(); got != want {
				t.Fatalf("seed %d: after a crash\n%s\nbefore\n%s", seed, got, want)
			}
		}
		for what, times := range applied {
			if times > 1 {
				t.Errorf("seed %d: %s was changed %d times", seed, what, times)
			}
		}
	}
}
