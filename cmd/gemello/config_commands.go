package main

import (
	"strconv"
	"time"

	"github.com/gemello/gemello/device"
)

// CommandsConfig is about cloud-to-device messages. A change is for what is sent
// or delivered from then on.
type CommandsConfig struct {
	TTL           Duration `yaml:"ttl" usage:"how long a command waits for its device when it names no expiry"`
	MaxDeliveries int      `yaml:"max_deliveries" usage:"how often a command is delivered before it is given up"`
	Lock          Duration `yaml:"lock" usage:"how long a device has to settle a command"`
	FeedbackTTL   Duration `yaml:"feedback_ttl" usage:"how long feedback waits for a service to read it"`
}

func defaultCommands() CommandsConfig {
	return CommandsConfig{
		TTL: Duration(device.CommandTTL), MaxDeliveries: device.MaxDeliveries,
		Lock: Duration(device.CommandLock), FeedbackTTL: Duration(device.FeedbackTTL),
	}
}

func (c *CommandsConfig) rules() device.CommandRules {
	return device.CommandRules{
		TTL: time.Duration(c.TTL), MaxDeliveries: c.MaxDeliveries,
		Lock: time.Duration(c.Lock), FeedbackTTL: time.Duration(c.FeedbackTTL),
	}
}

func (c *Config) validateCommands() error {
	k := &c.Commands
	rules := k.rules()
	for _, x := range []struct {
		key, value, allowed string
		zero                bool
		only                device.CommandRules
	}{
		{"commands.ttl", k.TTL.String(), "1m to 48h", rules.TTL == 0, device.CommandRules{TTL: rules.TTL}},
		{"commands.max_deliveries", strconv.Itoa(k.MaxDeliveries), "1 to 100", rules.MaxDeliveries == 0, device.CommandRules{MaxDeliveries: rules.MaxDeliveries}},
		{"commands.lock", k.Lock.String(), "5s to 5m", rules.Lock == 0, device.CommandRules{Lock: rules.Lock}},
		{"commands.feedback_ttl", k.FeedbackTTL.String(), "1m to 48h", rules.FeedbackTTL == 0, device.CommandRules{FeedbackTTL: rules.FeedbackTTL}},
	} {
		if x.zero || x.only.Validate() != nil {
			return c.bad(x.key, x.value, x.allowed, "")
		}
	}
	return nil
}
