package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/oklog/run"
	"github.com/spf13/cobra"

	"github.com/gemello/gemello/internal/pki"
)

// certificateCheck is how often certificate files are looked at.
const certificateCheck = 10 * time.Second

func newServeCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run a node",
		Long:  "Run a node until it is interrupted.\n\nEvery key of the configuration file is a flag of the same name (--log.listen) and an\nenvironment variable (GEMELLO_LOG_LISTEN); flags win over the environment, that over the file.",
		Args:  cobra.NoArgs,
	}
	cmd.Flags().SortFlags = false
	source := newConfigSource(a, cmd.Flags())
	s := &server{app: a}
	cmd.Flags().BoolVar(&s.demo, "demo", false, "loopback only, free ports, a data directory of its own, simulated devices and a sample pipeline")
	cmd.Flags().BoolVar(&s.adopt, "adopt", false, "take over a Kafka that already holds this hub's topics")
	cmd.Flags().StringVar(&s.cpuProfile, "cpuprofile", "", "file for a CPU profile of the whole run")
	cmd.Flags().DurationVar(&s.syncDelay, "sync-delay", 0, "what a sync of the node's own log takes at least")
	for _, name := range []string{"cpuprofile", "sync-delay"} {
		cobra.CheckErr(cmd.Flags().MarkHidden(name)) // for gemello bench
	}
	s.trial.add(cmd.Flags())
	printConfig := cmd.Flags().Bool("print-config", false, "print the effective configuration, secrets masked, and exit")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := source.load()
		if err != nil {
			return err
		}
		if s.demo {
			if err := demoConfig(cfg); err != nil {
				return err
			}
		}
		if err := s.trial.check(cfg.Hub); err != nil {
			return err
		}
		if *printConfig {
			return cfg.print(a.stdout)
		}
		s.unknownVars = source.unknownVariables()
		ctx, stop := interruptible(cmd.Context())
		defer stop()
		if s.cpuProfile != "" {
			end, err := startCPUProfile(s.cpuProfile)
			if err != nil {
				return usagef("--cpuprofile: %v", err)
			}
			defer end()
		}
		return s.serve(ctx, cfg)
	}
	return cmd
}

// server is one run of gemello serve.
type server struct {
	app         *app
	demo, adopt bool
	cpuProfile  string
	syncDelay   time.Duration
	trial       trial
	unknownVars []string
}

// nodeEnv is what serve prepares for the node: everything that can be wrong
// with a machine or a configuration has been found before runNode is called.
type nodeEnv struct {
	Logger     *slog.Logger
	Data       *dataDir
	HubKey     []byte // 32 bytes
	AdminToken string
	Identity   *pki.Identity
	TLS        *tls.Config // for mqtts, https, and admin off loopback; clone before changing
	Listeners  *boundListeners
	Adopt      bool
	Trial      trial
	SyncDelay  time.Duration // of the node's own log, to measure as on a slower disk
	// Ready is called by runNode once every listener is served; it writes
	// run.json, after which commands find the node.
	Ready func() error
}

