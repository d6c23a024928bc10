package main

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
	"gopkg.in/yaml.v3"

	"github.com/gemello/gemello/actors/partition"
)

// configKey is one setting: a leaf of Config, addressable in one Config value.
type configKey struct {
	path   string // log.sasl.user
	usage  string
	secret bool
	value  reflect.Value
}

// envPrefix begins the name of every environment variable that is read.
const envPrefix = "GEMELLO_"

func (k configKey) env() string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(k.path, ".", "_"))
}

// configKeys lists the settings of c in the order of the struct.
func configKeys(c *Config) []configKey {
	var keys []configKey
	var walk func(prefix string, v reflect.Value)
	walk = func(prefix string, v reflect.Value) {
		for i := range v.NumField() {
			f := v.Type().Field(i)
			name := f.Tag.Get("yaml")
			if !f.IsExported() || name == "" {
				continue
			}
			if f.Type.Kind() == reflect.Struct {
				walk(prefix+name+".", v.Field(i))
				continue
			}
			keys = append(keys, configKey{
				path:   prefix + name,
				usage:  f.Tag.Get("usage"),
				secret: f.Tag.Get("secret") != "",
				value:  v.Field(i),
			})
		}
	}
	walk("", reflect.ValueOf(c).Elem())
	return keys
}

// setText sets a leaf from one piece of text, the way flags and the environment
// give it. Lists are separated by commas. allowed describes good values when
// err is not nil.
func setText(v reflect.Value, text string) (allowed string, ok bool) {
	if u, is := v.Addr().Interface().(encoding.TextUnmarshaler); is {
		if err := u.UnmarshalText([]byte(text)); err != nil {
			return err.Error(), false
		}
		return "", true
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return "true or false", false
		}
		v.SetBool(b)
	case reflect.Int:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return "a whole number", false
		}
		v.SetInt(n)
	case reflect.Slice:
		var items []string
		for item := range strings.SplitSeq(text, ",") {
			if item = strings.TrimSpace(item); item != "" {
				items = append(items, item)
			}
		}
		v.Set(reflect.ValueOf(items))
	default:
		panic("config: a setting of kind " + v.Kind().String())
	}
	return "", true
}

// decodeNode fills the struct v from a YAML mapping; unknown and repeated keys
// are errors. Of the struct's fields, those that the mapping lacks are left.
func decodeNode(file, prefix string, n *yaml.Node, v reflect.Value, origin map[string]string) error {
	n = resolveAlias(n)
	at := func(n *yaml.Node) string { return fmt.Sprintf("%s:%d", file, n.Line) }
	if isNull(n) {
		return nil
	}
	if n.Kind != yaml.MappingNode {
		return &configError{Origin: at(n), Key: strings.TrimSuffix(prefix, "."), Value: nodeText(n), Allowed: "a mapping with the keys " + strings.Join(fieldNames(v.Type()), ", ")}
	}
	seen := make(map[string]bool)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, val := n.Content[i], resolveAlias(n.Content[i+1])
		path := prefix + key.Value
		if seen[key.Value] {
			return usagef("%s: %s: given twice; remove one", at(key), path)
		}
		seen[key.Value] = true
		field, tag, ok := fieldNamed(v, key.Value)
		if !ok {
			return unknownKey(at(key), path, fieldNames(v.Type()))
		}
		if tag.Get("secret") != "" {
			return usagef("%s: %s: secrets are not kept in the configuration file; use the environment (%s) or a file (%s)",
				at(key), path, configKey{path: path}.env(), path+"_file")
		}
		if isNull(val) {
			continue
		}
		if err := decodeLeafOrStruct(file, path, val, field, origin); err != nil {
			return err
		}
	}
	return nil
}

func decodeLeafOrStruct(file, path string, n *yaml.Node, v reflect.Value, origin map[string]string) error {
	at := fmt.Sprintf("%s:%d", file, n.Line)
	switch {
	case v.Kind() == reflect.Struct:
		return decodeNode(file, path+".", n, v, origin)
	case isItems(v.Type()):
		if n.Kind != yaml.SequenceNode {
			return &configError{Origin: at, Key: path, Value: nodeText(n), Allowed: "a list of " + path}
		}
		items := reflect.MakeSlice(v.Type(), 0, len(n.Content))
		for i, item := range n.Content {
			p := defaultItem(v.Type().Elem())
			itemPath := fmt.Sprintf("%s[%d]", path, i)
			origin[itemPath] = fmt.Sprintf("%s:%d", file, item.Line)
			if err := decodeNode(file, itemPath+".", item, p, origin); err != nil {
				return err
			}
			items = reflect.Append(items, p)
		}
		v.Set(items)
	case v.Kind() == reflect.Slice && n.Kind == yaml.SequenceNode:
		items := make([]string, 0, len(n.Content))
		for _, item := range n.Content {
			item = resolveAlias(item)
			if item.Kind != yaml.ScalarNode {
				return &configError{Origin: at, Key: path, Value: nodeText(item), Allowed: "a list of texts"}
			}
			items = append(items, item.Value)
		}
		v.Set(reflect.ValueOf(items))
	case n.Kind != yaml.ScalarNode:
		return &configError{Origin: at, Key: path, Value: nodeText(n), Allowed: "a single value"}
	default:
		if allowed, ok := setText(v, n.Value); !ok {
			return &configError{Origin: at, Key: path, Value: n.Value, Allowed: allowed}
		}
	}
	origin[path] = at
	return nil
}

