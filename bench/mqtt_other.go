//go:build !linux

package bench

import (
	"context"
	"errors"
	"io"
)

// MQTT needs epoll and /proc.
func MQTT(context.Context, MQTTOptions, io.Writer) error {
	return errors.New("bench mqtt runs on Linux only")
}

// Twin needs epoll and /proc.
func Twin(context.Context, TwinOptions, io.Writer) error {
	return errors.New("bench twin runs on Linux only")
}

// Methods needs epoll and /proc.
func Methods(context.Context, MethodsOptions, io.Writer) error {
	return errors.New("bench methods runs on Linux only")
}

// Flood needs epoll and /proc.
func Flood(context.Context, FloodOptions, io.Writer) error {
	return errors.New("bench flood runs on Linux only")
}
