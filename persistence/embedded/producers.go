package embedded

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
)

// producers is the broker's log of producer ids, as far as recovery needs it.
type producers struct {
	path   string
	known  map[int64]producerEntry // the newest entry of an id
	change map[int64]producerEntry
}

// producerEntry is one entry of the log.
type producerEntry struct {
	Type    string `json:"type"` // init, endtx or timeout
	PID     int64  `json:"pid"`
	Epoch   int16  `json:"epoch"`
	TxID    string `json:"txid,omitempty"`
	Timeout int32  `json:"timeout,omitempty"`
	Commit  *bool  `json:"commit,omitempty"`
}

// openProducers reads the log and cuts off a torn end, which would hide what
// is appended behind it.
func openProducers(dir string) (*producers, error) {
	p := &producers{
		path:   filepath.Join(dir, "pids.log"),
		known:  make(map[int64]producerEntry),
		change: make(map[int64]producerEntry),
	}
	if err := trimEntries(p.path); err != nil {
		return nil, err
	}
	raw, err := os.ReadFile(p.path)
	if errors.Is(err, os.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return nil, err
	}
	for data := range entriesOf(raw) {
		var e producerEntry
		if json.Unmarshal(data, &e) != nil {
			continue // as the broker does
		}
		last := p.known[e.PID]
		switch e.Type {
		case "init":
			p.known[e.PID] = e
		case "endtx", "timeout":
			last.Epoch = e.Epoch
			p.known[e.PID] = last
		}
	}
	return p, nil
}

// seen notes the end of a transaction that is on disk. The broker's log of it
// may not be: it is flushed only when an owner begins.
func (p *producers) seen(id int64, last marker) {
	e, ok := p.known[id]
	if !ok || e.TxID == "" || last.epoch < e.Epoch || last.epoch == math.MaxInt16 {
		return
	}
	e.Type, e.Epoch, e.Commit = "init", last.epoch+1, &last.commit
	p.known[id], p.change[id] = e, e
}

// ended notes that a transaction was ended here. After an abort the epoch
// rises by two: the broker takes a commit that comes again with an epoch one
// below its own for one that it has answered.
func (p *producers) ended(of producer, commit bool) {
	e, ok := p.known[of.id]
	if !ok {
		return // nobody can go on with an id that the broker does not know
	}
	rise := int16(2)
	if commit {
		rise = 1
	}
	e.Type, e.PID, e.Commit = "init", of.id, &commit
	e.Epoch = max(e.Epoch, min(of.epoch, math.MaxInt16-1-rise)+rise)
	if earlier, ok := p.change[of.id]; ok && earlier.Epoch > e.Epoch {
		return
	}
	p.change[of.id] = e
}

// append writes what has changed to the log.
func (p *producers) append() error {
	var b []byte
	for _, e := range p.change {
		data, err := json.Marshal(e)
		if err != nil {
			return err
		}
		b = appendEntry(b, data)
	}
	if len(b) == 0 {
		return nil
	}
	return appendSynced(p.path, b)
}

// The broker frames entries of its logs with length, checksum and version,
// little-endian; length and checksum count the version and the data.

const entryHeaderSize = 10

func appendEntry(b, data []byte) []byte {
	body := append([]byte{1, 0}, data...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(body)))
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)))
	return append(b, body...)
}

// nextEntry returns the length of the whole entry that raw begins with, and
// its data.
func nextEntry(raw []byte) (n int, data []byte, ok bool) {
	if len(raw) < entryHeaderSize {
		return 0, nil, false
	}
	size := binary.LittleEndian.Uint32(raw)
	if size < 2 || uint64(size) > uint64(len(raw)-8) {
		return 0, nil, false
	}
	body := raw[8 : 8+size]
	if crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)) != binary.LittleEndian.Uint32(raw[4:]) {
		return 0, nil, false
	}
	return 8 + int(size), body[2:], true
}

// entriesOf ranges over the data of whole entries.
func entriesOf(raw []byte) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for {
			n, data, ok := nextEntry(raw)
			if !ok || !yield(data) {
				return
			}
			raw = raw[n:]
		}
	}
}

// trimEntries cuts a log after its last whole entry.
func trimEntries(path string) error {
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	whole := 0
	for {
		n, _, ok := nextEntry(raw[whole:])
		if !ok {
			break
		}
		whole += n
	}
	if whole == len(raw) {
		return nil
	}
	return os.Truncate(path, int64(whole))
}
