package conformance

import (
	"context"
	"errors"
	"os"

	"github.com/gemello/gemello/persistence/broker"
)

// startOwn starts the module's broker in this process.
func startOwn() (addr string, stop func() error, err error) {
	dir, err := os.MkdirTemp("", "conformance")
	if err != nil {
		return "", nil, err
	}
	s, err := broker.Start(context.Background(), broker.Options{Dir: dir, SyncWrites: true})
	if err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s.Addr(), func() error { return errors.Join(s.Close(), os.RemoveAll(dir)) }, nil
}