func resolveAlias(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// nodeText is a node on one line, for messages.
func nodeText(n *yaml.Node) string {
	if n.Kind == yaml.ScalarNode {
		return n.Value
	}
	b, err := yaml.Marshal(n)
	if err != nil {
		return "?"
	}
	return strings.TrimSpace(string(b))
}

func fieldNamed(v reflect.Value, name string) (reflect.Value, reflect.StructTag, bool) {
	for i := range v.NumField() {
		if f := v.Type().Field(i); name != "" && f.Tag.Get("yaml") == name {
			return v.Field(i), f.Tag, true
		}
	}
	return reflect.Value{}, "", false
}

func fieldNames(t reflect.Type) []string {
	var names []string
	for i := range t.NumField() {
		f := t.Field(i)
		if name := f.Tag.Get("yaml"); name != "" && f.Tag.Get("secret") == "" {
			names = append(names, name)
		}
	}
	return names
}

func unknownKey(at, path string, allowed []string) error {
	name := path[strings.LastIndexByte(path, '.')+1:]
	hint := "one of " + strings.Join(allowed, ", ")
	if near := nearest(name, allowed); near != "" {
		hint += "; did you mean " + near + "?"
	}
	return usagef("%s: %s: unknown key; allowed: %s", at, path, hint)
}

// nearest is the allowed name within two edits of name, or "".
func nearest(name string, allowed []string) string {
	best, bestDistance := "", 3
	for _, a := range allowed {
		if d := editDistance(name, a); d < bestDistance {
			best, bestDistance = a, d
		}
	}
	return best
}

// editDistance is Levenshtein's.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// keyFlag collects the texts given for one key on the command line. They are
// applied after the file and the environment, which they override.
type keyFlag struct {
	kind  string
	texts []string
	shown string // the default, for help
}

func (f *keyFlag) String() string     { return f.shown }
func (f *keyFlag) Type() string       { return f.kind }
func (f *keyFlag) Set(s string) error { f.texts = append(f.texts, s); return nil }

// configFlags declares a flag for every key that is not a secret.
func configFlags(fs *pflag.FlagSet) map[string]*keyFlag {
	flags := make(map[string]*keyFlag)
	for _, k := range configKeys(defaultConfig()) {
		if k.secret {
			continue
		}
		f := &keyFlag{kind: flagKind(k.value), shown: leafText(k.value)}
		flags[k.path] = f
		pf := fs.VarPF(f, k.path, "", k.usage)
		if k.value.Kind() == reflect.Bool {
			pf.NoOptDefVal = "true"
		}
	}
	return flags
}

// isItems reports whether a setting is a list of structs.
func isItems(t reflect.Type) bool {
	return t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct
}

// defaultItem returns a settable item of a list with its defaults.
func defaultItem(t reflect.Type) reflect.Value {
	v := reflect.New(t).Elem()
	switch x := v.Addr().Interface().(type) {
	case *PipelineConfig:
		*x = defaultPipeline()
	case *BridgeConfig:
		*x = defaultBridge()
	case *RouteConfig:
		*x = RouteConfig{Source: partition.SourceTelemetry, Enabled: true}
	}
	return v
}

func flagKind(v reflect.Value) string {
	switch v.Interface().(type) {
	case Duration:
		return "duration"
	case Size:
		return "size"
	case []string:
		return "list"
	case []PipelineConfig, []BridgeConfig, []RouteConfig, []EnrichmentConfig, []WebhookConfig:
		return "yaml"
	}
	return v.Kind().String()
}

func leafText(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case []string:
		return strings.Join(x, ",")
	case []PipelineConfig, []BridgeConfig, []RouteConfig, []EnrichmentConfig, []WebhookConfig:
		return ""
	default:
		return fmt.Sprint(x)
	}
}

// sortedPaths lists map keys in a fixed order, so that of several mistakes the
// same one is always named.
func sortedPaths[V any](m map[string]V) []string {
	paths := make([]string, 0, len(m))
	for p := range m {
		paths = append(paths, p)
	}
	slices.Sort(paths)
	return paths
}
