package api

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/gemello/gemello/device"
)

// fakeConfigurations keeps configurations in memory.
type fakeConfigurations struct {
	all     map[string]Configuration
	applied string
}

func (f *fakeConfigurations) PutConfiguration(_ context.Context, c device.Configuration, ifMatch string, _ device.Audit) (Configuration, bool, error) {
	was, there := f.all[c.ID]
	switch {
	case !there && ifMatch != "" && ifMatch != "*":
		return Configuration{}, false, device.ErrConfigurationNotFound
	case there && ifMatch == "":
		return Configuration{}, false, device.ErrConfigurationExists
	case there && ifMatch != "*" && ifMatch != was.ETag():
		return Configuration{}, false, device.ErrPrecondition
	}
	c.Revision = was.Revision + 1
	v := Configuration{Configuration: c, Targeted: 3, Applied: 2}
	f.all[c.ID] = v
	return v, !there, nil
}

func (f *fakeConfigurations) DeleteConfiguration(_ context.Context, id, _ string, _ device.Audit) error {
	if _, ok := f.all[id]; !ok {
		return fmt.Errorf("%w: %s", device.ErrConfigurationNotFound, id)
	}
	delete(f.all, id)
	return nil
}

func (f *fakeConfigurations) Configuration(_ context.Context, id string) (Configuration, error) {
	v, ok := f.all[id]
	if !ok {
		return v, fmt.Errorf("%w: %s", device.ErrConfigurationNotFound, id)
	}
	return v, nil
}

func (f *fakeConfigurations) Configurations(_ context.Context, limit int) ([]Configuration, error) {
	var out []Configuration
	for _, id := range slices.Sorted(maps.Keys(f.all)) {
		if limit == 0 || len(out) < limit {
			out = append(out, f.all[id])
		}
	}
	return out, nil
}

func (f *fakeConfigurations) ApplyContent(_ context.Context, id string, content []byte, _ device.Audit) error {
	f.applied = id + " " + string(content)
	return nil
}

