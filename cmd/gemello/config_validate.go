package main

import (
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gemello/gemello/actors/partition"
	"github.com/gemello/gemello/device/ipfilter"
	"github.com/gemello/gemello/ingest/bridge"
)

// Bounds of settings, with their reasons.
const (
	// maxPartitions: each is a core with a store, a transaction and a timer.
	maxPartitions = 1024
	// maxCommitInterval: an owner that hasn't committed for longer is taken for
	// dead by the others.
	maxCommitInterval = 2 * time.Second
	minCommitInterval = 10 * time.Millisecond
	// maxTolerance is Azure's.
	maxTolerance = 21*24*time.Hour - time.Second
	minRetention = time.Hour
	minBytes     = 1 << 20
)

// validate checks every key; the first that is wrong is the error.
func (c *Config) validate() error {
	for _, check := range []func() error{
		c.validateNames, c.validateLog, c.validateListeners, c.validateTLS,
		c.validateSecrets, c.validateCluster, c.validateLimits, c.validateCommands, c.validateThrottle, c.validateIPFilter, c.validatePipelines, c.validateQueries, c.validateBridges, c.validateRouting,
	} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (c *Config) validateNames() error {
	if len(c.Hostnames) == 0 {
		return c.bad("hostnames", "", "at least one host name or IP address", "")
	}
	for i, h := range c.Hostnames {
		if !validHostname(h) {
			return c.bad("hostnames", h, "host names and IP addresses without scheme and port", "")
		}
		if slices.Contains(c.Hostnames[:i], h) {
			return c.bad("hostnames", h, "each name once", "")
		}
	}
	// Topic names are the prefix and up to 15 bytes more; Kafka allows 249.
	if !hubPattern.MatchString(c.Hub) {
		return c.bad("hub", c.Hub, "1 to 64 of a-z, 0-9, '-', '_' and '.', beginning with a letter or digit", "")
	}
	if strings.TrimSpace(c.Data) == "" {
		return c.bad("data", c.Data, "the path of a directory", "")
	}
	return nil
}

var (
	hubPattern      = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)
	pipelinePattern = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)
	labelPattern    = regexp.MustCompile(`^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$`)
)

func validHostname(h string) bool {
	if a, err := netip.ParseAddr(h); err == nil {
		return a.Zone() == "" && !a.IsUnspecified()
	}
	if len(h) > 253 {
		return false
	}
	labels := strings.Split(h, ".")
	// A last label of digits alone makes it a mistyped IPv4 address.
	if _, err := strconv.Atoi(labels[len(labels)-1]); err == nil {
		return false
	}
	for _, l := range labels {
		if !labelPattern.MatchString(strings.ToLower(l)) {
			return false
		}
	}
	return true
}

func (c *Config) validateLog() error {
	l := &c.Log
	for _, seed := range l.Kafka {
		if host, port, err := net.SplitHostPort(seed); err != nil || host == "" || !validPort(port, 1) {
			return c.bad("log.kafka", seed, "seed brokers as host:port", "")
		}
	}
	if len(l.Kafka) == 0 {
		host, port, err := net.SplitHostPort(l.Listen)
		if err != nil || !validPort(port, 0) || !isLoopbackName(host) {
			return c.bad("log.listen", l.Listen, "a loopback address such as 127.0.0.1:9092",
				"for other machines run: gemello log --listen ADDR --auth F, or Kafka")
		}
	}
	if l.AuthFile != "" {
		if len(l.Kafka) > 0 {
			return c.bad("log.auth_file", l.AuthFile, "nothing with log.kafka: its brokers know their users", "")
		}
		if err := c.readable("log.auth_file", l.AuthFile); err != nil {
			return err
		}
	}
	if l.Partitions < 1 || l.Partitions > maxPartitions {
		return c.bad("log.partitions", strconv.Itoa(l.Partitions), "1 to "+strconv.Itoa(maxPartitions), "")
	}
	if l.Replication < 0 || l.Replication > 32 {
		return c.bad("log.replication", strconv.Itoa(l.Replication), "0 (the cluster's default) to 32", "")
	}
	if l.MinInsync < 0 || l.Replication > 0 && l.MinInsync > l.Replication {
		return c.bad("log.min_insync", strconv.Itoa(l.MinInsync), "0 (the cluster's default) to log.replication", "")
	}
	if d := time.Duration(l.Retention); d < minRetention {
		return c.bad("log.retention", l.Retention.String(), "1h or more: a replay reads back that far", "")
	}
	if l.RetentionBytes < minBytes {
		return c.bad("log.retention_bytes", l.RetentionBytes.String(), "1MiB or more", "")
	}
	return c.validateKafkaSecurity()
}

