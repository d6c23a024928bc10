package api

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gemello/gemello/device/credential"
	"github.com/prometheus/client_golang/prometheus"
)

// AdminOptions says what an Admin works with. Parties that are nil are answered
// with 501.
type AdminOptions struct {
	// Token is the bearer token of all of /api/v1, at least 16 characters.
	Token string
	// Hosts are the names and addresses, without port, that a Host header may
	// carry; others are refused, which stops web pages that point a name of
	// theirs at this node.
	Hosts []string
	// Hostnames are the hub's names; the first is HostName of connection strings.
	Hostnames []string

	Hub      Hub
	Moves    Moves
	Methods  Methods
	Commands Commands
	Jobs     Jobs
	// Configurations manages desired properties of many devices.
	Configurations Configurations
	Backups        Backups
	Histories      Histories
	Policies       Policies
	Queries        Queries
	Live           LiveQueries
	Indexes        Indexes
	Sealer         *credential.Sealer
	Pipelines      Pipelines
	Topics         Topics
	Health         Health
	Status         NodeStatus
	Metrics        http.Handler // of /metrics
	Console        http.Handler // of all paths that are not the API's
	// PolicyStore manages what Policies finds.
	PolicyStore PolicyStore
	Routing     Routing
	IPFilters   IPFilters
	// AuditTopic is the device log, of which the audit trail is a view.
	AuditTopic string

	Now        func() time.Time      // nil: time.Now
	Random     io.Reader             // nil: crypto/rand; used from many goroutines
	Timeout    time.Duration         // of one call on the hub; zero: 30 s
	Logger     *slog.Logger          // nil: discard
	Registerer prometheus.Registerer // nil: metrics are not exposed
}

// minToken keeps tokens out of reach of guessing.
const minToken = 16

// Admin answers the node's own interface. It is an http.Handler for the admin
// listener.
type Admin struct {
	surface
	o     AdminOptions
	token [sha256.Size]byte
	tails chan struct{}
	moves chan struct{} // one token for each export and import under way
	open  openCalls
}

// NewAdmin checks the options and returns the handler.
func NewAdmin(o AdminOptions) (*Admin, error) {
	switch {
	case len(o.Token) < minToken:
		return nil, fmt.Errorf("api: the admin token has %d characters, at least %d are needed", len(o.Token), minToken)
	case len(o.Hosts) == 0:
		return nil, errors.New("api: the admin interface needs a host name, or every request would be refused")
	case o.Hub != nil && (o.Sealer == nil || o.Policies == nil):
		return nil, errors.New("api: an admin interface with a Hub needs Sealer and Policies")
	}
	m, err := newMetrics(o.Registerer, "admin")
	if err != nil {
		return nil, fmt.Errorf("api: admin metrics: %w", err)
	}
	return &Admin{
		surface: newSurface(o.Logger, m, o.Now, o.Random, o.Timeout),
		o:       o,
		token:   sha256.Sum256([]byte(o.Token)),
		tails:   make(chan struct{}, maxTails),
		moves:   make(chan struct{}, maxMoves),
	}, nil
}

// ServeHTTP answers one request.
func (a *Admin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	c := a.newCall(w, r)
	if !a.ownHost(r.Host) {
		a.answer(c, func(context.Context, *call) error { return errHost }, a.render(c))
		return
	}
	switch {
	case len(c.path) == 1 && c.word(0, "livez"):
		a.livez(w)
	case len(c.path) == 1 && c.word(0, "readyz"):
		a.readyz(w)
	case len(c.path) == 1 && c.word(0, "healthz"):
		a.healthz(w)
	case len(c.path) == 1 && c.word(0, "metrics") && a.o.Metrics != nil:
		a.o.Metrics.ServeHTTP(w, r)
	case c.word(0, "api"):
		a.answer(c, a.serve, a.render(c))
	case a.o.Console != nil:
		h.Del("Cache-Control")
		a.o.Console.ServeHTTP(w, r)
	default:
		a.answer(c, func(context.Context, *call) error { return errRoute }, a.render(c))
	}
}

