package device

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Limits of configurations (azure-iot-wire 5.8, 11).
const (
	MaxConfigurations       = 100
	MaxConfigurationID      = 128       // characters
	MaxConfigurationBody    = 128 << 10 // bytes
	MaxConfigurationMetrics = 5
)

// Errors of configurations.
var (
	ErrConfigurationExists   = errors.New("configuration already exists")              // 409, ConfigurationAlreadyExists
	ErrConfigurationNotFound = errors.New("configuration not found")                   // 404, ConfigurationNotFound
	ErrConfigurationQuota    = errors.New("too many configurations")                   // 403, ConfigurationCountLimitExceeded
	ErrConfigurationContent  = fmt.Errorf("%w: configuration content", ErrArgument)    // 400, InvalidConfigurationContent
	ErrTargetCondition       = fmt.Errorf("%w: target condition", ErrArgument)         // 400, InvalidConfigurationTargetCondition
	ErrMetricQuery           = fmt.Errorf("%w: query of a custom metric", ErrArgument) // 400, InvalidConfigurationCustomMetricsQuery
)

// Configuration is desired properties for all devices, or modules, that a
// condition holds for. It is stored as JSON in the settings and, without what
// the cores have no use for, in each partition.
type Configuration struct {
	ID        string          `json:"id"`
	Revision  int64           `json:"revision"` // grows with every change, also over deletion
	Condition string          `json:"targetCondition"`
	Priority  int             `json:"priority"`
	Created   time.Time       `json:"createdTimeUtc"`
	Content   json.RawMessage `json:"content,omitempty"`

	Schema  string            `json:"schemaVersion,omitempty"`
	Labels  json.RawMessage   `json:"labels,omitempty"`
	Updated time.Time         `json:"lastUpdatedTimeUtc,omitzero"`
	Queries map[string]string `json:"metrics,omitempty"`
}

// ETag is the configuration's etag, bare.
func (c *Configuration) ETag() string {
	return base64.StdEncoding.EncodeToString(strconv.AppendInt(nil, c.Revision, 10))
}

