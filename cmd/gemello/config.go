package main

import (
	"time"
)

// Config is the effective configuration of a node. The yaml names are the keys
// of the file, of the flags (--log.listen) and of the environment
// (GEMELLO_LOG_LISTEN); the usage tag is the flag's help. A field tagged secret
// is never a flag and never in a file: it comes from the environment, or from
// the file that a neighbouring key names.
type Config struct {
	Hostnames []string         `yaml:"hostnames" usage:"names and addresses of this hub; the first is HostName of connection strings"`
	Hub       string           `yaml:"hub" usage:"prefix of topics and transactional ids"`
	Data      string           `yaml:"data" usage:"data directory, used by one process"`
	Log       LogConfig        `yaml:"log"`
	Listeners ListenersConfig  `yaml:"listeners"`
	TLS       TLSConfig        `yaml:"tls"`
	Secrets   SecretsConfig    `yaml:"secrets"`
	Cluster   ClusterConfig    `yaml:"cluster"`
	Commit    CommitConfig     `yaml:"commit"`
	Limits    LimitsConfig     `yaml:"limits"`
	Commands  CommandsConfig   `yaml:"commands"`
	Throttle  ThrottleConfig   `yaml:"throttle"`
	IPFilter  []string         `yaml:"ip_filter" usage:"rules accept|reject CIDR [devices|service]; the first that fits decides"`
	Logging   LoggingConfig    `yaml:"logging"`
	Pipelines []PipelineConfig `yaml:"pipelines" usage:"pipelines as YAML text, or @FILE"`
	Bridges   []BridgeConfig   `yaml:"bridges" usage:"bridges from MQTT brokers as YAML text, or @FILE"`

	Routing     RoutingConfig      `yaml:"routing"`
	Routes      []RouteConfig      `yaml:"routes" usage:"message routes as YAML text, or @FILE"`
	Enrichments []EnrichmentConfig `yaml:"enrichments" usage:"message enrichments as YAML text, or @FILE"`
	Webhooks    []WebhookConfig    `yaml:"webhooks" usage:"webhooks that routes may name as YAML text, or @FILE"`

	// origin says where each key that is not a default was set: "F:LINE",
	// "--flag" or "GEMELLO_NAME".
	origin map[string]string
}

// LogConfig says where the log is. Without Kafka seeds the node runs its own
// embedded log on Listen.
type LogConfig struct {
	Kafka          []string  `yaml:"kafka" usage:"seed brokers host:port; empty: the embedded log"`
	Listen         string    `yaml:"listen" usage:"loopback address of the embedded log"`
	AuthFile       string    `yaml:"auth_file" usage:"file of users of the embedded log with their grants; empty: anonymous clients"`
	Partitions     int       `yaml:"partitions" usage:"partitions of the device log, fixed once made"`
	Replication    int       `yaml:"replication" usage:"replicas of topics that the hub makes; 0: the cluster's default"`
	MinInsync      int       `yaml:"min_insync" usage:"min.insync.replicas of these topics; 0: the cluster's default"`
	Retention      Duration  `yaml:"retention" usage:"how long the device log keeps records"`
	RetentionBytes Size      `yaml:"retention_bytes" usage:"how much the embedded log keeps in all"`
	TLS            KafkaTLS  `yaml:"tls"`
	SASL           KafkaSASL `yaml:"sasl"`
}

// KafkaTLS is how the node trusts the brokers, and shows itself to them.
type KafkaTLS struct {
	Enabled bool   `yaml:"enabled" usage:"speak TLS to the brokers"`
	CA      string `yaml:"ca" usage:"PEM file of the brokers' CA; empty: the system's"`
	Cert    string `yaml:"cert" usage:"PEM file of the node's client certificate"`
	Key     string `yaml:"key" usage:"PEM file of its key"`
}

// KafkaSASL is how the node signs in to the brokers.
type KafkaSASL struct {
	Mechanism    string `yaml:"mechanism" usage:"PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512; empty: no sign-in"`
	User         string `yaml:"user" usage:"user name"`
	PasswordFile string `yaml:"password_file" usage:"file that holds the password"`
	Password     string `yaml:"password" secret:"true"`
}