func (a *Admin) render(c *call) func(failure, string) []byte {
	return func(f failure, message string) []byte { return f.adminShape(message, c.requestID) }
}

func (a *Admin) ownHost(host string) bool {
	name := host
	if h, port, err := net.SplitHostPort(host); err == nil {
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			return false
		}
		name = h
	}
	name = strings.Trim(name, "[]")
	for _, h := range a.o.Hosts {
		if strings.EqualFold(name, h) {
			return true
		}
	}
	return false
}

// authorize compares the bearer token in constant time.
func (a *Admin) authorize(c *call) error {
	scheme, token, _ := strings.Cut(c.r.Header.Get("Authorization"), " ")
	got := sha256.Sum256([]byte(strings.TrimSpace(token)))
	same := subtle.ConstantTimeCompare(got[:], a.token[:]) == 1
	if !same || !strings.EqualFold(scheme, "Bearer") {
		c.w.Header().Set("WWW-Authenticate", `Bearer realm="gemello"`)
		return a.deny("token")
	}
	c.audit.Actor, c.audit.Credential = "admin", "token"
	return nil
}

func (a *Admin) serve(ctx context.Context, c *call) error {
	if err := a.authorize(c); err != nil {
		return err
	}
	if !c.word(1, "v1") || len(c.path) < 3 {
		return errRoute
	}
	routes := a.routes(c)
	if routes == nil {
		return errRoute
	}
	o, ok := routes[c.r.Method]
	if !ok {
		return fmt.Errorf("%w: %.16q", errMethod, c.r.Method)
	}
	c.operation = o.name
	if o.missing {
		return ErrNotYet
	}
	if err := await(ctx, c, a.o.Queries); err != nil {
		return err
	}
	return o.handle(ctx, c)
}

// adminOperation is what a method and path stand for; missing says that the node
// was built without the party it needs.
type adminOperation struct {
	name    string
	missing bool
	handle  func(context.Context, *call) error
}

