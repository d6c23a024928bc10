package device

import (
	"errors"
	"testing"
	"time"
)

func TestRulesOfCommandsHaveBounds(t *testing.T) {
	for name, c := range map[string]struct {
		rules CommandRules
		ok    bool
	}{
		"defaults":             {CommandRules{}, true},
		"defaults, spelled":    {CommandRules{}.OrDefaults(), true},
		"least":                {CommandRules{time.Minute, 1, 5 * time.Second, time.Minute}, true},
		"most":                 {CommandRules{48 * time.Hour, 100, 5 * time.Minute, 48 * time.Hour}, true},
		"ttl too short":        {CommandRules{TTL: time.Minute - 1}, false},
		"ttl too long":         {CommandRules{TTL: 48*time.Hour + 1}, false},
		"too many deliveries":  {CommandRules{MaxDeliveries: 101}, false},
		"negative deliveries":  {CommandRules{MaxDeliveries: -1}, false},
		"lock too short":       {CommandRules{Lock: 5*time.Second - 1}, false},
		"lock too long":        {CommandRules{Lock: 5*time.Minute + 1}, false},
		"feedback too short":   {CommandRules{FeedbackTTL: time.Second}, false},
		"feedback for all day": {CommandRules{FeedbackTTL: 72 * time.Hour}, false},
	} {
		if err := c.rules.Validate(); (err == nil) != c.ok || err != nil && !errors.Is(err, ErrArgument) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestACommandKeepsTheRulesOfItsSending(t *testing.T) {
	var q CommandQueue
	if err := q.Send(Command{Sequence: 1, MaxDeliveries: 2, FeedbackTTL: time.Minute}, at(0)); err != nil {
		t.Fatal(err)
	}
	b, err := q.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	var back CommandQueue
	if err := back.UnmarshalBinary(b); err != nil {
		t.Fatal(err)
	}
	if c := back.Commands()[0]; c.MaxDeliveries != 2 || c.FeedbackTTL != time.Minute {
		t.Fatalf("came back as %+v", c)
	}
	for i := range 2 {
		back.Receive("s", at(i), 5*time.Second, 1, 1, tokens("l"))
		if until := back.Next(); !until.Equal(at(i + 5)) {
			t.Errorf("locked until %v", until)
		}
		ended, err := back.Settle("s", "l0", OutcomeAbandon)
		if err != nil || len(ended) != i {
			t.Errorf("after %d deliveries ended %v, %v", i+1, ended, err)
		}
	}
}
