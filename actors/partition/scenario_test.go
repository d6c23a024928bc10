package partition

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/windows"
)

// TestScenarios runs the files of testdata/pipelines. Times are seconds (with
// fractions) since 2024-01-01, or a whole ISO-8601 time.
//
//	core [devices] [producer] [partition=N] [budget=BYTES]
//	apply NAME [late=S ooo=S early=S onlate= onooo= onearly= key=]   query
//	drop NAME
//	suspend NAME / resume NAME
//	records                one a line: ARRIVAL KEY PAYLOAD or ARRIVAL KEY [HEADER=VALUE …] -- PAYLOAD
//	tick AT
//	flush
//	crash [lost]
//	why NAME [key=] [end=AT] [lag=N]
//	figures NAME
//
// What is printed are the outputs since the command before, and W after each
// record where a file asks for it with `records clocks=NAME`.
func TestScenarios(t *testing.T) {
	datadriven.Walk(t, "testdata/pipelines", func(t *testing.T, path string) {
		s := &scenario{t: t, rig: newRig(t, PipelinesOptions{Source: "s", SinglePartition: true}, 0)}
		datadriven.RunTest(t, path, s.run)
	})
}

type scenario struct {
	t   *testing.T
	rig *rig
	out int // rows printed
}

var epoch = windows.TickOf(time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC))

func instantOf(t *testing.T, s string) windows.Tick {
	if at, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return windows.TickOf(at)
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		t.Fatalf("time %q: %v", s, err)
	}
	return epoch + windows.Tick(f*1e7)
}

func (s *scenario) run(t *testing.T, d *datadriven.TestData) string {
	s.t, s.rig.t = t, t
	var b strings.Builder
	arg := func(key, fallback string) string {
		for _, a := range d.CmdArgs {
			if a.Key == key && len(a.Vals) > 0 {
				return a.Vals[0]
			}
		}
		return fallback
	}
	first := ""
	if len(d.CmdArgs) > 0 {
		first = d.CmdArgs[0].Key
	}
	switch d.Cmd {
	case "core":
		o := PipelinesOptions{Source: "s", SinglePartition: true, FromDevices: d.HasArg("devices"), ProducerTime: d.HasArg("producer")}
		p, err := strconv.Atoi(arg("partition", "0"))
		s.rig.check(err)
		budget, err := strconv.ParseInt(arg("budget", "0"), 10, 64)
		s.rig.check(err)
		o.Partition = int32(p)
		s.rig, s.out = newRig(t, o, budget), 0
		return ""
	case "apply":
		def := Definition{
			Name: first, Query: d.Input, Late: span10(arg("late", "5")), OutOfOrder: span10(arg("ooo", "0")), Early: span10(arg("early", "300")),
			OnLate: arg("onlate", ""), OnOutOfOrder: arg("onooo", ""), OnEarly: arg("onearly", ""), Key: arg("key", ""),
		}
		if _, err := Compile(&def, true); err != nil {
			return err.Error()
		}
		defs := slices.DeleteFunc(slices.Clone(s.rig.defs), func(x Definition) bool { return x.Name == first })
		s.rig.plans(append(defs, def), s.rig.refused)
	case "drop":
		s.rig.plans(slices.DeleteFunc(slices.Clone(s.rig.defs), func(x Definition) bool { return x.Name == first }), s.rig.refused)
	case "suspend", "resume":
		refused := maps.Clone(s.rig.refused)
		if refused == nil {
			refused = map[string]string{}
		}
		delete(refused, first)
		if d.Cmd == "suspend" {
			refused[first] = "topic is gone"
		}
		s.rig.plans(s.rig.defs, refused)
	case "records":
		for line := range strings.Lines(d.Input) {
			s.rig.apply(s.record(strings.TrimSuffix(line, "\n")))
			if name := arg("clocks", ""); name != "" {
				s.rig.commit()
				fmt.Fprintf(&b, "%s W=%s\n", strings.Fields(line)[0], seconds(s.rig.core.Watermark(name)))
				s.print(&b)
			}
		}
	case "tick":
		before := len(s.rig.core.Effects().Journal)
		s.rig.tick(instantOf(t, first))
		if len(s.rig.core.Effects().Journal) > before {
			b.WriteString("journaled\n")
		}
	case "flush":
		s.rig.flush()
	case "crash":
		s.rig.commit()
		if d.HasArg("lost") {
			s.rig.crash(lost)
		} else {
			s.rig.crash(kept)
		}
	case "why":
		end := windows.Tick(0)
		if e := arg("end", ""); e != "" {
			end = instantOf(t, e)
		}
		lag, err := strconv.ParseInt(arg("lag", "0"), 10, 64)
		s.rig.check(err)
		w, ok := s.rig.core.Why(first, arg("key", ""), end, lag)
		if !ok {
			return "no such pipeline"
		}
		return fmt.Sprintf("end=%s closed=%t firesAfter=%s\n%s", w.EndTime, w.Closed, w.FiresAfter, w.Text)
	case "figures":
		var f Figures
		s.rig.core.Report(&f)
		for _, p := range f.Pipelines {
			if p.Name == first {
				p.Arrival, p.Watermark, p.StateBytes = 0, 0, 0
				js, err := json.Marshal(p)
				s.rig.check(err)
				m := map[string]any{}
				s.rig.check(json.Unmarshal(js, &m))
				for _, k := range slices.Sorted(maps.Keys(m)) {
					if v := fmt.Sprint(m[k]); v != "0" && v != "false" && k != "Name" {
						fmt.Fprintf(&b, "%s=%s ", k, v)
					}
				}
			}
		}
		return b.String()
	default:
		t.Fatalf("unknown command %q", d.Cmd)
	}
	s.rig.commit()
	s.print(&b)
	return b.String()
}

// print writes the rows that were committed since the last time.
func (s *scenario) print(b *strings.Builder) {
	for _, row := range s.rig.rows[s.out:] {
		b.WriteString(row + "\n")
	}
	s.out = len(s.rig.rows)
}

// record reads a line of a records command.
func (s *scenario) record(line string) Record {
	at, rest, _ := strings.Cut(line, " ")
	key, value, _ := strings.Cut(rest, " ")
	r := Record{Offset: s.rig.core.Position(), Arrival: instantOf(s.t, at), Key: []byte(key)}
	if headers, after, ok := strings.Cut(value, "-- "); ok && !strings.HasPrefix(value, "{") {
		value = after
		for _, h := range strings.Fields(headers) {
			name, v, _ := strings.Cut(h, "=")
			r.Headers = append(r.Headers, Header{name, []byte(v)})
		}
	} else if s.rig.options.FromDevices {
		r.Headers = []Header{{device.HeaderKind, []byte(device.KindTelemetry)}}
	}
	switch {
	case strings.HasPrefix(value, "hex:"):
		b, err := hex.DecodeString(value[4:])
		s.rig.check(err)
		value = string(b)
	case strings.HasPrefix(value, "nested:"):
		n, err := strconv.Atoi(value[7:])
		s.rig.check(err)
		value = `{"a":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `}`
	case strings.HasPrefix(value, "long:"):
		n, err := strconv.Atoi(value[5:])
		s.rig.check(err)
		value = `{"a":"` + strings.Repeat("x", n) + `"}`
	case value == "empty":
		value = ""
	}
	r.Value = []byte(value)
	return r
}

func span10(s string) windows.Tick {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		panic(err)
	}
	return windows.Tick(f * 1e7)
}

func seconds(t windows.Tick) string {
	if t == windows.Unset {
		return "none"
	}
	return strconv.FormatFloat(float64(t-epoch)/1e7, 'f', -1, 64)
}