// ParseConfiguration reads a configuration's document. The condition is not
// looked at.
func ParseConfiguration(id string, body []byte) (Configuration, error) {
	var in struct {
		ID        *string         `json:"id"`
		Condition string          `json:"targetCondition"`
		Priority  int             `json:"priority"`
		Content   json.RawMessage `json:"content"`
		Schema    string          `json:"schemaVersion"`
		Labels    json.RawMessage `json:"labels"`
		Metrics   struct {
			Queries map[string]string `json:"queries"`
		} `json:"metrics"`
	}
	if len(body) > MaxConfigurationBody {
		return Configuration{}, fmt.Errorf("%w: the configuration has %d bytes, %d are allowed", ErrTooLarge, len(body), MaxConfigurationBody)
	}
	if err := json.Unmarshal(body, &in); err != nil {
		var kind *json.UnmarshalTypeError
		if errors.As(err, &kind) {
			return Configuration{}, fmt.Errorf("%w: the member %q can't hold a JSON %s", ErrArgument, kind.Field, kind.Value)
		}
		return Configuration{}, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	c := Configuration{ID: id, Condition: in.Condition, Priority: in.Priority, Schema: in.Schema, Queries: in.Metrics.Queries}
	switch {
	case ValidID(id) != nil || id != strings.ToLower(id):
		return c, fmt.Errorf("%w: a configuration's id has 1 to %d lower-case letters, digits and punctuation, not %q", ErrArgument, MaxConfigurationID, clipText(id))
	case in.ID != nil && *in.ID != "" && *in.ID != id:
		return c, fmt.Errorf("%w: the body's id %q is not the path's %q", ErrArgument, clipText(*in.ID), id)
	case in.Priority < 0:
		return c, fmt.Errorf("%w: priority %d is below 0", ErrArgument, in.Priority)
	case len(in.Metrics.Queries) > MaxConfigurationMetrics:
		return c, fmt.Errorf("%w: %d custom metrics, %d are allowed", ErrArgument, len(in.Metrics.Queries), MaxConfigurationMetrics)
	}
	if isObject(in.Content) {
		c.Content = compactJSON(in.Content)
	}
	if isObject(in.Labels) {
		c.Labels = compactJSON(in.Labels)
	}
	for _, modules := range []bool{false, true} {
		if _, err := c.Desired(modules); err != nil {
			return c, err
		}
	}
	_, err := c.Deployment()
	return c, err
}

// desiredPath is what keys of a content begin with.
const desiredPath = "properties.desired"

// Desired returns the content as a patch of desired properties: of devices, or
// of the modules that the condition picks. It is nil when there is none. The
// error is ErrConfigurationContent.
func (c *Configuration) Desired(modules bool) (map[string]any, error) {
	var in struct {
		Device map[string]json.RawMessage `json:"deviceContent"`
		Module map[string]json.RawMessage `json:"moduleContent"`
	}
	if len(c.Content) == 0 {
		return nil, nil
	}
	if err := json.Unmarshal(c.Content, &in); err != nil {
		return nil, fmt.Errorf("%w: deviceContent and moduleContent are objects", ErrConfigurationContent)
	}
	from := in.Device
	if modules {
		from = in.Module
	}
	return DesiredOf(from)
}

// DesiredOf makes one patch of desired properties of members such as
// "properties.desired.a.b". The error is ErrConfigurationContent.
func DesiredOf(members map[string]json.RawMessage) (map[string]any, error) {
	if len(members) == 0 {
		return nil, nil
	}
	all := map[string]any{}
	// Shorter paths first: a longer one says more of what is below.
	for _, key := range sortedKeys(members) {
		rest, ok := strings.CutPrefix(key, desiredPath)
		if !ok || rest != "" && (rest[0] != '.' || len(rest) == 1) {
			return nil, fmt.Errorf("%w: the key %q is not %s or a path below", ErrConfigurationContent, clipText(key), desiredPath)
		}
		value, err := decodeAny(members[key])
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrConfigurationContent, clipText(key), err)
		}
		if rest != "" {
			names := strings.Split(rest[1:], ".")
			for i := len(names) - 1; i >= 0; i-- {
				value = map[string]any{names[i]: value}
			}
		}
		patch, ok := value.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("%w: %s is an object", ErrConfigurationContent, desiredPath)
		}
		OverlayPatch(all, patch)
	}
	text, err := json.Marshal(all)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfigurationContent, err)
	}
	if _, err := parsePatch(text); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfigurationContent, err)
	}
	return all, nil
}

// ModuleContent is what a configuration says of one module of the edge devices
// that it picks.
type ModuleContent struct {
	// Whole says that it is the module's whole desired properties: what weaker
	// configurations say of the module does not count.
	Whole   bool
	Desired map[string]any
}

// Deployment returns the content for modules of the devices that the condition
// picks, by module id; nil when there is none. The error is
// ErrConfigurationContent.
func (c *Configuration) Deployment() (map[string]ModuleContent, error) {
	var in struct {
		Modules map[string]map[string]json.RawMessage `json:"modulesContent"`
	}
	if len(c.Content) == 0 {
		return nil, nil
	}
	if err := json.Unmarshal(c.Content, &in); err != nil {
		return nil, fmt.Errorf("%w: modulesContent is an object of objects", ErrConfigurationContent)
	}
	if len(in.Modules) == 0 {
		return nil, nil
	}
	if len(in.Modules) > MaxModules {
		return nil, fmt.Errorf("%w: %d modules, %d are allowed", ErrConfigurationContent, len(in.Modules), MaxModules)
	}
	all := map[string]ModuleContent{}
	for _, id := range sortedKeys(in.Modules) {
		if err := (Ref{Device: "d", Module: id}).Valid(); err != nil {
			return nil, fmt.Errorf("%w: modulesContent: %w", ErrConfigurationContent, err)
		}
		desired, err := DesiredOf(in.Modules[id])
		if err != nil {
			return nil, fmt.Errorf("module %s: %w", clipText(id), err)
		}
		_, whole := in.Modules[id][desiredPath]
		all[id] = ModuleContent{Whole: whole, Desired: desired}
	}
	return all, nil
}
