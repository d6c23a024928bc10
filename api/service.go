package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/device/credential"
	"github.com/prometheus/client_golang/prometheus"
)

// ServiceOptions says what a Service works with.
type ServiceOptions struct {
	Hub     Hub
	Methods Methods // nil: direct methods are answered with 501
	// Configurations are answered with 501 when it is nil.
	Configurations Configurations
	Jobs           Jobs     // nil: jobs are answered with 501
	Commands       Commands // nil: commands and their feedback are answered with 501
	Policies       Policies
	Queries        Queries     // nil: queries are answered with 501
	Live           LiveQueries // nil: live queries are answered with 501
	Sealer         *credential.Sealer
	// Hostnames are the names of this hub that SAS audiences may carry.
	Hostnames []string
	// Skew is how long after its end a token is still accepted; zero: not at all.
	Skew time.Duration
	// Throttle counts operations; nil: they are not limited.
	Throttle Throttle
	// Accepts says whether an address may use the interface; nil: all may.
	Accepts    func(netip.Addr) bool
	Now        func() time.Time      // nil: time.Now
	Random     io.Reader             // nil: crypto/rand; makes keys and ids, used from many goroutines
	Timeout    time.Duration         // of one call on the hub; zero: 30 s
	Logger     *slog.Logger          // nil: discard
	Registerer prometheus.Registerer // nil: metrics are not exposed
}

// Service answers the service REST interface (azure-iot-wire 5). It is an
// http.Handler for the HTTPS listener.
type Service struct {
	surface
	hub            Hub
	methods        Methods
	commands       Commands
	jobs           Jobs
	configurations Configurations
	open           openCalls
	policies       Policies
	queries        Queries
	live           LiveQueries
	sealer         *credential.Sealer
	hosts          []string
	skew           time.Duration
	throttle       Throttle
	accepts        func(netip.Addr) bool
}

// NewService checks the options and returns the handler.
func NewService(o ServiceOptions) (*Service, error) {
	switch {
	case o.Hub == nil || o.Policies == nil || o.Sealer == nil:
		return nil, errors.New("api: a service needs Hub, Policies and Sealer")
	case len(o.Hostnames) == 0:
		return nil, errors.New("api: a service needs a host name, or no token can be for it")
	}
	m, err := newMetrics(o.Registerer, "service")
	if err != nil {
		return nil, fmt.Errorf("api: service metrics: %w", err)
	}
	s := &Service{
		surface: newSurface(o.Logger, m, o.Now, o.Random, o.Timeout),
		hub:     o.Hub, methods: o.Methods, commands: o.Commands, policies: o.Policies, sealer: o.Sealer, skew: o.Skew, queries: o.Queries, live: o.Live, jobs: o.Jobs, configurations: o.Configurations,
		throttle: o.Throttle, accepts: o.Accepts,
	}
	for _, h := range o.Hostnames {
		s.hosts = append(s.hosts, strings.ToLower(h))
	}
	return s, nil
}

// ServeHTTP answers one request.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := s.newCall(w, r)
	s.answer(c, s.serve, func(f failure, message string) []byte {
		return c.errorBody(f, message, s.now())
	})
}

func (s *Service) serve(ctx context.Context, c *call) error {
	if s.accepts != nil && !s.accepts(c.remote()) {
		return s.deny("address")
	}
	o, err := s.route(c)
	if err != nil {
		return err
	}
	c.operation = o.name
	if err := apiVersion(c.r.URL.Query().Get("api-version")); err != nil {
		return err
	}
	if err := s.authorize(c, o.right); err != nil {
		return err
	}
	if err := s.take(cost(o.name, c.r.ContentLength)); err != nil {
		return err
	}
	if err := await(ctx, c, s.queries); err != nil {
		return err
	}
	return o.handle(ctx, c)
}

// errorBody is an error in the shape that the resource's clients read
// (azure-iot-wire 5.1).
func (c *call) errorBody(f failure, message string, at time.Time) []byte {
	switch {
	case c.word(0, "twins") && c.word(len(c.path)-1, "methods"):
		return f.shape2(message, c.requestID, at)
	case c.word(0, "digitaltwins"):
		return f.shape3(message, c.requestID, at)
	}
	return f.shape1(message, c.requestID, at)
}

