package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"

	"github.com/gemello/gemello/persistence/broker"
	"github.com/gemello/gemello/persistence/broker/access"
)

func newLogCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "log --data DIR [--listen ADDR] [--auth FILE]",
		Short: "Run the embedded log alone, for several nodes on one machine",
		Long: "Run the embedded log alone until interrupted.\n\nOn loopback it is open to all local users. Elsewhere --auth is a must: a file with one\n" +
			"USER:PASSWORD [GRANT …] a line, lines that begin with # left out; a grant is read:PREFIX,\n" +
			"write:PREFIX or admin:PREFIX of topics, and a user without any may do everything. Nodes reach it with --kafka ADDR.",
		Args: cobra.NoArgs,
	}
	f := &logFlags{app: a}
	fs := cmd.Flags()
	fs.StringVar(&f.data, "data", "", "data directory, used by one process")
	fs.StringVar(&f.listen, "listen", "127.0.0.1:9092", "address to listen on")
	fs.StringVar(&f.advertise, "advertise", "", "host:port that clients are told; empty: the address listened on")
	fs.StringVar(&f.auth, "auth", "", "file of users that may connect, with SCRAM")
	fs.StringVar(&f.cert, "tls-cert", "", "PEM file of the certificate; empty: no TLS")
	fs.StringVar(&f.key, "tls-key", "", "PEM file of its key")
	f.retention, f.retentionBytes = defaultConfig().Log.Retention, defaultConfig().Log.RetentionBytes
	retention := &keyFlag{kind: "duration", shown: f.retention.String()}
	retentionBytes := &keyFlag{kind: "size", shown: f.retentionBytes.String()}
	fs.Var(retention, "retention", "how long records are kept in topics that don't say")
	fs.Var(retentionBytes, "retention-bytes", "how much is kept in all")
	fs.StringVar(&f.metrics, "metrics", "", "address to serve /metrics on, open to all who reach it; empty: nowhere")
	fs.StringVar(&f.logging.Level, "log-level", "info", "debug, info, warn or error")
	fs.DurationVar(&f.housekeeping, "housekeeping", 0, "pause between rounds of retention and compaction; 0: the default")
	fs.DurationVar(&f.syncDelay, "sync-delay", 0, "what a sync takes at least")
	fs.StringVar(&f.cpuProfile, "cpuprofile", "", "file for a CPU profile of the whole run")
	for _, name := range []string{"housekeeping", "sync-delay", "cpuprofile"} {
		_ = fs.MarkHidden(name) // for gemello verify and gemello bench
	}
	cmd.AddCommand(newLogToolCmds(a)...)
	f.logging.Format = "text"
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		for _, s := range []struct {
			name string
			flag *keyFlag
			set  func([]byte) error
		}{{"--retention", retention, f.retention.UnmarshalText}, {"--retention-bytes", retentionBytes, f.retentionBytes.UnmarshalText}} {
			if n := len(s.flag.texts); n > 0 {
				if err := s.set([]byte(s.flag.texts[n-1])); err != nil {
					return &configError{Key: s.name, Value: s.flag.texts[n-1], Allowed: err.Error()}
				}
			}
		}
		return f.run(cmd)
	}
	return cmd
}

// logMemory is the soft limit of a log that runs alone: memtables and cache are
// about 75 MB of it, whatever the log's size.
const logMemory = 96 << 20

// logFlags are the settings of gemello log.
type logFlags struct {
	app                     *app
	data, listen, advertise string
	auth, cert, key         string
	metrics                 string
	cpuProfile              string
	retention               Duration
	retentionBytes          Size
	housekeeping, syncDelay time.Duration
	logging                 LoggingConfig
}

func (f *logFlags) run(cmd *cobra.Command) error {
	logger := newLogger(f.logging, f.app.stderr)
	o, err := f.options(logger)
	if err != nil {
		return err
	}
	// The log itself says that a port is taken, this says by whom.
	if o.Listen, err = newBinder(false).reserve(&Config{}, listenerEntry{name: "log", key: "--listen", addr: f.listen}); err != nil {
		return err
	}
	privateUmask()
	ctx, stop := interruptible(cmd.Context())
	defer stop()
	limitMemory(ctx, logMemory)
	if f.cpuProfile != "" {
		end, err := startCPUProfile(f.cpuProfile)
		if err != nil {
			return usagef("--cpuprofile: %v", err)
		}
		defer end()
	}
	stopMetrics, err := f.serveMetrics(&o)
	if err != nil {
		return err
	}
	defer stopMetrics()
	server, err := broker.Start(ctx, o)
	if err != nil {
		return usagef("%v", err)
	}
	if _, err := fmt.Fprintf(f.app.stdout, "listening on %s\n", server.Addr()); err != nil {
		return errors.Join(err, server.Close())
	}
	<-ctx.Done()
	return server.Close()
}

