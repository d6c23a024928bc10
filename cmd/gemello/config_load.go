package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"gopkg.in/yaml.v3"
)

// maxConfigBytes bounds what is read as configuration or as a secret.
const maxConfigBytes = 4 << 20

// configSource is where the configuration of one command line comes from.
type configSource struct {
	file     string // --config; empty: none
	flags    map[string]*keyFlag
	hostname string   // --hostname
	kafka    []string // --kafka
	app      *app
}

// newConfigSource declares the configuration's flags.
func newConfigSource(a *app, fs *pflag.FlagSet) *configSource {
	s := &configSource{app: a}
	fs.StringVar(&s.file, "config", "", "configuration file (YAML)")
	s.flags = configFlags(fs)
	fs.StringVar(&s.hostname, "hostname", "", "the host name that connection strings carry; put in front of hostnames")
	fs.StringSliceVar(&s.kafka, "kafka", nil, "seed brokers, short for --log.kafka")
	return s
}

// load merges flag over environment over file over default, reads secrets and
// validates.
func (s *configSource) load() (*Config, error) {
	c := defaultConfig()
	c.origin = make(map[string]string)
	if s.file != "" {
		if err := c.readFile(s.file); err != nil {
			return nil, err
		}
	}
	keys := make(map[string]configKey)
	for _, k := range configKeys(c) {
		keys[k.path] = k
		if text, ok := s.app.lookupEnv(k.env()); ok {
			if err := c.setFrom(k, k.env(), text); err != nil {
				return nil, err
			}
		}
	}
	for _, path := range sortedPaths(s.flags) {
		if f := s.flags[path]; f.texts != nil {
			text := f.texts[len(f.texts)-1]
			if keys[path].value.Type() == reflect.TypeFor[[]string]() {
				text = strings.Join(f.texts, ",")
			}
			if err := c.setFrom(keys[path], "--"+path, text); err != nil {
				return nil, err
			}
		}
	}
	if s.kafka != nil {
		c.Log.Kafka = s.kafka
		c.origin["log.kafka"] = "--kafka"
	}
	if s.hostname != "" {
		rest := slices.DeleteFunc(slices.Clone(c.Hostnames), func(h string) bool { return h == s.hostname })
		c.Hostnames = append([]string{s.hostname}, rest...)
		c.origin["hostnames"] = "--hostname"
	}
	if err := c.readSecrets(); err != nil {
		return nil, err
	}
	if err := c.validate(); err != nil {
		return nil, err
	}
	return c, nil
}

// unknownVariables lists variables that look like settings and are none: an
// error would break shells that hold variables of other tools.
func (s *configSource) unknownVariables() []string {
	known := make(map[string]bool)
	for _, k := range configKeys(defaultConfig()) {
		known[k.env()] = true
	}
	var unknown []string
	for _, kv := range s.app.environ() {
		name, _, _ := strings.Cut(kv, "=")
		if strings.HasPrefix(name, envPrefix) && !known[name] {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	return unknown
}

func (c *Config) setFrom(k configKey, origin, text string) error {
	if isItems(k.value.Type()) {
		name := origin
		if file, ok := strings.CutPrefix(text, "@"); ok {
			b, err := readSmallFile(file)
			if err != nil {
				return &configError{Origin: origin, Key: k.path, Value: text, Allowed: "YAML text or @FILE", Remedy: err.Error()}
			}
			name, text = file, string(b)
		}
		root, err := parseYAML(name, []byte(text))
		if err != nil || root == nil {
			return err
		}
		if err := decodeLeafOrStruct(name, k.path, root, k.value, c.origin); err != nil {
			return err
		}
	} else if allowed, ok := setText(k.value, text); !ok {
		if k.secret {
			text = "***"
		}
		return &configError{Origin: origin, Key: k.path, Value: text, Allowed: allowed}
	}
	c.origin[k.path] = origin
	return nil
}

func (c *Config) readFile(file string) error {
	b, err := readSmallFile(file)
	if err != nil {
		return usagef("--config: %v; name a readable YAML file", err)
	}
	root, err := parseYAML(file, b)
	if err != nil || root == nil {
		return err
	}
	return decodeNode(file, "", root, reflect.ValueOf(c).Elem(), c.origin)
}

// parseYAML returns the only document's root, or nil when there is none.
func parseYAML(file string, b []byte) (*yaml.Node, error) {
	dec := yaml.NewDecoder(bytes.NewReader(b))
	var doc, second yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, usagef("%s: not YAML: %v", file, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if err := dec.Decode(&second); !errors.Is(err, io.EOF) {
		return nil, usagef("%s: more than one YAML document; keep one", file)
	}
	if len(doc.Content) == 0 {
		return nil, nil
	}
	return doc.Content[0], nil
}

// readSecrets fills secret fields from the files that their neighbours name;
// the environment, when set, wins over no file and conflicts with one.
func (c *Config) readSecrets() error {
	if c.Log.SASL.PasswordFile != "" {
		b, err := readSmallFile(c.Log.SASL.PasswordFile)
		if err != nil {
			return c.bad("log.sasl.password_file", c.Log.SASL.PasswordFile, "a readable file that holds the password", err.Error())
		}
		if _, fromEnv := c.origin["log.sasl.password"]; !fromEnv {
			c.Log.SASL.Password = strings.TrimRight(string(b), "\r\n")
		}
	}
	return nil
}

// bad makes the error of a key, with the place where the key was set.
func (c *Config) bad(key, value, allowed, remedy string) error {
	return &configError{Origin: c.origin[key], Key: key, Value: value, Allowed: allowed, Remedy: remedy}
}

// readSmallFile reads a file of bounded size; its error is one line.
func readSmallFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxConfigBytes+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxConfigBytes {
		return nil, errors.New(name + " is larger than " + Size(maxConfigBytes).String())
	}
	return b, nil
}