// operation is what a method and path stand for.
type operation struct {
	name   string
	right  credential.Permission
	handle func(context.Context, *call) error
}

// route finds the operation of a request. Fixed words are compared without case.
func (s *Service) route(c *call) (operation, error) {
	method := c.r.Method
	if method == http.MethodPost {
		if m := c.r.Header.Get("X-HTTP-Method-Override"); strings.EqualFold(m, http.MethodPatch) {
			method = http.MethodPatch
		}
	}
	type methods map[string]operation
	var allowed methods
	switch {
	case len(c.path) == 1 && c.word(0, "devices"):
		allowed = methods{
			http.MethodGet:  {"list_devices", credential.RegistryRead, s.listDevices},
			http.MethodPost: {"bulk_devices", credential.RegistryWrite, s.bulkDevices},
		}
	case len(c.path) == 2 && c.word(0, "devices") && c.word(1, "query") && method == http.MethodPost:
		allowed = methods{http.MethodPost: {"query", credential.ServiceConnect, s.query}}
	case len(c.path) == 2 && c.word(0, "devices"):
		allowed = methods{
			http.MethodGet:    {"get_device", credential.RegistryRead, s.getDevice},
			http.MethodPut:    {"put_device", credential.RegistryWrite, s.putDevice},
			http.MethodDelete: {"delete_device", credential.RegistryWrite, s.deleteDevice},
		}
	case len(c.path) == 2 && c.word(0, "twins"):
		allowed = methods{
			http.MethodGet:   {"get_twin", credential.ServiceConnect, s.getTwin},
			http.MethodPatch: {"patch_twin", credential.ServiceConnect, s.patchTwin},
			http.MethodPut:   {"replace_twin", credential.ServiceConnect, s.patchTwin},
		}
	case c.word(0, "digitaltwins"):
		if allowed = s.digitalTwins(c); allowed == nil {
			return operation{}, errRoute
		}
	case len(c.path) == 3 && c.word(0, "devices") && c.word(2, "commands"),
		len(c.path) == 5 && c.word(0, "devices") && c.word(2, "modules") && c.word(4, "commands"):
		allowed = methods{http.MethodDelete: {"purge_commands", credential.ServiceConnect, s.purgeCommands}}
	case c.isFeedback() && len(c.path) == 3:
		allowed = methods{http.MethodGet: {"receive_feedback", credential.ServiceConnect, s.receiveFeedback}}
	case c.isFeedback() && len(c.path) == 4:
		allowed = methods{http.MethodDelete: {"complete_feedback", credential.ServiceConnect, s.settleFeedback(device.OutcomeComplete)}}
	case c.isFeedback() && len(c.path) == 5 && c.word(4, "abandon"):
		allowed = methods{http.MethodPost: {"abandon_feedback", credential.ServiceConnect, s.settleFeedback(device.OutcomeAbandon)}}
	case len(c.path) == 3 && c.word(0, "twins") && c.word(2, "methods"):
		allowed = methods{http.MethodPost: {"invoke_method", credential.ServiceConnect, s.invokeMethod}}
	case len(c.path) == 5 && c.word(0, "twins") && c.word(2, "modules") && c.word(4, "methods"):
		allowed = methods{http.MethodPost: {"invoke_module_method", credential.ServiceConnect, s.invokeMethod}}
	case len(c.path) == 3 && c.word(0, "devices") && c.word(2, "modules"):
		allowed = methods{http.MethodGet: {"list_modules", credential.RegistryRead, s.listModules}}
	case len(c.path) == 4 && c.word(0, "devices") && c.word(2, "modules"):
		allowed = methods{
			http.MethodGet:    {"get_module", credential.RegistryRead, s.getDevice},
			http.MethodPut:    {"put_module", credential.RegistryWrite, s.putModule},
			http.MethodDelete: {"delete_module", credential.RegistryWrite, s.deleteDevice},
		}
	case len(c.path) == 4 && c.word(0, "twins") && c.word(2, "modules"):
		allowed = methods{
			http.MethodGet:   {"get_module_twin", credential.ServiceConnect, s.getTwin},
			http.MethodPatch: {"patch_module_twin", credential.ServiceConnect, s.patchTwin},
			http.MethodPut:   {"replace_module_twin", credential.ServiceConnect, s.patchTwin},
		}
	case c.word(0, "configurations"):
		if allowed = s.configurationRoutes(c); allowed == nil {
			return operation{}, errRoute
		}
	case len(c.path) == 3 && c.word(0, "devices") && c.word(2, "applyConfigurationContent"):
		allowed = methods{http.MethodPost: {"apply_configuration_content", credential.RegistryWrite, s.applyContent}}
	case c.word(0, "jobs") && c.word(1, "v2"):
		if allowed = s.jobRoutes(c); allowed == nil {
			return operation{}, errRoute
		}
	case len(c.path) == 2 && c.word(0, "statistics") && c.word(1, "devices"):
		allowed = methods{http.MethodGet: {"device_statistics", credential.RegistryRead, s.deviceStatistics}}
	case len(c.path) == 2 && c.word(0, "statistics") && c.word(1, "service"):
		allowed = methods{http.MethodGet: {"service_statistics", credential.RegistryRead, s.serviceStatistics}}
	default:
		return operation{}, fmt.Errorf("%w: %s", errRoute, strings.Join(c.literal, "/"))
	}
	o, ok := allowed[method]
	if !ok {
		names := make([]string, 0, len(allowed))
		for _, m := range []string{http.MethodGet, http.MethodPut, http.MethodPatch, http.MethodPost, http.MethodDelete} {
			if _, ok := allowed[m]; ok {
				names = append(names, m)
			}
		}
		c.w.Header().Set("Allow", strings.Join(names, ", "))
		return operation{}, fmt.Errorf("%w: %.16q", errMethod, method)
	}
	return o, nil
}