// routes are the methods of a path, nil if there is no such resource.
func (a *Admin) routes(c *call) map[string]adminOperation {
	noHub, noPipelines := a.o.Hub == nil, a.o.Pipelines == nil
	switch n := len(c.path); {
	case n == 3 && c.word(2, "status"):
		return map[string]adminOperation{"GET": {"status", a.o.Status == nil, a.status}}
	case n == 3 && c.word(2, "connection-string"):
		return map[string]adminOperation{"GET": {"connection_string", noHub, a.connectionString}}
	case n == 3 && c.word(2, "export"):
		return map[string]adminOperation{"GET": {"export_devices", noHub || a.o.Moves == nil, a.exportDevices}}
	case n == 5 && c.word(2, "twins") && c.word(4, "history"):
		return map[string]adminOperation{"GET": {"twin_history", a.o.Histories == nil, a.twinHistory}}
	case n == 5 && c.word(2, "twins") && c.word(4, "diff"):
		return map[string]adminOperation{"GET": {"twin_diff", a.o.Histories == nil, a.twinDiff}}
	case n == 3 && c.word(2, "backup"):
		return map[string]adminOperation{"GET": {"backup", a.o.Backups == nil, a.backup}}
	case n == 3 && c.word(2, "import"):
		return map[string]adminOperation{"POST": {"import_devices", noHub || a.o.Moves == nil, a.importDevices}}
	case n == 3 && c.word(2, "audit"):
		return map[string]adminOperation{"GET": {"audit", a.o.Topics == nil || a.o.AuditTopic == "", a.auditTrail}}
	case n == 3 && c.word(2, "ip-filter"):
		return map[string]adminOperation{
			"GET": {"get_ip_filter", a.o.IPFilters == nil, a.getIPFilter},
			"PUT": {"put_ip_filter", a.o.IPFilters == nil, a.putIPFilter},
		}
	case n >= 3 && c.word(2, "routing"):
		return a.routingRoutes(c)
	case n >= 3 && c.word(2, "policies"):
		return a.policyRoutes(c)
	case n >= 3 && c.word(2, "indexes"):
		return a.indexRoutes(c)
	case n == 3 && c.word(2, "query"):
		return map[string]adminOperation{"POST": {"query", noHub || a.o.Queries == nil, a.query}}
	case n == 3 && c.word(2, "devices"):
		return map[string]adminOperation{"GET": {"list_devices", noHub, a.listDevices}}
	case n == 4 && c.word(2, "devices"):
		return map[string]adminOperation{
			"GET":    {"get_device", noHub, a.getDevice},
			"PUT":    {"put_device", noHub, a.putDevice},
			"DELETE": {"delete_device", noHub, a.deleteDevice},
		}
	case n == 5 && c.word(2, "devices") && c.word(4, "modules"):
		return map[string]adminOperation{"GET": {"list_modules", noHub, a.listModules}}
	case n == 6 && c.word(2, "devices") && c.word(4, "modules"):
		return map[string]adminOperation{
			"GET":    {"get_module", noHub, a.getDevice},
			"PUT":    {"put_module", noHub, a.putDevice},
			"DELETE": {"delete_module", noHub, a.deleteDevice},
		}
	case n == 6 && c.word(2, "twins") && c.word(4, "modules"):
		return map[string]adminOperation{
			"GET":   {"get_module_twin", noHub, a.getTwin},
			"PATCH": {"patch_module_twin", noHub, a.patchTwin},
			"PUT":   {"replace_module_twin", noHub, a.patchTwin},
		}
	case n == 4 && c.word(2, "twins"):
		return map[string]adminOperation{
			"GET":   {"get_twin", noHub, a.getTwin},
			"PATCH": {"patch_twin", noHub, a.patchTwin},
			"PUT":   {"replace_twin", noHub, a.patchTwin},
		}
	case n == 5 && c.word(2, "devices") && c.word(4, "commands"), n == 7 && c.word(2, "devices") && c.word(4, "modules") && c.word(6, "commands"):
		none := a.o.Commands == nil
		return map[string]adminOperation{
			"GET":    {"list_commands", none, a.listCommands},
			"POST":   {"send_command", none, a.sendCommand},
			"DELETE": {"purge_commands", none, a.purgeCommands},
		}
	case n == 5 && c.word(2, "twins") && c.word(4, "methods"):
		return map[string]adminOperation{"POST": {"invoke_method", a.o.Methods == nil, a.invokeMethod}}
	case n == 7 && c.word(2, "twins") && c.word(4, "modules") && c.word(6, "methods"):
		return map[string]adminOperation{"POST": {"invoke_module_method", a.o.Methods == nil, a.invokeMethod}}
	case n >= 3 && c.word(2, "jobs"):
		return a.jobRoutes(c)
	case n >= 3 && c.word(2, "configurations"):
		return a.configurationRoutes(c)
	case n == 3 && c.word(2, "pipelines"):
		return map[string]adminOperation{"GET": {"list_pipelines", noPipelines, a.listPipelines}}
	case n == 4 && c.word(2, "pipelines"):
		return map[string]adminOperation{
			"PUT":    {"apply_pipeline", noPipelines, a.applyPipeline},
			"DELETE": {"delete_pipeline", noPipelines, a.deletePipeline},
		}
	case n == 5 && c.word(2, "pipelines") && c.word(4, "explain"):
		return map[string]adminOperation{"GET": {"explain_pipeline", noPipelines, a.explainPipeline}}
	case n == 5 && c.word(2, "pipelines") && c.word(4, "why"):
		return map[string]adminOperation{"GET": {"why_pipeline", noPipelines, a.whyPipeline}}
	case n == 5 && c.word(2, "topics") && c.word(4, "records"):
		return map[string]adminOperation{"GET": {"tail_topic", a.o.Topics == nil, a.tailTopic}}
	}
	return nil
}

func (a *Admin) status(ctx context.Context, c *call) error {
	s, err := a.o.Status.Status(ctx)
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, marshal(s))
}
