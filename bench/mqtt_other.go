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