// apiVersion accepts the versions of azure-iot-wire 0.
func apiVersion(v string) error {
	switch v {
	case "2016-02-03", "2016-11-14", "2018-06-30", "2019-03-30", "2019-10-01", "2020-03-13",
		"2020-05-31-preview", "2020-09-30", "2021-04-12":
		return nil
	case "":
		return fmt.Errorf("%w: add ?api-version=2021-04-12", errAPIVersion)
	}
	return fmt.Errorf("%w: %.32q, use 2021-04-12", errAPIVersion, v)
}

// authorize checks the SAS token of a policy: signature, expiry, audience and
// right. The client learns no more than that it failed; the metrics tell why.
func (s *Service) authorize(c *call, right credential.Permission) error {
	token, err := credential.ParseToken(c.r.Header.Get("Authorization"))
	if err != nil {
		return s.deny("malformed")
	}
	policy, known := s.policies.Policy(token.Policy)
	if token.Policy == "" || !known {
		policy = credential.Policy{}
	}
	which, err := token.Verify(policy.Keys, s.now(), s.skew)
	switch {
	case errors.Is(err, credential.ErrExpired):
		return s.deny("expired")
	case err != nil:
		return s.deny("signature")
	case token.Covers(s.hosts, c.path...) != nil && token.Covers(s.hosts, c.literal...) != nil:
		return s.deny("audience")
	case !policy.Permissions.Has(right):
		return s.deny("permission")
	}
	c.audit.Actor, c.audit.Credential = "policy:"+policy.Name, which
	return nil
}

func (s *surface) deny(reason string) error {
	s.metrics.denied.WithLabelValues(reason).Inc()
	return ErrUnauthorized
}

// refIn reads /devices/{id}[/modules/{mid}…] and its likes under /twins.
func refIn(path []string) (device.Ref, error) {
	ref := device.Ref{Device: path[1]}
	if len(path) >= 4 && strings.EqualFold(path[2], "modules") {
		if ref.Module = path[3]; ref.Module == "" {
			return ref, device.ValidID("")
		}
	}
	return ref, ref.Valid()
}

// forRef calls f with the device or module of the path. Java does not encode
// ids: when the decoded one is unknown and the text as it came is another, that
// one is meant.
func (c *call) forRef(f func(device.Ref) error) error {
	ref, invalid := refIn(c.path)
	err := invalid
	if err == nil {
		err = f(ref)
	}
	if other, e := refIn(c.literal); err != nil && e == nil && other != ref && (invalid != nil || isNotFound(err)) {
		if e := f(other); !isNotFound(e) {
			return e
		}
	}
	return err
}

func isNotFound(err error) bool {
	return errors.Is(err, device.ErrNotFound) || errors.Is(err, device.ErrModuleNotFound)
}
