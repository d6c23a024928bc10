package api

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gemello/gemello/device/credential"
)

// permissionOf is the table of azure-iot-wire 1.3 by operation of the service
// interface, with a request for each. A new route goes in here.
var permissionOf = map[string]struct {
	right        credential.Permission
	method, path string
}{
	"list_devices":                   {credential.RegistryRead, "GET", "/devices"},
	"bulk_devices":                   {credential.RegistryWrite, "POST", "/devices"},
	"get_device":                     {credential.RegistryRead, "GET", "/devices/d1"},
	"put_device":                     {credential.RegistryWrite, "PUT", "/devices/d1"},
	"delete_device":                  {credential.RegistryWrite, "DELETE", "/devices/d1"},
	"get_twin":                       {credential.ServiceConnect, "GET", "/twins/d1"},
	"patch_twin":                     {credential.ServiceConnect, "PATCH", "/twins/d1"},
	"replace_twin":                   {credential.ServiceConnect, "PUT", "/twins/d1"},
	"query":                          {credential.ServiceConnect, "POST", "/devices/query"},
	"list_modules":                   {credential.RegistryRead, "GET", "/devices/d1/modules"},
	"get_module":                     {credential.RegistryRead, "GET", "/devices/d1/modules/m1"},
	"put_module":                     {credential.RegistryWrite, "PUT", "/devices/d1/modules/m1"},
	"delete_module":                  {credential.RegistryWrite, "DELETE", "/devices/d1/modules/m1"},
	"get_module_twin":                {credential.ServiceConnect, "GET", "/twins/d1/modules/m1"},
	"patch_module_twin":              {credential.ServiceConnect, "PATCH", "/twins/d1/modules/m1"},
	"replace_module_twin":            {credential.ServiceConnect, "PUT", "/twins/d1/modules/m1"},
	"invoke_module_method":           {credential.ServiceConnect, "POST", "/twins/d1/modules/m1/methods"},
	"purge_commands":                 {credential.ServiceConnect, "DELETE", "/devices/d1/commands"},
	"receive_feedback":               {credential.ServiceConnect, "GET", "/messages/serviceBound/feedback"},
	"complete_feedback":              {credential.ServiceConnect, "DELETE", "/messages/serviceBound/feedback/l1"},
	"abandon_feedback":               {credential.ServiceConnect, "POST", "/messages/serviceBound/feedback/l1/abandon"},
	"invoke_method":                  {credential.ServiceConnect, "POST", "/twins/d1/methods"},
	"get_digital_twin":               {credential.ServiceConnect, "GET", "/digitaltwins/d1"},
	"patch_digital_twin":             {credential.ServiceConnect, "PATCH", "/digitaltwins/d1"},
	"digital_twin_command":           {credential.ServiceConnect, "POST", "/digitaltwins/d1/commands/c"},
	"digital_twin_component_command": {credential.ServiceConnect, "POST", "/digitaltwins/d1/components/c/commands/d"},
	"list_configurations":            {credential.RegistryRead, "GET", "/configurations"},
	"test_configuration_queries":     {credential.RegistryRead, "POST", "/configurations/testQueries"},
	"get_configuration":              {credential.RegistryRead, "GET", "/configurations/c"},
	"put_configuration":              {credential.RegistryWrite, "PUT", "/configurations/c"},
	"delete_configuration":           {credential.RegistryWrite, "DELETE", "/configurations/c"},
	"apply_configuration_content":    {credential.RegistryWrite, "POST", "/devices/d1/applyConfigurationContent"},
	"list_jobs":                      {credential.ServiceConnect, "GET", "/jobs/v2/query"},
	"create_job":                     {credential.ServiceConnect, "PUT", "/jobs/v2/j"},
	"get_job":                        {credential.ServiceConnect, "GET", "/jobs/v2/j"},
	"cancel_job":                     {credential.ServiceConnect, "POST", "/jobs/v2/j/cancel"},
	"device_statistics":              {credential.RegistryRead, "GET", "/statistics/devices"},
	"service_statistics":             {credential.RegistryRead, "GET", "/statistics/service"},
}

func TestEveryOperationNeedsItsPermission(t *testing.T) {
	found := operationsOfTheSource(t)
	for name, right := range found {
		want, ok := permissionOf[name]
		if !ok {
			t.Errorf("operation %s with %s is not in the table of permissions; add it to permissionOf", name, right)
		} else if right != "" && want.right.String() != right {
			t.Errorf("operation %s asks for %s, azure-iot-wire 1.3 has %s", name, right, want.right)
		}
	}
	for name, want := range permissionOf {
		if _, ok := found[name]; !ok {
			t.Errorf("operation %s is in the table and not in the source", name)
		}
		for _, only := range []credential.Permission{credential.RegistryRead, credential.RegistryWrite, credential.ServiceConnect, credential.DeviceConnect} {
			b := newBench(t)
			keys, err := credential.NewKeys(&counter{n: 50})
			if err != nil {
				t.Fatal(err)
			}
			b.policies["only"] = credential.Policy{Name: "only", Permissions: only, Keys: keys}
			w := b.do(want.method, want.path, "", "Authorization", b.token("only", "", time.Minute))
			if allowed := only == want.right; (w.Code != 401) != allowed {
				t.Errorf("%s (%s %s) with %s alone: status %d", name, want.method, want.path, only, w.Code)
			}
		}
	}
}

// operationsOfTheSource finds what is written like {"get_twin",
// credential.ServiceConnect, s.getTwin}, or as operation{…} with fields.
func operationsOfTheSource(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			lit, ok := n.(*ast.CompositeLit)
			if !ok || len(lit.Elts) < 3 {
				return true
			}
			var name, right string
			for _, e := range lit.Elts {
				if kv, ok := e.(*ast.KeyValueExpr); ok {
					e = kv.Value
				}
				switch x := e.(type) {
				case *ast.BasicLit:
					if x.Kind == token.STRING && name == "" {
						name = strings.Trim(x.Value, `"`)
					}
				case *ast.SelectorExpr:
					if p, ok := x.X.(*ast.Ident); ok && p.Name == "credential" {
						right = x.Sel.Name
					}
				}
			}
			if name != "" && right != "" {
				out[name] = right
			}
			return true
		})
	}
	if len(out) < 10 {
		t.Fatalf("only %d operations found", len(out))
	}
	return out
}
