package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/device/credential"
	"github.com/gemello/gemello/device/query"
)

// Configurations manages desired properties of many devices (azure-iot-wire
// 5.8). Its methods may be called from any goroutine and return errors that wrap
// those of package device or of this one.
type Configurations interface {
	// PutConfiguration creates a configuration when ifMatch is empty, else
	// changes the one that has that etag.
	PutConfiguration(ctx context.Context, c device.Configuration, ifMatch string, a device.Audit) (v Configuration, created bool, err error)
	DeleteConfiguration(ctx context.Context, id, ifMatch string, a device.Audit) error
	Configuration(ctx context.Context, id string) (Configuration, error)
	// Configurations returns up to limit configurations in order of id, all for 0.
	Configurations(ctx context.Context, limit int) ([]Configuration, error)
	// ApplyContent applies a content to one device, once.
	ApplyContent(ctx context.Context, deviceID string, content []byte, a device.Audit) error
}

// Configuration is a configuration with its figures.
type Configuration struct {
	device.Configuration
	Targeted, Applied int64
	Results           map[string]int64 // of custom metrics
}

func (s *Service) configurationRoutes(c *call) map[string]operation {
	switch {
	case len(c.path) == 1:
		return map[string]operation{http.MethodGet: {"list_configurations", credential.RegistryRead, s.listConfigurations}}
	case len(c.path) == 2 && c.word(1, "testQueries") && c.r.Method == http.MethodPost:
		return map[string]operation{http.MethodPost: {"test_configuration_queries", credential.RegistryRead, testConfigurationQueries}}
	case len(c.path) == 2:
		return map[string]operation{
			http.MethodGet:    {"get_configuration", credential.RegistryRead, s.getConfiguration},
			http.MethodPut:    {"put_configuration", credential.RegistryWrite, s.putConfiguration},
			http.MethodDelete: {"delete_configuration", credential.RegistryWrite, s.deleteConfiguration},
		}
	}
	return nil
}

func (a *Admin) configurationRoutes(c *call) map[string]adminOperation {
	none := a.o.Configurations == nil
	switch {
	case len(c.path) == 3:
		return map[string]adminOperation{"GET": {"list_configurations", none, a.listConfigurations}}
	case len(c.path) == 4 && c.word(3, "testQueries"):
		return map[string]adminOperation{"POST": {"test_configuration_queries", none, testConfigurationQueries}}
	case len(c.path) == 4:
		return map[string]adminOperation{
			"GET":    {"get_configuration", none, a.getConfiguration},
			"PUT":    {"put_configuration", none, a.putConfiguration},
			"DELETE": {"delete_configuration", none, a.deleteConfiguration},
		}
	}
	return nil
}

var errNoConfigurations = fmt.Errorf("%w: configurations", ErrNotYet)

func (s *Service) putConfiguration(ctx context.Context, c *call) error {
	return putConfiguration(ctx, c, s.configurations, c.path[1])
}

func (a *Admin) putConfiguration(ctx context.Context, c *call) error {
	return putConfiguration(ctx, c, a.o.Configurations, c.path[3])
}

func putConfiguration(ctx context.Context, c *call, all Configurations, id string) error {
	if all == nil {
		return errNoConfigurations
	}
	body, err := c.body(device.MaxConfigurationBody)
	if err != nil {
		return err
	}
	in, err := device.ParseConfiguration(id, body)
	if err != nil {
		return err
	}
	v, created, err := all.PutConfiguration(ctx, in, ifMatch(c.r.Header), c.audit)
	if err != nil {
		return err
	}
	status := http.StatusOK
	if created {
		status = http.StatusCreated
	}
	return c.replyConfiguration(status, &v)
}

func (s *Service) getConfiguration(ctx context.Context, c *call) error {
	return getConfiguration(ctx, c, s.configurations, c.path[1])
}

func (a *Admin) getConfiguration(ctx context.Context, c *call) error {
	return getConfiguration(ctx, c, a.o.Configurations, c.path[3])
}

func getConfiguration(ctx context.Context, c *call, all Configurations, id string) error {
	if all == nil {
		return errNoConfigurations
	}
	v, err := all.Configuration(ctx, id)
	if err != nil {
		return err
	}
	return c.replyConfiguration(http.StatusOK, &v)
}

func (c *call) replyConfiguration(status int, v *Configuration) error {
	setETag(c.w.Header(), v.ETag())
	return c.reply(status, marshal(v.document()))
}

func (s *Service) listConfigurations(ctx context.Context, c *call) error {
	return listConfigurations(ctx, c, s.configurations)
}

func (a *Admin) listConfigurations(ctx context.Context, c *call) error {
	return listConfigurations(ctx, c, a.o.Configurations)
}

