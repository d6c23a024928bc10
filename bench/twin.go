package bench

import "time"

// Filters that devices subscribe to.
const (
	twinAnswers    = "$iothub/twin/res/#"
	desiredChanges = "$iothub/twin/PATCH/properties/desired/#"
	methodRequests = "$iothub/methods/POST/#"
)

// TwinOptions describe a run of reported patches and of twins read over REST
// against a node of its own, in turn with telemetry as bench mqtt sends it and
// telemetry over the patches' connections; then patches and reads once more, at
// half the rate that was seen.
type TwinOptions struct {
	Binary      string        // gemello, to be started with serve
	Dir         string        // where data lies; empty: the system's temporary directory
	Host        string        // loopback address of the node; empty: 127.0.0.1
	Connections int           // 0: 1,000
	Window      int           // patches or messages in flight a connection; 0: 8
	Patch       int           // bytes; 0: 200
	Payload     int           // bytes of a message of telemetry; 0: 110
	Readers     int           // connections that read twins; 0: 32
	Rounds      int           // of each kind, in turn; 0: 2
	Warm        time.Duration // 0: 2 s
	Measured    time.Duration // of a round; 0: 8 s
	Rate        float64       // patches and reads a second of the paced rounds; 0: half of what was seen
	ServeArgs   []string      // further flags for gemello serve
}

func (o TwinOptions) ensureDefaults() TwinOptions {
	orDefault(&o.Host, "127.0.0.1")
	orDefault(&o.Connections, 1000)
	orDefault(&o.Window, 8)
	orDefault(&o.Patch, 200)
	orDefault(&o.Payload, 110)
	orDefault(&o.Readers, 32)
	orDefault(&o.Rounds, 2)
	orDefault(&o.Warm, 2*time.Second)
	orDefault(&o.Measured, 8*time.Second)
	return o
}

// MethodsOptions describe a run of direct methods: callers over REST, devices
// that answer at once.
type MethodsOptions struct {
	Binary      string
	Dir         string        // empty: the system's temporary directory
	Host        string        // loopback address of the node; empty: 127.0.0.1
	Connections int           // devices; 0: 1,000
	Callers     int           // connections of callers, each with one call at a time; 0: 64
	Payload     int           // bytes of a request and of its answer; 0: 64
	Rounds      int           // 0: 2
	Warm        time.Duration // 0: 2 s
	Measured    time.Duration // of a round; 0: 8 s
	ServeArgs   []string
}

func (o MethodsOptions) ensureDefaults() MethodsOptions {
	orDefault(&o.Host, "127.0.0.1")
	orDefault(&o.Connections, 1000)
	orDefault(&o.Callers, 64)
	orDefault(&o.Payload, 64)
	orDefault(&o.Rounds, 2)
	orDefault(&o.Warm, 2*time.Second)
	orDefault(&o.Measured, 8*time.Second)
	return o
}