func (c *Config) validateKafkaSecurity() error {
	t, s := &c.Log.TLS, &c.Log.SASL
	for _, f := range []struct{ key, file string }{{"log.tls.ca", t.CA}, {"log.tls.cert", t.Cert}, {"log.tls.key", t.Key}} {
		if f.file == "" {
			continue
		}
		if !t.Enabled {
			return c.bad(f.key, f.file, "nothing while log.tls.enabled is false", "set log.tls.enabled: true")
		}
		if err := c.readable(f.key, f.file); err != nil {
			return err
		}
	}
	if (t.Cert == "") != (t.Key == "") {
		return c.bad("log.tls.cert", t.Cert, "both log.tls.cert and log.tls.key, or neither", "")
	}
	switch s.Mechanism {
	case "":
		if s.User != "" || s.Password != "" {
			return c.bad("log.sasl.mechanism", "", "PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512 with a user or password", "")
		}
		return nil
	case "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512":
	default:
		return c.bad("log.sasl.mechanism", s.Mechanism, "PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or nothing", "")
	}
	if s.User == "" {
		return c.bad("log.sasl.user", "", "a user name with log.sasl.mechanism", "")
	}
	if s.Password == "" {
		return c.bad("log.sasl.password_file", s.PasswordFile, "a file that holds the password", "or set GEMELLO_LOG_SASL_PASSWORD")
	}
	if s.Mechanism == "PLAIN" && !t.Enabled && slices.ContainsFunc(c.Log.Kafka, func(seed string) bool {
		host, _, err := net.SplitHostPort(seed)
		return err != nil || !isLoopbackName(host)
	}) {
		return c.bad("log.sasl.mechanism", s.Mechanism, "PLAIN with TLS only, off loopback: it shows the password",
			"set log.tls.enabled: true, or use SCRAM-SHA-512")
	}
	return nil
}

func (c *Config) validateListeners() error {
	l := &c.Listeners
	for _, e := range l.entries() {
		if e.addr == "" {
			continue
		}
		host, port, err := net.SplitHostPort(e.addr)
		if err != nil || !validPort(port, 0) || host != "" && !validListenHost(host) {
			return c.bad(e.key, e.addr, "[host]:port, or nothing to turn it off", "")
		}
		if e.name == "mqtt" && host != "" && !isLoopbackName(host) && !l.PlainAnywhere {
			return c.bad(e.key, e.addr, "a loopback address: it is not encrypted",
				"use listeners.mqtts, or set listeners.plain_anywhere: true")
		}
	}
	if l.AMQPS != "" {
		return c.bad("listeners.amqps", l.AMQPS, "nothing: this version does not serve AMQP", "use listeners.mqtts")
	}
	return nil
}

// listenerEntry is one listener with its configuration key.
type listenerEntry struct{ name, key, addr string }

func (l *ListenersConfig) entries() []listenerEntry {
	return []listenerEntry{
		{"mqtts", "listeners.mqtts", l.MQTTS}, {"https", "listeners.https", l.HTTPS},
		{"amqps", "listeners.amqps", l.AMQPS}, {"mqtt", "listeners.mqtt", l.MQTT},
		{"admin", "listeners.admin", l.Admin},
	}
}

func validListenHost(h string) bool {
	if a, err := netip.ParseAddr(h); err == nil {
		return a.IsValid()
	}
	return validHostname(h)
}

func validPort(s string, least int) bool {
	n, err := strconv.Atoi(s)
	return err == nil && n >= least && n <= 65535
}