func listConfigurations(ctx context.Context, c *call, from Configurations) error {
	if from == nil {
		return errNoConfigurations
	}
	limit := 0
	if text := c.r.URL.Query().Get("top"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return fmt.Errorf("%w: top %.20q is not a number above 0", device.ErrArgument, text)
		}
		limit = n
	}
	all, err := from.Configurations(ctx, limit)
	if err != nil {
		return err
	}
	documents := make([]configurationDocument, len(all))
	for i := range all {
		documents[i] = all[i].document()
	}
	return c.reply(http.StatusOK, marshal(documents))
}

func (s *Service) deleteConfiguration(ctx context.Context, c *call) error {
	return deleteConfiguration(ctx, c, s.configurations, c.path[1])
}

func (a *Admin) deleteConfiguration(ctx context.Context, c *call) error {
	return deleteConfiguration(ctx, c, a.o.Configurations, c.path[3])
}

func deleteConfiguration(ctx context.Context, c *call, all Configurations, id string) error {
	if all == nil {
		return errNoConfigurations
	}
	if err := all.DeleteConfiguration(ctx, id, ifMatch(c.r.Header), c.audit); err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}

// testConfigurationQueries says what is wrong with a condition and the queries
// of custom metrics.
func testConfigurationQueries(_ context.Context, c *call) error {
	var in struct {
		Condition string            `json:"targetCondition"`
		Queries   map[string]string `json:"customMetricQueries"`
	}
	if err := c.decode(device.MaxConfigurationBody, &in); err != nil {
		return err
	}
	out := struct {
		Condition string            `json:"targetConditionError"`
		Queries   map[string]string `json:"customMetricQueryErrors"`
	}{Queries: map[string]string{}}
	if _, err := query.ParseCondition(in.Condition); err != nil {
		out.Condition = err.Error()
	}
	for name, text := range in.Queries {
		if _, err := query.Parse(text); err != nil {
			out.Queries[name] = err.Error()
		}
	}
	return c.reply(http.StatusOK, marshal(out))
}

func (s *Service) applyContent(ctx context.Context, c *call) error {
	if s.configurations == nil {
		return errNoConfigurations
	}
	id := c.path[1]
	if err := device.ValidID(id); err != nil {
		return err
	}
	body, err := c.body(device.MaxConfigurationBody)
	if err != nil {
		return err
	}
	if !json.Valid(body) {
		return fmt.Errorf("%w: the content is not JSON", device.ErrFormat)
	}
	if err := s.configurations.ApplyContent(ctx, id, body, c.audit); err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}

type configurationMetrics struct {
	Results map[string]int64  `json:"results"`
	Queries map[string]string `json:"queries"`
}

// configurationDocument is a configuration on the wire.
type configurationDocument struct {
	ID       string               `json:"id"`
	Schema   string               `json:"schemaVersion"`
	Labels   json.RawMessage      `json:"labels"`
	Content  json.RawMessage      `json:"content"`
	Target   string               `json:"targetCondition"`
	Created  string               `json:"createdTimeUtc"`
	Updated  string               `json:"lastUpdatedTimeUtc"`
	Priority int                  `json:"priority"`
	System   configurationMetrics `json:"systemMetrics"`
	Metrics  configurationMetrics `json:"metrics"`
	ETag     string               `json:"etag"`
}

func (v *Configuration) document() configurationDocument {
	d := configurationDocument{
		ID: v.ID, Schema: v.Schema, Labels: v.Labels, Content: v.Content, Target: v.Condition, Priority: v.Priority,
		Created: device.FormatTime(v.Created), Updated: device.FormatTime(v.Updated), ETag: v.ETag(),
	}
	if d.Schema == "" {
		d.Schema = "1.0"
	}
	for _, m := range []*json.RawMessage{&d.Labels, &d.Content} {
		if len(*m) == 0 {
			*m = json.RawMessage("{}")
		}
	}
	has := "configurations.[[" + v.ID + "]]"
	d.System.Results = map[string]int64{"targetedCount": v.Targeted, "appliedCount": v.Applied}
	from := "select deviceId from devices where "
	if q, err := query.ParseCondition(v.Condition); err == nil && q.From == query.Modules {
		from = "select deviceId, moduleId from devices.modules where "
	}
	d.System.Queries = map[string]string{
		"targetedCount": from + "IS_DEFINED(" + has + ".status)",
		"appliedCount":  from + has + ".status = 'Applied'",
	}
	d.Metrics.Results, d.Metrics.Queries = v.Results, v.Queries
	if d.Metrics.Results == nil {
		d.Metrics.Results = map[string]int64{}
	}
	if d.Metrics.Queries == nil {
		d.Metrics.Queries = map[string]string{}
	}
	return d
}
