package actors

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"time"
)

const (
	lifeTime   = 6 // bytes of the start, in ms since 1970
	lifeRandom = 4
)

// newLife names a process among all that ever had its node name, and tells when
// it started.
func newLife(node string, start time.Time) string {
	var b [8 + lifeRandom]byte
	binary.BigEndian.PutUint64(b[:8], uint64(start.UnixMilli()))
	rand.Read(b[8:])
	return node + "-" + hex.EncodeToString(b[8-lifeTime:])
}

// olderLife reports whether a process started before another did. Of names that
// tell no start nothing is known.
func olderLife(a, b string) bool {
	x, ok := lifeStart(a)
	y, also := lifeStart(b)
	return ok && also && x < y
}

func lifeStart(life string) (ms uint64, ok bool) {
	raw, err := hex.DecodeString(life[strings.LastIndexByte(life, '-')+1:])
	if err != nil || len(raw) != lifeTime+lifeRandom {
		return 0, false
	}
	return binary.BigEndian.Uint64(append([]byte{0, 0}, raw[:lifeTime]...)), true
}
