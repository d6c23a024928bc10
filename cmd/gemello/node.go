package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	actor "github.com/oklog/run"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/gemello/gemello/actors"
	"github.com/gemello/gemello/api"
	"github.com/gemello/gemello/cluster"
	"github.com/gemello/gemello/device/credential"
	"github.com/gemello/gemello/device/ipfilter"
	"github.com/gemello/gemello/ingest/https"
	"github.com/gemello/gemello/ingest/mqtt"
	"github.com/gemello/gemello/ingest/websocket"
	"github.com/gemello/gemello/persistence/broker"
	"github.com/gemello/gemello/persistence/eventlog"
	"github.com/gemello/gemello/sinks/webhook"
)

// stopTimeout bounds an orderly stop: what is not committed by then is done
// again by the next start.
const stopTimeout = 20 * time.Second

// runNode connects the parts of a node and runs it until ctx ends or a part
// fails. It stops in the opposite order of the data's way: intake first, then
// cores, then the log.
func runNode(ctx context.Context, cfg *Config, env *nodeEnv) (err error) {
	started := time.Now()
	memory, free := context.WithCancel(ctx)
	defer free()
	limitMemory(memory, int64(cfg.Limits.Memory))
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	sealer, err := credential.NewSealer(env.HubKey, rand.Reader)
	if err != nil {
		return usagef("secrets: %v", err)
	}
	poster := webhook.New(webhook.Options{Private: cfg.Routing.PrivateWebhooks})
	defer poster.Close()
	var running atomic.Pointer[actors.Node]
	options, closeLog, err := openLog(ctx, cfg, env, registry, func(topic string, partition int32) (int64, bool) {
		if node := running.Load(); node != nil {
			return node.Floor(topic, partition)
		}
		return 0, true // nothing is known yet, so everything is kept
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeLog()) }()
	log, err := eventlog.Open(ctx, options)
	if err != nil {
		return usagef("log: %v", err)
	}
	defer log.Close()
	node, err := actors.Start(ctx, actors.Options{
		Log: log, Cluster: joinCluster, Hub: cfg.Hub, Data: env.Data.join(), Partitions: int32(cfg.Log.Partitions),
		CommitEvery: time.Duration(cfg.Commit.Interval), StateBudget: int64(cfg.Limits.WindowMemory),
		Heartbeat: heartbeat(cfg),
		Appender:  eventlog.AppenderOptions{MaxBytes: int(cfg.Limits.AppendBytes)},
		Topics:    eventlog.HubTopicOptions{Retention: time.Duration(cfg.Log.Retention)},
		Routing:   cfg.Routing.limits(), Commands: cfg.Commands.rules(), Webhooks: actors.WebhookOptions{Sender: webhookSender{poster, sealer}},
		Logger: env.Logger, Registerer: registry,
		FlushRecords: env.Trial.flushRecords, Break: actors.Fault(env.Trial.fault),
	}, env.Adopt)
	if err != nil {
		return startError(err)
	}
	running.Store(node)
	stop := func() error {
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		return node.Stop(ctx)
	}
	policies, err := openPolicies(ctx, node, sealer, env.Logger)
	if err == nil {
		err = applyConfigured(ctx, node, cfg.Pipelines)
	}
	if err == nil {
		err = applyRouting(ctx, routingAdapter{node, sealer, cfg.Routing.PrivateWebhooks}, cfg)
	}
	if err != nil {
		return errors.Join(err, stop())
	}
	n := &nodeServers{cfg: cfg, env: env, node: node, log: log, registry: registry, sealer: sealer, policies: policies, started: started}
	if err := n.serve(ctx); err != nil {
		return errors.Join(err, stop())
	}
	return stop()
}

// joinCluster makes this node the only member of its cluster.
func joinCluster(n actors.ClusterNeeds) (actors.Cluster, error) {
	return cluster.Start(cluster.Options{
		Node: n.Node, Partitions: n.Partitions, DeviceProps: n.DeviceProps,
		Now: n.Now, Logger: n.Logger, Registerer: n.Registerer,
	})
}

// heartbeat makes an idle owner commit where another process could own the same
// partitions.
func heartbeat(cfg *Config) time.Duration {
	if len(cfg.Log.Kafka) > 0 {
		return 2 * time.Second
	}
	return 0
}

// startError turns what is wrong with the set-up into exit code 2.
func startError(err error) error {
	if errors.Is(err, actors.ErrForeignHub) {
		return usagef("hub: %v", err)
	}
	return err
}