func (c *Config) validateTLS() error {
	t := &c.TLS
	if (t.Cert == "") != (t.Key == "") {
		return c.bad("tls.cert", t.Cert, "both tls.cert and tls.key, or neither", "")
	}
	if t.CA != "" && t.Cert == "" {
		return c.bad("tls.ca", t.CA, "nothing without tls.cert and tls.key", "")
	}
	for _, f := range []struct{ key, file string }{{"tls.cert", t.Cert}, {"tls.key", t.Key}, {"tls.ca", t.CA}, {"tls.device_ca", t.DeviceCA}} {
		if f.file != "" {
			if err := c.readable(f.key, f.file); err != nil {
				return err
			}
		}
	}
	if t.DeviceCA != "" {
		if _, err := openDeviceCAs(t.DeviceCA, nil); err != nil {
			return c.bad("tls.device_ca", t.DeviceCA, "a PEM file of CA certificates", err.Error())
		}
	}
	return nil
}

func (c *Config) validateSecrets() error {
	if c.Secrets.KeyFile != "" {
		if err := c.readable("secrets.key_file", c.Secrets.KeyFile); err != nil {
			return err
		}
	}
	if c.Secrets.Key != "" {
		if _, err := parseHubKey([]byte(c.Secrets.Key)); err != nil {
			return c.bad("secrets.key", "***", err.Error(), "")
		}
	}
	return nil
}

func (c *Config) validateCluster() error {
	const remedy = "run one node"
	if c.Cluster.Listen != "" {
		return c.bad("cluster.listen", c.Cluster.Listen, "nothing: this version runs a hub on one node", remedy)
	}
	if len(c.Cluster.Join) > 0 {
		return c.bad("cluster.join", strings.Join(c.Cluster.Join, ","), "nothing: this version runs a hub on one node", remedy)
	}
	return nil
}

func (c *Config) validateLimits() error {
	if d := time.Duration(c.Commit.Interval); d < minCommitInterval || d > maxCommitInterval {
		return c.bad("commit.interval", c.Commit.Interval.String(), "10ms to 2s", "")
	}
	for _, n := range []struct {
		key   string
		value int
	}{{"limits.connections", c.Limits.Connections}, {"limits.handshakes", c.Limits.Handshakes}} {
		if n.value < 1 {
			return c.bad(n.key, strconv.Itoa(n.value), "1 or more", "")
		}
	}
	for _, n := range []struct {
		key   string
		value Size
	}{{"limits.append_bytes", c.Limits.AppendBytes}, {"limits.memory", c.Limits.Memory}, {"limits.window_memory", c.Limits.WindowMemory}} {
		if n.value < minBytes {
			return c.bad(n.key, n.value.String(), "1MiB or more", "")
		}
	}
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, c.Logging.Level) {
		return c.bad("logging.level", c.Logging.Level, "debug, info, warn or error", "")
	}
	if c.Logging.Format != "text" && c.Logging.Format != "json" {
		return c.bad("logging.format", c.Logging.Format, "text or json", "")
	}
	return nil
}

func (c *Config) validateIPFilter() error {
	for _, text := range c.IPFilter {
		if _, err := ipfilter.ParseRule(text); err != nil {
			return c.bad("ip_filter", text, "accept|reject CIDR [devices|service]", "")
		}
	}
	if len(c.IPFilter) > ipfilter.MaxRules {
		return c.bad("ip_filter", strconv.Itoa(len(c.IPFilter))+" rules", "at most "+strconv.Itoa(ipfilter.MaxRules), "")
	}
	return nil
}

func (c *Config) validatePipelines() error {
	seen := make(map[string]bool)
	for i := range c.Pipelines {
		p := &c.Pipelines[i]
		item := "pipelines[" + strconv.Itoa(i) + "]"
		prefix := item + "."
		if e := p.validate(); e != nil {
			e.Key = prefix + e.Key
			if e.Origin = c.origin[e.Key]; e.Origin == "" {
				e.Origin = c.origin[item] // the key is not there at all
			}
			return e
		}
		if seen[p.Name] {
			return c.bad(prefix+"name", p.Name, "each name once", "")
		}
		seen[p.Name] = true
	}
	return nil
}

