package main

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gemello/gemello/device/throttle"
	"github.com/gemello/gemello/ingest"
)

// ThrottleConfig limits how much the hub takes of each kind of operation, and
// how much of that one device may use.
type ThrottleConfig struct {
	Preset         string `yaml:"preset" usage:"s1, s2 or s3: the rates of an Azure IoT Hub; empty: none"`
	Units          int    `yaml:"units" usage:"units that the preset is for"`
	Registry       string `yaml:"registry" usage:"registry operations; empty here and below: the preset's rate"`
	Connections    string `yaml:"connections" usage:"new connections of devices"`
	D2C            string `yaml:"d2c" usage:"messages of devices"`
	C2D            string `yaml:"c2d" usage:"commands to devices"`
	C2DReceive     string `yaml:"c2d_receive" usage:"polls for commands over HTTPS"`
	Methods        string `yaml:"methods" usage:"direct methods, in units of 4 KiB begun"`
	Queries        string `yaml:"queries" usage:"queries"`
	TwinReads      string `yaml:"twin_reads" usage:"twins read"`
	TwinUpdates    string `yaml:"twin_updates" usage:"twins changed"`
	Jobs           string `yaml:"jobs" usage:"operations on jobs"`
	Configurations string `yaml:"configurations" usage:"operations on configurations"`

	DeviceMessages    string `yaml:"device_messages" usage:"messages of one connection"`
	DeviceRequests    string `yaml:"device_requests" usage:"twin requests of one connection"`
	DeviceConnections string `yaml:"device_connections" usage:"new connections of one device"`
	DevicePolls       string `yaml:"device_polls" usage:"polls over HTTPS of one device that find no command; slowed down beyond"`
}

// defaultThrottle lets one device do much, and the hub everything.
func defaultThrottle() ThrottleConfig {
	return ThrottleConfig{Units: 1, DeviceMessages: "10000/s", DeviceRequests: "5000/s", DeviceConnections: "120/min", DevicePolls: "5/s"}
}

// rates are the preset's with those of the configuration in their place.
func (c *ThrottleConfig) rates() (throttle.Rates, error) {
	rates, err := throttle.Preset(c.Preset, c.Units)
	if err != nil {
		return nil, err
	}
	for class, text := range map[throttle.Class]string{
		throttle.Registry: c.Registry, throttle.Connections: c.Connections, throttle.D2C: c.D2C, throttle.C2D: c.C2D,
		throttle.C2DReceive: c.C2DReceive, throttle.Methods: c.Methods, throttle.Queries: c.Queries, throttle.TwinReads: c.TwinReads,
		throttle.TwinUpdates: c.TwinUpdates, throttle.Jobs: c.Jobs, throttle.Configurations: c.Configurations,
	} {
		if text == "" {
			continue
		}
		r, err := throttle.ParseRate(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", class, err)
		}
		if rates[class] = r; r.N == 0 {
			delete(rates, class)
		}
	}
	return rates, nil
}

func (c *Config) validateThrottle() error {
	t := &c.Throttle
	if t.Units < 1 || t.Units > throttle.MaxUnits {
		return c.bad("throttle.units", fmt.Sprint(t.Units), fmt.Sprintf("1 to %d", throttle.MaxUnits), "")
	}
	if _, err := throttle.Preset(t.Preset, t.Units); err != nil {
		return c.bad("throttle.preset", t.Preset, "s1, s2, s3 or nothing", "")
	}
	for _, k := range configKeys(c) {
		name, ok := cutPath(k.path, "throttle.")
		if !ok || name == "preset" || name == "units" || k.value.String() == "" {
			continue
		}
		if _, err := throttle.ParseRate(k.value.String()); err != nil {
			return c.bad(k.path, k.value.String(), "a rate such as 100/min or 50/s, or off", "")
		}
	}
	return nil
}

func cutPath(path, prefix string) (string, bool) {
	if len(path) <= len(prefix) || path[:len(prefix)] != prefix {
		return "", false
	}
	return path[len(prefix):], true
}

// tableItems bounds the devices whose connects are counted at a time.
const tableItems = 100_000

// limiter counts what clients do. The buckets of a connection are its own, so
// that they end with it.
type limiter struct {
	hub                *throttle.Limits
	messages, requests throttle.Rate // of one connection
	connects           *throttle.Table
	posts, polls       *throttle.Table // messages and idle polls over HTTPS, where a device has no connection
	now                func() time.Time
	sleep              func(ctx context.Context, d time.Duration)
	stopped            <-chan struct{} // nobody sleeps on; nil: never
	counted            *prometheus.CounterVec
}