// openLog starts the embedded log when no Kafka is configured and returns how
// to reach the log.
func openLog(ctx context.Context, cfg *Config, env *nodeEnv, registry prometheus.Registerer, floor func(string, int32) (int64, bool)) (eventlog.Options, func() error, error) {
	o := eventlog.Options{
		Seeds: cfg.Log.Kafka, ClientID: "gemello", Logger: env.Logger, Registerer: registry,
		Replication: int16(cfg.Log.Replication), MinInsync: int16(cfg.Log.MinInsync),
	}
	if len(cfg.Log.Kafka) > 0 {
		var err error
		o.SASL = eventlog.SASL{Mechanism: cfg.Log.SASL.Mechanism, User: cfg.Log.SASL.User, Password: cfg.Log.SASL.Password}
		o.TLS, err = kafkaTLS(&cfg.Log.TLS)
		return o, func() error { return nil }, err
	}
	private, readOnly := embeddedAccess(cfg.Hub)
	bo := broker.Options{
		Dir: env.Data.join("log"), Listen: env.Listeners.LogListen, SyncWrites: true,
		Private: private, ReadOnly: readOnly, PrivatePrefix: cfg.Hub + ".",
		Retention: time.Duration(cfg.Log.Retention), RetentionBytes: int64(cfg.Log.RetentionBytes),
		Floor: floor, Logger: env.Logger, Registerer: registry,
	}
	if cfg.Log.AuthFile != "" {
		var err error
		if bo.Users, bo.Grants, err = readUsers(cfg.Log.AuthFile); err != nil {
			return o, nil, err
		}
		for _, u := range bo.Users {
			// One without grants could write what is the node's alone.
			if len(bo.Grants[u.Name]) == 0 {
				return o, nil, usagef("log.auth_file: %s: user %q has no grant; add read:PREFIX, write:PREFIX or admin:PREFIX", cfg.Log.AuthFile, u.Name)
			}
		}
	}
	if env.SyncDelay > 0 {
		bo.FS = broker.SlowDisk(env.SyncDelay)
	}
	server, err := broker.Start(ctx, bo)
	if err != nil {
		return o, nil, usagef("%v", err)
	}
	o.Seeds = []string{server.Addr()}
	c := server.Credentials()
	o.SASL = eventlog.SASL{Mechanism: c.Mechanism, User: c.User, Password: c.Password}
	return o, server.Close, nil
}

// embeddedAccess lists the hub's topics by who may use them on loopback without
// credentials (design 6).
func embeddedAccess(hub string) (private, readOnly []string) {
	for _, t := range eventlog.HubTopics(hub, 1, eventlog.HubTopicOptions{}) {
		if t.Internal {
			private = append(private, t.Name)
		} else {
			readOnly = append(readOnly, t.Name)
		}
	}
	return private, readOnly
}

