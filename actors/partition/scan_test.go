package partition

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/device/query"
)

func TestScanPassesEveryDeviceOnceWhateverWasSaved(t *testing.T) {
	fl := newFleet(t)
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 40 {
		for range 5 {
			id := fmt.Sprintf("d%02d", r.IntN(40))
			if r.IntN(3) == 0 {
				fl.apply(device.KindDelete, id, "")
			} else {
				fl.apply(device.KindIdentity, id, change(t, id, "", 0))
			}
		}
		if r.IntN(4) == 0 {
			fl.flush()
		}
		want, err := fl.core.List("", 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, limit := range []int{1, 3, 1000} {
			var got []string
			after, more := "", true
			for more {
				if after, more, err = fl.core.Scan(after, false, limit, func(r *Row) error {
					got = append(got, r.Ref.Device)
					return sameRow(r)
				}); err != nil {
					t.Fatal(err)
				}
			}
			if len(got) != len(want) {
				t.Fatalf("round %d, slices of %d: %d devices, want %d", round, limit, len(got), len(want))
			}
			for i := range got {
				if got[i] != want[i].Identity.DeviceID {
					t.Fatalf("round %d, slices of %d: %v", round, limit, got)
				}
			}
		}
	}
}

// sameRow asks a row, stored or changed, for what its decoded document says.
func sameRow(r *Row) error {
	q, err := query.Parse("SELECT deviceId, moduleId, tags.a, properties.reported.b.c, connectionState, status, properties.reported.$version AS v FROM devices")
	if err != nil {
		return err
	}
	got := q.Row(nil, r.Source())
	doc, err := r.Device()
	if err != nil {
		return err
	}
	want := q.Row(nil, &query.Twin{Document: &doc.Document, ModuleID: doc.Identity.ModuleID})
	if !bytes.Equal(got, want) || doc.Identity.Ref() != r.Ref {
		return fmt.Errorf("%s: row %s, its document says %s", r.Ref, got, want)
	}
	return nil
}

func TestScanPassesModulesApartFromDevices(t *testing.T) {
	fl := newFleet(t)
	for _, id := range []string{"a", "b", "c"} {
		fl.apply(device.KindIdentity, id, change(t, id, "", 0))
		fl.apply(device.KindReported, id, `{"b":{"c":1}}`)
	}
	for _, ref := range []device.Ref{{Device: "a", Module: "m"}, {Device: "c", Module: "k"}, {Device: "c", Module: "m"}} {
		fl.module(device.KindIdentity, ref.Device, ref.Module, moduleChange(t, ref.Device, ref.Module, ""))
		fl.module(device.KindTwin, ref.Device, ref.Module, `{"tags":{"a":"x"}}`)
	}
	for _, saved := range []bool{false, true} {
		for _, c := range []struct {
			modules bool
			want    []string
		}{{false, []string{"a", "b", "c"}}, {true, []string{"a/m", "c/k", "c/m"}}} {
			for _, limit := range []int{1, 2, 100} {
				var got []string
				for after, more := "", true; more; {
					var err error
					if after, more, err = fl.core.Scan(after, c.modules, limit, func(r *Row) error {
						got = append(got, r.Ref.String())
						return sameRow(r)
					}); err != nil {
						t.Fatal(err)
					}
				}
				if !slices.Equal(got, c.want) {
					t.Errorf("modules %t, saved %t, slices of %d: %v", c.modules, saved, limit, got)
				}
			}
		}
		fl.flush()
		fl.open(fl.core.Position())
	}
}

func TestScanSaysWhichStoredRowIsBad(t *testing.T) {
	fl := newFleet(t)
	fl.apply(device.KindIdentity, "a", change(t, "a", "", 0))
	fl.flush()
	key := string(deviceKey("a"))
	whole := fl.store[key]
	fl.open(fl.core.Position())
	q, err := query.Parse("SELECT * FROM devices WHERE tags.a = 1 OR status = 'x' OR tags.$version = 2")
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(whole) {
		fl.store[key] = whole[:n]
		_, _, err := fl.core.Scan("", false, 9, func(r *Row) error { q.Match(r.Source()); return nil })
		if err == nil && n < len(whole)-20 {
			t.Fatalf("%d of %d bytes: no error", n, len(whole))
		}
		if err != nil && !strings.Contains(err.Error(), `"a"`) {
			t.Fatalf("%d bytes: %v", n, err)
		}
	}
}
