package group

import (
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"strings"
	"time"
)

// Options say how groups behave.
type Options struct {
	// InitialRebalanceDelay is how long the first members of an empty classic
	// group wait for others; 0 is none.
	InitialRebalanceDelay time.Duration
	// MinSessionTimeout and MaxSessionTimeout bound what members of classic
	// groups may ask for; 0 is 6 s and 30 minutes, as in Apache Kafka.
	MinSessionTimeout, MaxSessionTimeout time.Duration
	// NewMemberTimeout is how long a new member of a classic group may wait for
	// its first generation; 0 is 5 minutes.
	NewMemberTimeout time.Duration
	// ConsumerSessionTimeout and ConsumerHeartbeatInterval are those of all
	// members of consumer groups; 0 is 45 s and 5 s.
	ConsumerSessionTimeout, ConsumerHeartbeatInterval time.Duration
	// MaxMembers bounds the members of a group; 0 is 1,000.
	MaxMembers int
	// MaxGroups bounds the groups kept in memory; 0 is 10,000. Empty ones make
	// room for new ones.
	MaxGroups int
	// MaxBytes bounds what all members together are remembered by: ids,
	// subscriptions and assignments; 0 is 64 MiB.
	MaxBytes int
	// EmptyRetention is how long a group without members is remembered; 0 is 10
	// minutes. Then it is known by its offsets, if it has any.
	EmptyRetention time.Duration
	// Activity is told when a group gets its first member and when it has lost
	// its last; nil is nobody.
	Activity func(group string, active bool)
	// NewID returns what no other call of it ever returned; nil is [NewID].
	NewID func() string
	// Topics tells consumer groups what topics there are; nil is none.
	Topics Topics
}

// Topics tells what topics there are.
type Topics interface {
	// TopicByName returns the id and the number of partitions of a topic.
	TopicByName(name string) (id [16]byte, partitions int32, ok bool)
	// TopicName returns the name of a topic.
	TopicName(id [16]byte) (string, bool)
	// TopicNames returns the names of all topics, in order.
	TopicNames() []string
}

func (o Options) ensureDefaults() Options {
	o.MinSessionTimeout = cmp.Or(o.MinSessionTimeout, 6*time.Second)
	o.MaxSessionTimeout = cmp.Or(o.MaxSessionTimeout, 30*time.Minute)
	o.NewMemberTimeout = cmp.Or(o.NewMemberTimeout, 5*time.Minute)
	o.ConsumerSessionTimeout = cmp.Or(o.ConsumerSessionTimeout, 45*time.Second)
	o.ConsumerHeartbeatInterval = cmp.Or(o.ConsumerHeartbeatInterval, 5*time.Second)
	o.MaxMembers = cmp.Or(o.MaxMembers, 1000)
	o.MaxGroups = cmp.Or(o.MaxGroups, 10_000)
	o.MaxBytes = cmp.Or(o.MaxBytes, 64<<20)
	o.EmptyRetention = cmp.Or(o.EmptyRetention, 10*time.Minute)
	if o.Activity == nil {
		o.Activity = func(string, bool) {}
	}
	if o.NewID == nil {
		o.NewID = NewID
	}
	if o.Topics == nil {
		o.Topics = noTopics{}
	}
	return o
}

// NewID returns a random UUID of version 8 whose last four bytes are a check
// of the others, so that a later coordinator knows the ids of an earlier one.
func NewID() string {
	var u [16]byte
	rand.Read(u[:12])
	u[6] = u[6]&0x0f | 0x80
	u[8] = u[8]&0x3f | 0x80
	binary.BigEndian.PutUint32(u[12:], check(u))
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}

// given reports whether a member id ends with what NewID returns.
func given(member string) bool {
	const size = 36
	if len(member) < size {
		return false
	}
	id, err := hex.DecodeString(strings.ReplaceAll(member[len(member)-size:], "-", ""))
	if err != nil || len(id) != 16 {
		return false
	}
	u := [16]byte(id)
	return u[6]>>4 == 8 && binary.BigEndian.Uint32(u[12:]) == check(u)
}

func check(u [16]byte) uint32 {
	return crc32.Checksum(u[:12], crc32.MakeTable(crc32.Castagnoli))
}

type noTopics struct{}

func (noTopics) TopicByName(string) ([16]byte, int32, bool) { return [16]byte{}, 0, false }
func (noTopics) TopicName([16]byte) (string, bool)          { return "", false }
func (noTopics) TopicNames() []string                       { return nil }
