package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gemello/gemello/bench/devices"
)

const (
	demoPipeline = "temperature"
	demoDevices  = 50
	demoRate     = 50 // messages a second of all devices
	// demoRows are shown of each window; the rest is counted.
	demoRows = 5
)

// demoQuery closes a window every five seconds, soon enough to wait for.
const demoQuery = `SELECT deviceId, COUNT(*) AS n, AVG(temperature) AS avgTemperature, System.Timestamp() AS windowEnd
INTO temperature FROM devices GROUP BY deviceId, HoppingWindow(second, 60, 5)`

// demoConfig makes a configuration a demo's: loopback only, with the sample
// pipeline unless there are others, and quiet unless asked. Ports that are taken
// are replaced at bind.
func demoConfig(c *Config) error {
	if !c.loopbackOnly() {
		return c.bad("hostnames", c.Hostnames[0], "localhost and loopback addresses with --demo", "run gemello serve without --demo")
	}
	for _, e := range c.Listeners.entries() {
		if host, _, err := net.SplitHostPort(e.addr); err == nil && host != "" && !isLoopbackName(host) {
			return c.bad(e.key, e.addr, "a loopback address with --demo", "")
		}
	}
	if len(c.Pipelines) == 0 {
		p := defaultPipeline()
		p.Name, p.Query = demoPipeline, demoQuery
		// The devices of the demo are never late; results come sooner.
		p.Late = Duration(time.Second)
		c.Pipelines = []PipelineConfig{p}
	}
	if _, given := c.origin["logging.level"]; !given {
		c.Logging.Level = "warn" // results share the terminal
	}
	return c.validatePipelines()
}

// runDemo prints what to type next, sends telemetry and shows results until ctx
// ends. It is a client of the node like any other.
func runDemo(ctx context.Context, info *runInfo, stdout io.Writer, logger *slog.Logger) error {
	if info.Admin == "" {
		return usagef("listeners.admin: \"\" is not allowed with --demo; allowed: an address")
	}
	f := &adminFlags{app: &app{stdout: stdout}, admin: info.Admin, tokenFile: info.TokenFile, ca: info.CA}
	c, err := f.client()
	if err != nil {
		return err
	}
	defer c.Close()
	c.run = info
	printDemo(stdout, info, selfCommand())

	outer := ctx
	g, ctx := errgroup.WithContext(outer)
	g.Go(func() error { return simulateDemo(ctx, c, info, logger) })
	g.Go(func() error { return followDemo(ctx, c, stdout) })
	if err := g.Wait(); err != nil && outer.Err() == nil {
		return fmt.Errorf("demo: %w", err)
	}
	return nil // interrupted, which is how a demo ends
}

// selfCommand is how a shell calls this program: by its name when that leads
// here, else as it was called.
func selfCommand() string {
	const name = "gemello"
	if found, err := exec.LookPath(name); err == nil {
		a, errA := os.Stat(found)
		b, errB := os.Stat(os.Args[0])
		if errB != nil || errA == nil && os.SameFile(a, b) {
			return name
		}
	}
	return shellQuote(os.Args[0])
}

// printDemo says in five lines what can be done now.
func printDemo(w io.Writer, info *runInfo, self string) {
	data := " --data " + shellQuote(dirOf(info.TokenFile))
	fmt.Fprintf(w, `gemello is running with %d simulated devices. In another shell:
  watch results     %s tail %s%s
  explain them      %s pipeline explain %s%s
  connect yours     %s device create mine%s && %s connection-string --device mine%s
  trust the CA      %s trust%s
  see its metrics   %s/metrics
Kafka clients read results at %s; MQTT is on port %s, HTTPS on %s. Ctrl-C stops and removes the demo.
`,
		demoDevices, self, demoPipeline, data, self, demoPipeline, data, self, data, self, data, self, data,
		info.Admin, first(info.Kafka), portText(info, "mqtts"), portText(info, "https"))
}

func simulateDemo(ctx context.Context, c *adminClient, info *runInfo, logger *slog.Logger) error {
	o := devices.Options{Devices: demoDevices, Rate: demoRate, Prefix: "demo", Logger: logger}
	f := &adminFlags{app: &app{}, admin: info.Admin, tokenFile: info.TokenFile, ca: info.CA, data: dirOf(info.TokenFile)}
	text, err := c.connectionString(ctx, simulatePolicy, "", "")
	if err != nil {
		return err
	}
	if err := f.simulateTarget(ctx, text, &o); err != nil {
		return err
	}
	_, err = devices.Run(ctx, o)
	return err
}

// followDemo prints result rows as windows close.
func followDemo(ctx context.Context, c *adminClient, stdout io.Writer) error {
	rows := &demoTable{out: stdout}
	for {
		err := c.tail(ctx, demoPipeline, tailOptions{from: "start", follow: true}, rows.add)
		// Until the first window closes the topic may not be there.
		if missing := (*adminError)(nil); !errors.As(err, &missing) || missing.Status != 404 {
			return err
		}
		timer := time.NewTimer(time.Second)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}

// demoTable prints the first rows of each window.
type demoTable struct {
	out   io.Writer
	end   string
	shown int
}

func (t *demoTable) add(line []byte) error {
	var record struct{ Value json.RawMessage }
	if err := json.Unmarshal(line, &record); err != nil {
		return fmt.Errorf("read result: %w", err)
	}
	var row struct{ WindowEnd string }
	if err := json.Unmarshal(record.Value, &row); err != nil {
		return nil // a pipeline of the user's may write what it likes
	}
	if row.WindowEnd != t.end {
		t.end, t.shown = row.WindowEnd, 0
	}
	t.shown++
	var err error
	switch {
	case t.shown <= demoRows:
		_, err = fmt.Fprintf(t.out, "%s\n", record.Value)
	case t.shown == demoRows+1:
		_, err = fmt.Fprintf(t.out, "… and the other devices of this window\n")
	}
	return err
}

func first(s []string) string {
	if len(s) == 0 {
		return "-"
	}
	return s[0]
}

func portText(info *runInfo, name string) string {
	if p := info.Ports[name]; p != 0 {
		return strconv.Itoa(p)
	}
	return "(off)"
}