// serve prepares, runs the node and cleans up, in this order: the lock before
// any file, ports before keys are shown to anybody, run.json last.
func (s *server) serve(ctx context.Context, cfg *Config) (err error) {
	privateUmask()
	logger := newLogger(cfg.Logging, s.app.stderr)
	for _, name := range s.unknownVars {
		logger.Warn("environment variable is no setting", "name", name)
	}
	remove, err := s.chooseData(cfg)
	if err != nil {
		return err
	}
	defer remove()
	data, err := openDataDir(cfg.Data)
	if err != nil {
		return err
	}
	defer data.Close()
	hubKey, err := data.hubKey(cfg)
	if err != nil {
		return err
	}
	token, err := data.adminToken()
	if err != nil {
		return err
	}
	identity, err := pki.Open(pki.Options{
		Dir: data.join(pkiDir), Names: cfg.Hostnames,
		Cert: cfg.TLS.Cert, Key: cfg.TLS.Key, CA: cfg.TLS.CA, Logger: logger,
	})
	if err != nil {
		return usagef("tls: %v", err)
	}
	ports, err := newBinder(s.demo).bind(cfg)
	if err != nil {
		return err
	}
	defer ports.Close()

	ready := make(chan struct{})
	info := newRunInfo(cfg, data, identity, ports)
	env := &nodeEnv{
		Logger: logger, Data: data, HubKey: hubKey, AdminToken: token,
		Identity: identity, TLS: identity.TLSConfig(), Listeners: ports, Adopt: s.adopt, Trial: s.trial, SyncDelay: s.syncDelay,
	}
	env.Ready = func() error {
		if err := data.writeRunInfo(info); err != nil {
			return err
		}
		logger.Info("ready", "hub", cfg.Hub, "hostnames", cfg.Hostnames, "admin", info.Admin, "kafka", info.Kafka)
		close(ready)
		return nil
	}
	defer func() {
		if e := data.removeRunInfo(); err == nil {
			err = e
		}
	}()
	return s.runGroup(ctx, cfg, env, info, ready)
}

// runGroup runs the node and what accompanies it; the first to return ends all.
func (s *server) runGroup(ctx context.Context, cfg *Config, env *nodeEnv, info *runInfo, ready <-chan struct{}) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := func(error) { cancel() }
	var g run.Group
	g.Add(func() error { return runNode(ctx, cfg, env) }, stop)
	g.Add(func() error {
		ticker := time.NewTicker(certificateCheck)
		defer ticker.Stop()
		env.Identity.Watch(ctx, ticker.C)
		return nil
	}, stop)
	if s.demo {
		g.Add(func() error {
			select {
			case <-ctx.Done():
				return nil
			case <-ready:
			}
			return runDemo(ctx, info, s.app.stdout, env.Logger)
		}, stop)
	}
	return g.Run()
}

// chooseData gives a demo without --data a directory that goes with it.
func (s *server) chooseData(cfg *Config) (remove func(), err error) {
	if _, given := cfg.origin["data"]; !s.demo || given {
		return func() {}, nil
	}
	dir, err := os.MkdirTemp("", "gemello-demo-")
	if err != nil {
		return nil, usagef("data: %v; name a directory with --data", err)
	}
	cfg.Data = dir
	return func() { os.RemoveAll(dir) }, nil
}

func newLogger(c LoggingConfig, w io.Writer) *slog.Logger {
	var level slog.Level
	// validated: the four names are slog's
	_ = level.UnmarshalText([]byte(c.Level))
	o := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

func newRunInfo(cfg *Config, data *dataDir, identity *pki.Identity, ports *boundListeners) *runInfo {
	info := &runInfo{
		PID: os.Getpid(), Version: versionText(), Hub: cfg.Hub, StartedAt: time.Now().UTC(),
		TokenFile: data.join(tokenFile), Hostnames: cfg.Hostnames,
		Ports: make(map[string]int), Listen: make(map[string][]string),
		Kafka: cfg.Log.Kafka, CA: absolute(identity.CAFile()),
	}
	if ports.LogListen != "" {
		info.Kafka = []string{ports.LogListen}
	}
	for _, l := range ports.all {
		info.Ports[l.Name] = l.Port
		info.Listen[l.Name] = l.Addrs()
	}
	if l := ports.named("admin"); l != nil {
		scheme, addr := "http", l.dialAddr()
		if !l.Loopback {
			// The certificate carries the host names, not the wildcard address.
			scheme, addr = "https", net.JoinHostPort(cfg.Hostnames[0], strconv.Itoa(l.Port))
		}
		info.Admin = scheme + "://" + addr
	}
	return info
}

// hostPort joins a host and a port unless the port is the protocol's own.
func hostPort(host string, port, usual int) string {
	if port == usual {
		return host
	}
	if strings.Contains(host, ":") {
		return fmt.Sprintf("[%s]:%d", host, port)
	}
	return fmt.Sprintf("%s:%d", host, port)
}