// ListenersConfig holds listen addresses; "" turns one off. An address without
// a host means loopback while all host names do, else all interfaces.
type ListenersConfig struct {
	MQTTS         string `yaml:"mqtts" usage:"MQTT over TLS"`
	HTTPS         string `yaml:"https" usage:"REST of services and of devices, and MQTT over WebSocket, over TLS"`
	AMQPS         string `yaml:"amqps" usage:"AMQP over TLS; not in this version"`
	MQTT          string `yaml:"mqtt" usage:"MQTT without TLS, on loopback"`
	Admin         string `yaml:"admin" usage:"admin API and metrics; TLS when not on loopback"`
	PlainAnywhere bool   `yaml:"plain_anywhere" usage:"allow listeners.mqtt off loopback"`
}

// TLSConfig names a certificate of the user's; without one the node has a CA of
// its own under the data directory.
type TLSConfig struct {
	Cert string `yaml:"cert" usage:"PEM file of the server certificate and its chain; empty: made under data/pki"`
	Key  string `yaml:"key" usage:"PEM file of its key"`
	CA   string `yaml:"ca" usage:"PEM file of its CA, for gemello trust and simulate; empty: publicly trusted"`
	// DeviceCA is read again when it changes.
	DeviceCA string `yaml:"device_ca" usage:"PEM file of the CAs, up to 25, whose certificates devices may show; reloaded when it changes; empty: none"`
}

// SecretsConfig names the key that seals secrets on topics and in stores.
type SecretsConfig struct {
	KeyFile string `yaml:"key_file" usage:"file of the hub key, the same on all nodes; empty: data/hub.key"`
	Key     string `yaml:"key" secret:"true"`
}

// ClusterConfig is for several nodes of one hub.
type ClusterConfig struct {
	Listen string   `yaml:"listen" usage:"address for other members; not in this version"`
	Join   []string `yaml:"join" usage:"addresses of members to join; not in this version"`
}

// CommitConfig paces the partition actors.
type CommitConfig struct {
	Interval Duration `yaml:"interval" usage:"how often results and checkpoints are committed"`
}

// LimitsConfig bounds what a node takes in and keeps in memory.
type LimitsConfig struct {
	Connections  int  `yaml:"connections" usage:"most device connections at a time"`
	Handshakes   int  `yaml:"handshakes" usage:"most connections that have not signed in yet"`
	AppendBytes  Size `yaml:"append_bytes" usage:"most bytes on their way into the log; senders wait beyond"`
	Memory       Size `yaml:"memory" usage:"soft limit of the node's heap, near which the garbage collector works harder; it rises with what is in use"`
	WindowMemory Size `yaml:"window_memory" usage:"memory for open windows; spilled to disk beyond"`
}

// LoggingConfig is about the node's own log lines, which go to stderr.
type LoggingConfig struct {
	Level  string `yaml:"level" usage:"debug, info, warn or error"`
	Format string `yaml:"format" usage:"text or json"`
}

// PipelineConfig is one query and its time policies (stream-semantics 2.2).
type PipelineConfig struct {
	Name         string   `yaml:"name"`
	Query        string   `yaml:"query"`
	Late         Duration `yaml:"late"`
	OutOfOrder   Duration `yaml:"out_of_order"`
	Early        Duration `yaml:"early"`
	OnLate       string   `yaml:"on_late"`
	OnOutOfOrder string   `yaml:"on_out_of_order"`
	OnEarly      string   `yaml:"on_early"`
	Key          string   `yaml:"key"`
	Arrival      string   `yaml:"arrival"`
}

