package main

import (
	"context"
	"errors"
)

// runNode runs the node until ctx ends.
func runNode(ctx context.Context, cfg *Config, env *nodeEnv) error {
	return errors.New("node wiring missing")
}
