package storage

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func TestWhatWasAnsweredSurvivesACrashAtOnce(t *testing.T) {
	for range 200 {
		mem := vfs.NewCrashableMem()
		c := newClock()
		l := open(t, c.options(mem))
		mustCreate(t, l, "a", 1)
		clone := mem.CrashClone(vfs.CrashCloneCfg{})
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		l = open(t, c.options(clone))
		if _, ok := l.Topic("a"); !ok {
			t.Error("the topic is gone")
			t.Log(mem.String())
			t.Log(clone.String())
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
