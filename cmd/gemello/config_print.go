package main

import (
	"fmt"
	"io"
	"reflect"

	"gopkg.in/yaml.v3"
)

// print writes the effective configuration as a file that loads back to the
// same one. Secrets are shown as comments, masked: they have no key in a file.
func (c *Config) print(w io.Writer) error {
	enc := yaml.NewEncoder(w)
	enc.SetIndent(2)
	if err := enc.Encode(encodeNode(reflect.ValueOf(c).Elem())); err != nil {
		return fmt.Errorf("print configuration: %w", err)
	}
	return enc.Close()
}

func encodeNode(v reflect.Value) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	var masked string
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name := f.Tag.Get("yaml")
		if name == "" {
			continue
		}
		if f.Tag.Get("secret") != "" {
			if v.Field(i).String() != "" {
				masked = name + ": '***'"
			}
			continue
		}
		key := &yaml.Node{Kind: yaml.ScalarNode, Value: name}
		n.Content = append(n.Content, key, encodeValue(v.Field(i)))
	}
	if masked != "" {
		n.Content[0].HeadComment = masked
	}
	return n
}

func encodeValue(v reflect.Value) *yaml.Node {
	switch {
	case v.Kind() == reflect.Struct:
		return encodeNode(v)
	case isItems(v.Type()):
		n := &yaml.Node{Kind: yaml.SequenceNode}
		if v.Len() == 0 {
			n.Style = yaml.FlowStyle
		}
		for i := range v.Len() {
			n.Content = append(n.Content, encodeNode(v.Index(i)))
		}
		return n
	case v.Kind() == reflect.Slice:
		n := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
		for i := range v.Len() {
			n.Content = append(n.Content, scalarNode(v.Index(i).String()))
		}
		return n
	case v.Kind() == reflect.String:
		return scalarNode(v.String())
	default:
		return &yaml.Node{Kind: yaml.ScalarNode, Value: leafText(v)}
	}
}

// scalarNode lets the encoder choose quotes, so that "on" or "7080" stay text.
func scalarNode(s string) *yaml.Node {
	n := &yaml.Node{}
	n.SetString(s)
	return n
}