func kafkaTLS(c *KafkaTLS) (*tls.Config, error) {
	if !c.Enabled {
		return nil, nil
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CA != "" {
		pem, err := os.ReadFile(c.CA)
		if err != nil {
			return nil, usagef("log.tls.ca: %v", err)
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(pem) {
			return nil, usagef("log.tls.ca: %s holds no PEM certificate", c.CA)
		}
	}
	if c.Cert != "" {
		pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
		if err != nil {
			return nil, usagef("log.tls.cert: %v", err)
		}
		t.Certificates = []tls.Certificate{pair}
	}
	return t, nil
}

// nodeServers are the listeners of a running node.
type nodeServers struct {
	cfg      *Config
	env      *nodeEnv
	node     *actors.Node
	log      *eventlog.Log
	registry *prometheus.Registry
	sealer   *credential.Sealer
	policies *policies
	started  time.Time
}

// serve answers on all listeners until ctx ends or one of them fails.
func (n *nodeServers) serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	limiter, err := newLimiter(&n.cfg.Throttle, n.registry)
	if err != nil {
		return usagef("throttle: %v", err)
	}
	limiter.stopped = ctx.Done()
	configured, err := ipfilter.Parse(n.cfg.IPFilter)
	if err != nil {
		return usagef("ip_filter: %v", err)
	}
	filters, err := openIPFilters(n.node, configured, n.env.Logger)
	if err != nil {
		return err
	}
	gateway := newGateway(n.node, n.cfg.Hostnames, n.policies, n.sealer, limiter, filters.accepts(ipfilter.Devices), n.env.Logger)
	cas, err := openDeviceCAs(n.cfg.TLS.DeviceCA, n.env.Logger)
	if err != nil {
		return usagef("tls.device_ca: %v", err)
	}
	gateway.trustDeviceCAs(cas)
	gate := mqtt.New(mqtt.Options{Hub: gateway, Logger: n.env.Logger, Registerer: n.registry,
		Limits: mqtt.Limits{Handshakes: n.cfg.Limits.Handshakes}})
	hub := hubAdapter{n.node}
	service, err := api.NewService(api.ServiceOptions{
		Hub: hub, Methods: hub, Queries: queriesAdapter{n.node}, Live: queriesAdapter{n.node}, Commands: hub, Configurations: configurationsAdapter{n.node}, Jobs: jobsAdapter{n.node}, Policies: n.policies, Sealer: n.sealer, Hostnames: n.cfg.Hostnames, Skew: clockSkew,
		Throttle: limiter, Accepts: filters.accepts(ipfilter.Service),
		Logger: n.env.Logger, Registerer: n.registry,
	})
	if err != nil {
		return err
	}
	admin, err := api.NewAdmin(api.AdminOptions{
		Token: n.env.AdminToken, Hosts: adminHosts(n.cfg), Hostnames: n.cfg.Hostnames,
		Hub: hub, Methods: hub, Queries: queriesAdapter{n.node}, Live: queriesAdapter{n.node}, Indexes: indexesAdapter{n.node}, Commands: hub, Jobs: jobsAdapter{n.node}, Configurations: configurationsAdapter{n.node}, Policies: n.policies, PolicyStore: n.policies, Routing: routingAdapter{n.node, n.sealer, n.cfg.Routing.PrivateWebhooks}, IPFilters: filters, Sealer: n.sealer,
		Moves: movesAdapter{n.node}, Backups: backupAdapter{n}, Histories: historyAdapter{n.node},
		AuditTopic: eventlog.HubTopic(n.cfg.Hub, eventlog.TopicDeviceLog),
		Pipelines:  pipelinesAdapter{n.node}, Topics: topicsAdapter{n.log, n.cfg.Hub},
		Health: healthAdapter{n}, Status: statusAdapter{n},
		Metrics: promhttp.HandlerFor(n.registry, promhttp.HandlerOpts{}),
		Logger:  n.env.Logger, Registerer: n.registry,
	})
	if err != nil {
		return err
	}
	var g actor.Group
	g.Add(func() error { <-ctx.Done(); return nil }, func(error) { cancel() })
	g.Add(func() error { return n.node.Wait(ctx) }, func(error) {})
	g.Add(func() error { n.policies.follow(ctx); return nil }, func(error) { cancel() })
	g.Add(func() error { filters.follow(ctx); return nil }, func(error) { cancel() })
	g.Add(func() error {
		ticker := time.NewTicker(certificateCheck)
		defer ticker.Stop()
		cas.watch(ctx, ticker.C)
		return nil
	}, func(error) { cancel() })
	for _, name := range []string{"mqtts", "mqtt"} {
		l := n.env.Listeners.named(name)
		if l == nil {
			continue
		}
		for _, socket := range l.Sockets {
			g.Add(func() error {
				if name == "mqtts" {
					return quiet(gate.ServeTLS(socket, n.env.TLS.Clone()))
				}
				return quiet(gate.Serve(socket))
			}, func(error) { stopMQTT(gate) })
		}
	}
	bridges, err := n.newBridges(ctx)
	if err != nil {
		return err
	}
	for _, b := range bridges {
		bridging, stopBridge := context.WithCancel(ctx)
		g.Add(func() error { return b.Run(bridging) }, func(error) { stopBridge() })
	}
	devices := https.New(https.Options{Hub: requests{gateway}, Logger: n.env.Logger, Registerer: n.registry})
	sockets := &websocket.Handler{
		Protocols: map[string]func(net.Conn){"mqtt": func(c net.Conn) { gate.ServeConn(c, "mqttws") }},
		Reserve:   n.env.Listeners.Devices.reserve,
	}
	// A server of HTTP does not end what was upgraded.
	g.Add(func() error { <-ctx.Done(); return nil }, func(error) { stopMQTT(gate) })
	// Answers without an end would hold the stop of the servers up.
	g.Add(func() error { <-ctx.Done(); return nil }, func(error) { n.node.StopLiveQueries() })
	n.addHTTP(&g, "https", sharedPort{devices: devices, service: service, sockets: sockets}, n.env.TLS)
	adminTLS := n.env.TLS
	if l := n.env.Listeners.named("admin"); l != nil && l.Loopback {
		adminTLS = nil
	}
	n.addHTTP(&g, "admin", admin, adminTLS)
	if err := n.env.Ready(); err != nil {
		stopMQTT(gate)
		return err
	}
	return g.Run()
}

func stopMQTT(gate *mqtt.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout/2)
	defer cancel()
	gate.Shutdown(ctx)
}

// addHTTP serves a handler on all sockets of a listener.
func (n *nodeServers) addHTTP(g *actor.Group, name string, h http.Handler, t *tls.Config) {
	l := n.env.Listeners.named(name)
	if l == nil {
		return
	}
	for _, socket := range l.Sockets {
		server := &http.Server{
			Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 5 * time.Minute, MaxHeaderBytes: 64 << 10,
			ErrorLog: discardLog,
		}
		g.Add(func() error {
			if t != nil {
				config := t.Clone()
				config.NextProtos = []string{"http/1.1"}
				return quiet(serveLenient(server, socket, config))
			}
			return quiet(server.Serve(socket))
		}, func(error) {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			if server.Shutdown(ctx) != nil {
				server.Close()
			}
		})
	}
}

// quiet drops the errors that a listener ends with when it is closed on
// purpose.
func quiet(err error) error {
	if errors.Is(err, http.ErrServerClosed) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}
