package main

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
)

const configPage = "../../docs/operate/configuration.md"

// TestConfigurationPage: the page has a row for every key, with its default and
// what --help says of it.
func TestConfigurationPage(t *testing.T) {
	b, err := os.ReadFile(configPage)
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	known := map[string]bool{}
	for _, k := range configKeys(defaultConfig()) {
		known[k.path] = true
		row := "| `" + k.path + "` | " + pageDefault(k) + " | " + k.usage + " |"
		if k.secret {
			row = "`" + k.env() + "`"
		}
		if !strings.Contains(page, row+"\n") && !(k.secret && strings.Contains(page, row)) {
			t.Errorf("%s lacks the row\n%s", configPage, row)
		}
	}
	for _, item := range []any{PipelineConfig{}, BridgeConfig{}, RouteConfig{}, EnrichmentConfig{}, WebhookConfig{}} {
		for _, name := range fieldNames(reflect.TypeOf(item)) {
			if !strings.Contains(page, "\n| `"+name+"` | ") {
				t.Errorf("%s lacks a row for %s of %T", configPage, name, item)
			}
		}
	}
	for line := range strings.Lines(page) {
		key, _, ok := strings.Cut(strings.TrimPrefix(line, "| `"), "` | ")
		if ok && strings.Contains(key, ".") && strings.HasPrefix(line, "| `") && !known[key] {
			t.Errorf("%s has a row for %s, which is no key", configPage, key)
		}
	}
}

func pageDefault(k configKey) string {
	if text := leafText(k.value); text != "" && k.path != "pipelines" && k.path != "bridges" {
		return fmt.Sprintf("`%s`", text)
	}
	return ""
}