// validateBridges checks names and templates; the brokers need not answer yet.
func (c *Config) validateBridges() error {
	seen := make(map[string]bool)
	for i := range c.Bridges {
		b := &c.Bridges[i]
		prefix := "bridges[" + strconv.Itoa(i) + "]."
		switch {
		case !pipelinePattern.MatchString(b.Name):
			return c.bad(prefix+"name", b.Name, "1 to 64 letters, digits, '-', '_' and '.'", "")
		case seen[b.Name]:
			return c.bad(prefix+"name", b.Name, "each name once", "")
		case b.Broker == "":
			return c.bad(prefix+"broker", "", "mqtt://host:1883 or mqtts://host:8883", "")
		}
		seen[b.Name] = true
		if _, err := bridge.ParseTemplate(b.Template); err != nil {
			return c.bad(prefix+"template", b.Template, "a topic with {deviceId}, such as plant/{deviceId}/data", err.Error())
		}
	}
	return nil
}

// validateQueries compiles the queries as far as that goes without their
// topics.
func (c *Config) validateQueries() error {
	for i := range c.Pipelines {
		d := c.Pipelines[i].definition()
		if _, err := partition.Compile(&d, true); err != nil {
			key := "pipelines[" + strconv.Itoa(i) + "].query"
			origin := c.origin[key]
			if origin != "" {
				origin += ": "
			}
			return usagef("%s%s: %v", origin, key, err)
		}
	}
	return nil
}

// definition is the pipeline as the stream processor takes it.
func (p *PipelineConfig) definition() partition.Definition {
	return partition.Definition{
		Name: p.Name, Query: p.Query,
		Late: ticks(time.Duration(p.Late)), OutOfOrder: ticks(time.Duration(p.OutOfOrder)), Early: ticks(time.Duration(p.Early)),
		OnLate: p.OnLate, OnOutOfOrder: p.OnOutOfOrder, OnEarly: p.OnEarly,
		Key: p.Key, Arrival: p.Arrival,
	}
}

// validate checks one pipeline; Key of the error is the pipeline's own key.
func (p *PipelineConfig) validate() *configError {
	if !pipelinePattern.MatchString(p.Name) {
		return &configError{Key: "name", Value: p.Name, Allowed: "1 to 64 letters, digits, '-', '_' and '.'"}
	}
	if strings.TrimSpace(p.Query) == "" {
		return &configError{Key: "query", Value: p.Query, Allowed: "SELECT … INTO … FROM …"}
	}
	for _, d := range []struct {
		key   string
		value Duration
	}{{"late", p.Late}, {"out_of_order", p.OutOfOrder}, {"early", p.Early}} {
		if time.Duration(d.value) > maxTolerance {
			return &configError{Key: d.key, Value: d.value.String(), Allowed: "0s to 20 days 23:59:59"}
		}
	}
	if p.Early == 0 {
		return &configError{Key: "early", Value: "0s", Allowed: "more than 0s: a record is never read before its time"}
	}
	for _, a := range []struct {
		key, value string
		allowed    []string
	}{
		{"on_late", p.OnLate, []string{"adjust", "drop", "side_output", "accept"}},
		{"on_out_of_order", p.OnOutOfOrder, []string{"adjust", "drop", "side_output", "accept"}},
		{"on_early", p.OnEarly, []string{"side_output", "drop", "clamp"}},
		{"arrival", p.Arrival, []string{"record", "read"}},
	} {
		if !slices.Contains(a.allowed, a.value) {
			return &configError{Key: a.key, Value: a.value, Allowed: strings.Join(a.allowed, ", ")}
		}
	}
	return nil
}

// readable checks that a file can be read now rather than when it is needed.
func (c *Config) readable(key, file string) error {
	f, err := os.Open(file)
	if err != nil {
		remedy := "check the path"
		if errors.Is(err, fs.ErrPermission) {
			remedy = "give this user the right to read it"
		}
		return c.bad(key, file, "a readable file", remedy)
	}
	defer f.Close()
	if st, err := f.Stat(); err == nil && st.IsDir() {
		return c.bad(key, file, "a readable file, not a directory", "")
	}
	return nil
}

// loopbackOnly reports whether no host name of the hub leads to this machine
// from another.
func (c *Config) loopbackOnly() bool {
	return !slices.ContainsFunc(c.Hostnames, func(h string) bool { return !isLoopbackName(h) })
}

// isLoopbackName knows addresses, and names below localhost (RFC 6761).
func isLoopbackName(h string) bool {
	if a, err := netip.ParseAddr(h); err == nil {
		return a.Unmap().IsLoopback()
	}
	h = strings.ToLower(strings.TrimSuffix(h, "."))
	return h == "localhost" || strings.HasSuffix(h, ".localhost")
}