// BridgeConfig takes telemetry from an existing MQTT broker. The device ids that
// the template gives must be those of devices of this hub.
type BridgeConfig struct {
	Name         string   `yaml:"name"`
	Broker       string   `yaml:"broker"`   // mqtt://host[:1883] or mqtts://host[:8883]
	Template     string   `yaml:"template"` // plant/{deviceId}/data
	Filter       string   `yaml:"filter"`   // empty: the template's own
	Group        string   `yaml:"group"`    // name of the shared subscription, the same on all nodes
	ClientID     string   `yaml:"client_id"`
	User         string   `yaml:"user"`
	PasswordFile string   `yaml:"password_file"`
	CA           string   `yaml:"ca"`
	Cert         string   `yaml:"cert"`
	Key          string   `yaml:"key"`
	MaxInflight  int      `yaml:"max_inflight"`
	Expiry       Duration `yaml:"session_expiry"`
}

// RoutingConfig is about message routing as a whole.
type RoutingConfig struct {
	Fallback        string `yaml:"fallback" usage:"on or off: telemetry that no route matches goes to events; empty: as it was last set, at first on"`
	MaxRoutes       int    `yaml:"max_routes" usage:"most routes of the hub"`
	MaxEndpoints    int    `yaml:"max_endpoints" usage:"most endpoints beside events, at most 60"`
	MaxEnrichments  int    `yaml:"max_enrichments" usage:"most enrichments of the hub"`
	PrivateWebhooks bool   `yaml:"private_webhooks" usage:"webhooks may lie on loopback and private addresses, and be http"`
}

// RouteConfig sends the messages of a source that pass a condition to endpoints.
type RouteConfig struct {
	Name      string   `yaml:"name"`
	Source    string   `yaml:"source"`
	Condition string   `yaml:"condition"`
	Endpoints []string `yaml:"endpoints"`
	Enabled   bool     `yaml:"enabled"`
}

// EnrichmentConfig adds a property to the copies for some endpoints; Key is the
// property's name.
type EnrichmentConfig struct {
	Key       string   `yaml:"key"`
	Value     string   `yaml:"value"`
	Endpoints []string `yaml:"endpoints"`
}

// WebhookConfig is an endpoint that messages are posted to.
type WebhookConfig struct {
	Name              string `yaml:"name"`
	URL               string `yaml:"url"`
	AuthorizationFile string `yaml:"authorization_file"`
}

// defaultBridge names the parts of a bridge after the product.
func defaultBridge() BridgeConfig {
	return BridgeConfig{Name: "bridge", Group: "gemello", ClientID: "gemello", MaxInflight: 512, Expiry: Duration(time.Hour)}
}

// defaultConfig is what an empty file means.
func defaultConfig() *Config {
	return &Config{
		Hostnames: []string{"localhost", "127.0.0.1"},
		Hub:       "gemello",
		Data:      "./data",
		Log: LogConfig{
			Listen:         "127.0.0.1:9092",
			Partitions:     8,
			Retention:      Duration(7 * 24 * time.Hour),
			RetentionBytes: 10 << 30,
		},
		Listeners: ListenersConfig{MQTTS: ":8883", HTTPS: ":443", Admin: "127.0.0.1:7080"},
		// Each commit is a transaction a partition, with a sync or more; half a
		// second is soon enough for windows of seconds.
		Commit: CommitConfig{Interval: Duration(500 * time.Millisecond)},
		Limits: LimitsConfig{
			Connections: 100_000,
			// provisioning-edge-security 4.6
			Handshakes:   1000,
			AppendBytes:  64 << 20,
			Memory:       320 << 20,
			WindowMemory: 256 << 20,
		},
		Commands: defaultCommands(),
		Throttle: defaultThrottle(),
		Routing:  RoutingConfig{MaxRoutes: 100, MaxEndpoints: 10, MaxEnrichments: 10},
		Logging:  LoggingConfig{Level: "info", Format: "text"},
	}
}

// defaultPipeline has Azure's defaults for times and actions: what a job does
// there it does here, but that early records leave a trace.
func defaultPipeline() PipelineConfig {
	return PipelineConfig{
		Late:         Duration(5 * time.Second),
		Early:        Duration(5 * time.Minute),
		OnLate:       "adjust",
		OnOutOfOrder: "adjust",
		OnEarly:      "side_output",
		Arrival:      "record",
	}
}
