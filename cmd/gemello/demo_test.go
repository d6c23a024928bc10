package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

func TestDemoIsLoopbackOnlyAndBringsAPipeline(t *testing.T) {
	c := defaultConfig()
	if err := demoConfig(c); err != nil {
		t.Fatal(err)
	}
	if len(c.Pipelines) != 1 || c.Pipelines[0].Name != demoPipeline {
		t.Errorf("pipelines %+v", c.Pipelines)
	}
	if err := c.validate(); err != nil {
		t.Errorf("the sample pipeline: %v", err)
	}
	if c.Logging.Level != "warn" {
		t.Errorf("log lines of level %s among the results", c.Logging.Level)
	}
	mine := defaultConfig()
	p := defaultPipeline()
	p.Name, p.Query = "mine", "SELECT deviceId INTO x FROM devices"
	mine.Pipelines = []PipelineConfig{p}
	if err := demoConfig(mine); err != nil || len(mine.Pipelines) != 1 || mine.Pipelines[0].Name != "mine" {
		t.Errorf("pipelines %+v, %v", mine.Pipelines, err)
	}
	for name, args := range map[string][]string{
		"hostnames":       {"--hostname", "hub.example.com"},
		"listeners.mqtts": {"--listeners.mqtts", "0.0.0.0:8883"},
	} {
		code, stdout, stderr := shell{}.run(t, append([]string{"serve", "--demo"}, args...)...)
		wantOneLine(t, code, exitUsage, stdout, stderr, name, "--demo")
	}
}

func TestDemoSaysWhatToTypeWithRealPortsAndPaths(t *testing.T) {
	var out bytes.Buffer
	printDemo(&out, &runInfo{
		Admin: "http://127.0.0.1:17080", TokenFile: "/tmp/my demo/admin.token",
		Kafka: []string{"127.0.0.1:19092"}, Ports: map[string]int{"mqtts": 18883, "https": 1443},
	}, "gemello")
	for _, part := range []string{
		"gemello tail temperature --data '/tmp/my demo'\n", "gemello pipeline explain temperature --data '/tmp/my demo'\n",
		"gemello device create mine", "gemello connection-string --device mine", "gemello trust",
		"http://127.0.0.1:17080/metrics", "127.0.0.1:19092", "18883", "1443",
	} {
		if !strings.Contains(out.String(), part) {
			t.Errorf("no %q in\n%s", part, out.String())
		}
	}
}

func TestDemoShowsTheFirstRowsOfEachWindow(t *testing.T) {
	var out bytes.Buffer
	table := &demoTable{out: &out}
	for _, end := range []string{"10", "15"} {
		for d := range demoRows + 3 {
			line := fmt.Sprintf(`{"topic":"temperature","offset":1,"value":{"deviceId":"d%d","windowEnd":"%s"}}`, d, end)
			if err := table.add([]byte(line)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := table.add([]byte(`{"value":"not of the demo"}`)); err != nil {
		t.Error(err)
	}
	var want strings.Builder
	for _, end := range []string{"10", "15"} {
		for d := range demoRows {
			fmt.Fprintf(&want, "{\"deviceId\":\"d%d\",\"windowEnd\":\"%s\"}\n", d, end)
		}
		want.WriteString("… and the other devices of this window\n")
	}
	if out.String() != want.String() {
		t.Errorf("printed\n%s\nwant\n%s", out.String(), want.String())
	}
}