func TestConfigurationsHaveTheirStatusesAndDocuments(t *testing.T) {
	b := newBench(t)
	f := &fakeConfigurations{all: map[string]Configuration{}}
	b.service.configurations = f
	doc := `{"id":"cfg1","labels":{"a":"b"},"content":{"deviceContent":{"properties.desired.net":{"rate":5}}},"targetCondition":"tags.site='a'","priority":10}`
	for _, c := range []struct {
		name, method, path, body, match string
		status                          int
		want                            string
	}{
		{"create", "PUT", "/configurations/cfg1", doc, "", 201, `"content":{"deviceContent":{"properties.desired.net":{"rate":5}}}`},
		{"create again", "PUT", "/configurations/cfg1", doc, "", 409, "ErrorCode:ConfigurationAlreadyExists;"},
		{"stale etag", "PUT", "/configurations/cfg1", doc, `"abc"`, 412, "ErrorCode:PreconditionFailed;"},
		{"update", "PUT", "/configurations/cfg1", doc, `"MQ=="`, 200, `"etag":"Mg=="`},
		{"forced update, with quotes around the star", "PUT", "/configurations/cfg1", doc, `"*"`, 200, `"etag":"Mw=="`},
		{"get", "GET", "/configurations/cfg1", "", "", 200, `"systemMetrics":{"results":{"appliedCount":2,"targetedCount":3}`},
		{"list", "GET", "/configurations", "", "", 200, `[{"id":"cfg1","schemaVersion":"1.0","labels":{"a":"b"}`},
		{"upper case", "PUT", "/configurations/Cfg", doc, "", 400, "ErrorCode:ArgumentInvalid;"},
		{"content elsewhere", "PUT", "/configurations/c", `{"content":{"deviceContent":{"properties.reported.x":1}}}`, "", 400, "ErrorCode:InvalidConfigurationContent;"},
		{"content that breaks a twin's rules", "PUT", "/configurations/c", `{"content":{"deviceContent":{"properties.desired":5}}}`, "", 400, "ErrorCode:InvalidConfigurationContent;"},
		{"queries", "POST", "/configurations/testQueries", `{"targetCondition":"tags.a =","customMetricQueries":{"m":"SELECT","ok":"SELECT deviceId FROM devices"}}`, "", 200, `"targetConditionError":"`},
		{"good queries", "POST", "/configurations/testQueries", `{"targetCondition":"*","customMetricQueries":{}}`, "", 200, `{"targetConditionError":"","customMetricQueryErrors":{}}`},
		{"one for modules", "PUT", "/configurations/m", `{"targetCondition":"FROM devices.modules WHERE moduleId = 'a'","content":{"moduleContent":{"properties.desired":{"rate":5}}}}`, "", 201,
			`"appliedCount":"select deviceId, moduleId from devices.modules where configurations.[[m]].status = 'Applied'"`},
		{"modules of edge devices", "PUT", "/configurations/e", `{"targetCondition":"*","content":{"modulesContent":{"a":{"properties.desired":{"rate":5}}}}}`, "", 201,
			`"content":{"modulesContent":{"a":{"properties.desired":{"rate":5}}}}`},
		{"modules whose content is none", "PUT", "/configurations/f", `{"content":{"modulesContent":{"a":5}}}`, "", 400, "ErrorCode:InvalidConfigurationContent;"},
		{"content for one device", "POST", "/devices/d1/applyConfigurationContent", `{"modulesContent":{}}`, "", 204, ""},
		{"delete", "DELETE", "/configurations/cfg1", "", "", 204, ""},
		{"delete again", "DELETE", "/configurations/cfg1", "", "", 404, "ErrorCode:ConfigurationNotFound;"},
		{"get what is gone", "GET", "/configurations/cfg1", "", "", 404, "ErrorCode:ConfigurationNotFound;"},
	} {
		w := b.do(c.method, c.path, c.body, "If-Match", c.match)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%s: %d %s, want %d %s", c.name, w.Code, w.Body, c.status, c.want)
		}
	}
	if f.applied != `d1 {"modulesContent":{}}` {
		t.Errorf("applied %q", f.applied)
	}
}

func TestAdminManagesConfigurations(t *testing.T) {
	f := &fakeConfigurations{all: map[string]Configuration{}}
	b := newAdminBench(t, func(o *AdminOptions) { o.Configurations = f })
	doc := `{"content":{"deviceContent":{"properties.desired":{"rate":5}}},"targetCondition":"*","priority":10}`
	for _, c := range []struct {
		name, method, path, body, match string
		status                          int
		want                            string
	}{
		{"create", "PUT", "/configurations/cfg1", doc, "", 201, `"etag":"MQ=="`},
		{"create again", "PUT", "/configurations/cfg1", doc, "", 409, `"code":"ConfigurationAlreadyExists"`},
		{"update", "PUT", "/configurations/cfg1", doc, `"MQ=="`, 200, `"etag":"Mg=="`},
		{"get", "GET", "/configurations/cfg1", "", "", 200, `"results":{"appliedCount":2,"targetedCount":3}`},
		{"list", "GET", "/configurations?top=1", "", "", 200, `[{"id":"cfg1"`},
		{"list with an odd limit", "GET", "/configurations?top=0", "", "", 400, `"code":"ArgumentInvalid"`},
		{"queries", "POST", "/configurations/testQueries", `{"targetCondition":"tags.a ="}`, "", 200, `"customMetricQueryErrors":{}`},
		{"other method", "POST", "/configurations/cfg1", "", "", 405, ""},
		{"delete", "DELETE", "/configurations/cfg1", "", "", 204, ""},
		{"get what is gone", "GET", "/configurations/cfg1", "", "", 404, `"code":"ConfigurationNotFound"`},
	} {
		w := b.call(c.method, "/api/v1"+c.path, c.body, "If-Match", c.match)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%s: %d %s, want %d %s", c.name, w.Code, w.Body, c.status, c.want)
		}
	}
	wantAdminError(t, newAdminBench(t).call("GET", "/api/v1/configurations", ""), 501, "NotImplemented")
}
