package storage

import (
	"testing"

	"github.com/cockroachdb/pebble/v2"
)

// mustVerify checks the log as it is on the disk.
func mustVerify(t testing.TB, l *Log) {
	t.Helper()
	var r Report
	err := l.snapshot(func(db pebble.Reader) (err error) {
		r, err = verify(ctx, db)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r.Findings {
		t.Error(f)
	}
}
