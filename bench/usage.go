package bench

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
)

// usage is what a run has cost so far.
type usage struct {
	at  time.Time
	cpu time.Duration
}

func usageNow() usage { return usage{at: time.Now(), cpu: processCPU()} }

// peakRSS returns the process's largest resident size so far in bytes, 0 where
// the system does not tell.
func peakRSS() int64 { return statusField("/proc/self/status", "VmHWM:") }

// residentNow returns the process's resident size in bytes, 0 where the system
// does not tell.
func residentNow() int64 { return statusField("/proc/self/status", "VmRSS:") }

// statusField returns a size in bytes from a status file of /proc.
func statusField(file, name string) int64 {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			kb, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			if err == nil {
				return kb << 10
			}
		}
	}
	return 0
}

// report prints one Go benchmark line: name, operations, and pairs of value and
// unit.
func report(w io.Writer, name string, n int64, metrics ...any) {
	fmt.Fprintf(w, "Benchmark%s \t%d", name, n)
	for i := 0; i+1 < len(metrics); i += 2 {
		switch v := metrics[i].(type) {
		case float64:
			fmt.Fprintf(w, "\t%s %s", strconv.FormatFloat(v, 'g', 6, 64), metrics[i+1])
		default:
			fmt.Fprintf(w, "\t%v %s", v, metrics[i+1])
		}
	}
	fmt.Fprintln(w)
}