// serveMetrics gives the log a registry and shows what is in it.
func (f *logFlags) serveMetrics(o *broker.Options) (stop func(), err error) {
	if f.metrics == "" {
		return func() {}, nil
	}
	socket, err := net.Listen("tcp", f.metrics)
	if err != nil {
		return nil, usagef("--metrics: %v; choose another address", err)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	o.Registerer = registry
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10, ErrorLog: discardLog}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(socket) // until it is closed
	}()
	return func() {
		server.Close()
		<-ended
	}, nil
}

// options checks the flags.
func (f *logFlags) options(logger *slog.Logger) (broker.Options, error) {
	o := broker.Options{
		Dir: f.data, Advertise: f.advertise, SyncWrites: true,
		Retention: time.Duration(f.retention), RetentionBytes: int64(f.retentionBytes), Logger: logger,
		Housekeeping: f.housekeeping,
	}
	if f.syncDelay > 0 {
		o.FS = broker.SlowDisk(f.syncDelay)
	}
	if f.data == "" {
		return o, usagef("log: --data is needed: the directory where the log is kept")
	}
	host, port, err := net.SplitHostPort(f.listen)
	if err != nil || !validPort(port, 0) {
		return o, &configError{Key: "--listen", Value: f.listen, Allowed: "HOST:PORT"}
	}
	if f.auth != "" {
		if o.Users, o.Grants, err = readUsers(f.auth); err != nil {
			return o, err
		}
	} else if !isLoopbackName(host) {
		return o, &configError{Key: "--listen", Value: f.listen, Allowed: "a loopback address without --auth", Remedy: "listen on 127.0.0.1, or name a file of users with --auth"}
	}
	if (host == "" || net.ParseIP(host).IsUnspecified()) && f.advertise == "" {
		return o, usagef("--advertise: needed with --listen %q: clients must be told a host to connect to", f.listen)
	}
	switch {
	case (f.cert == "") != (f.key == ""):
		return o, usagef("--tls-cert and --tls-key: give both, or neither")
	case f.cert != "":
		pair, err := tls.LoadX509KeyPair(f.cert, f.key)
		if err != nil {
			return o, usagef("--tls-cert: %v; name a certificate and its key", err)
		}
		o.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	}
	return o, nil
}

// readUsers reads lines of USER:PASSWORD and, after blanks, grants. Who has none
// may do everything. A password holds no blanks. Errors hold no password.
func readUsers(file string) ([]broker.User, map[string][]access.Grant, error) {
	b, err := readSmallFile(file)
	if err != nil {
		return nil, nil, usagef("--auth: %v; name a readable file with one USER:PASSWORD [GRANT …] a line", err)
	}
	var users []broker.User
	grants := make(map[string][]access.Grant)
	seen := make(map[string]bool)
	lines := bufio.NewScanner(bytes.NewReader(b))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		words := strings.Fields(line)
		name, password, ok := strings.Cut(words[0], ":")
		switch {
		case !ok || name == "" || password == "":
			return nil, nil, usagef("--auth: %s:%d: not allowed; allowed: USER:PASSWORD [GRANT …]", file, n)
		case seen[name]:
			return nil, nil, usagef("--auth: %s:%d: user %q is given twice; remove one", file, n, name)
		}
		seen[name] = true
		users = append(users, broker.User{Name: name, Password: password})
		for _, word := range words[1:] {
			g, err := access.ParseGrant(word)
			if err != nil {
				// Not the word: who puts a blank into a password would read it here.
				return nil, nil, usagef("--auth: %s:%d: not a grant after user %q; allowed: read:PREFIX, write:PREFIX, admin:PREFIX, with * for all topics", file, n, name)
			}
			grants[name] = append(grants[name], g)
		}
	}
	if len(users) == 0 {
		return nil, nil, usagef("--auth: %s names no user; allowed: one USER:PASSWORD [GRANT …] a line", file)
	}
	return users, grants, lines.Err()
}