// newLimiter makes the limiter of a validated configuration.
func newLimiter(c *ThrottleConfig, registerer prometheus.Registerer) (*limiter, error) {
	rates, err := c.rates()
	if err != nil {
		return nil, err
	}
	own := [4]throttle.Rate{}
	for i, text := range [4]string{c.DeviceMessages, c.DeviceRequests, c.DeviceConnections, c.DevicePolls} {
		if text == "" {
			continue
		}
		if own[i], err = throttle.ParseRate(text); err != nil {
			return nil, err
		}
	}
	l := &limiter{
		hub: throttle.NewLimits(rates), messages: own[0], requests: own[1],
		connects: throttle.NewTable(own[2], tableItems), now: time.Now,
		posts: throttle.NewTable(own[0], tableItems), polls: throttle.NewTable(own[3], tableItems),
		counted: throttledCounter(),
	}
	l.sleep = l.sleepFor
	if registerer != nil {
		if err := registerer.Register(l.counted); err != nil {
			return nil, err
		}
	}
	return l, nil
}

func (l *limiter) sleepFor(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	case <-l.stopped:
	}
}

// Take counts operations of the service side.
func (l *limiter) Take(c throttle.Class, n int) time.Duration {
	wait := l.hub.Take(c, l.now(), n)
	if wait > 0 {
		l.counted.WithLabelValues(string(c), "hub", "refused").Inc()
	}
	return wait
}

// connection counts a connect whose credential is good. Others are not counted:
// who guesses must not use up what the device has.
func (l *limiter) connection(id string) error {
	if wait := l.connects.Take(id, l.now(), 1); wait > 0 {
		l.counted.WithLabelValues(string(throttle.Connections), "device", "refused").Inc()
		return fmt.Errorf("%w: device %s connects too often, next in %v", ingest.ErrBusy, id, wait.Round(time.Millisecond))
	}
	if wait := l.Take(throttle.Connections, 1); wait > 0 {
		return fmt.Errorf("%w: too many new connections, next in %v", ingest.ErrBusy, wait.Round(time.Millisecond))
	}
	return nil
}

// usage is what one connection has used.
type usage struct{ messages, requests throttle.Bucket }

// message delays a message that is over a rate: the connection isn't read
// meanwhile, which slows its sender down.
func (l *limiter) message(ctx context.Context, u *usage) {
	now := l.now()
	own := u.messages.Reserve(l.messages, now, 1)
	if own > 0 {
		l.counted.WithLabelValues(string(throttle.D2C), "device", "delayed").Inc()
	}
	all := l.hub.Reserve(throttle.D2C, now, 1)
	if all > 0 {
		l.counted.WithLabelValues(string(throttle.D2C), "hub", "delayed").Inc()
	}
	if wait := max(own, all); wait > 0 {
		l.sleep(ctx, wait)
	}
}

// request counts a twin request of a device.
func (l *limiter) request(c throttle.Class, u *usage) error {
	if wait := u.requests.Take(l.requests, l.now(), 1); wait > 0 {
		l.counted.WithLabelValues(string(c), "device", "refused").Inc()
		return fmt.Errorf("%w: too many requests of this device", ingest.ErrBusy)
	}
	if l.Take(c, 1) > 0 {
		return fmt.Errorf("%w: the rate of %s is used up", ingest.ErrBusy, c)
	}
	return nil
}

// post counts the messages of a request over HTTPS.
func (l *limiter) post(id string, n int) error {
	if wait := l.posts.Take(id, l.now(), n); wait > 0 {
		l.counted.WithLabelValues(string(throttle.D2C), "device", "refused").Inc()
		return &ingest.Throttled{What: "messages of one device", Wait: wait}
	}
	if wait := l.Take(throttle.D2C, n); wait > 0 {
		return &ingest.Throttled{What: "messages", Wait: wait}
	}
	return nil
}

// poll counts a poll for commands.
func (l *limiter) poll() error {
	if wait := l.Take(throttle.C2DReceive, 1); wait > 0 {
		return &ingest.Throttled{What: "polls for commands", Wait: wait}
	}
	return nil
}

// idle counts a poll that found nothing. One that comes too soon is held back, as
// Java polls without pause and knows no Retry-After; who then polls more than once
// at a time is refused. waited says that it is worth to look again.
func (l *limiter) idle(ctx context.Context, id string) (waited bool, err error) {
	wait := l.polls.Take(id, l.now(), 1)
	if wait == 0 {
		return false, nil
	}
	l.counted.WithLabelValues(string(throttle.C2DReceive), "device", "delayed").Inc()
	l.sleep(ctx, wait)
	if wait := l.polls.Take(id, l.now(), 1); wait > 0 {
		l.counted.WithLabelValues(string(throttle.C2DReceive), "device", "refused").Inc()
		return false, &ingest.Throttled{What: "polls of one device", Wait: wait}
	}
	return true, nil
}
