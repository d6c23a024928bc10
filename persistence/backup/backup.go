package backup

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"time"
)

// Errors of a Reader.
var (
	ErrFormat  = errors.New("no backup of this version")
	ErrCorrupt = errors.New("the backup is damaged")
	ErrPartial = errors.New("the backup was cut short")
)

const (
	magic = "gemello backup 1"
	// maxFrame bounds a frame: a device with its queue has far less.
	maxFrame = 32 << 20
)

// Kind says what a frame holds. A number is never used again for another.
type Kind byte

// The kinds of frames, in the order in which they come.
const (
	KindHeader  Kind = 1
	KindState   Kind = 2
	KindSetting Kind = 3
	KindFile    Kind = 4
	KindEnd     Kind = 5
)

// Header says what a backup is of.
type Header struct {
	Hub        string     `json:"hub"`
	HubID      string     `json:"hubId"`
	Partitions int32      `json:"partitions"`
	Created    time.Time  `json:"created"`
	WithKey    bool       `json:"withKey"`
	Positions  []Position `json:"positions"`
}

// Position is where the device log stood: all records below Begin are contained,
// and none from End on.
type Position struct {
	Begin int64 `json:"begin"`
	End   int64 `json:"end"`
}

// Entry is a record of the state topic, a setting, or a file of the data
// directory.
type Entry struct {
	Kind      Kind
	Partition int32  // of a record of the state topic
	Key       string // of the record, of the setting, name of the file
	Value     []byte
}

// Summary is what the end tells.
type Summary struct {
	States   int64 `json:"states"`
	Settings int64 `json:"settings"`
	Files    int64 `json:"files"`
}

func (s *Summary) count(k Kind) {
	switch k {
	case KindState:
		s.States++
	case KindSetting:
		s.Settings++
	case KindFile:
		s.Files++
	}
}

// Writer writes a backup.
type Writer struct {
	out     *bufio.Writer
	hash    hash.Hash
	summary Summary
	payload []byte
}

// NewWriter writes the header.
func NewWriter(w io.Writer, h *Header) (*Writer, error) {
	b := &Writer{hash: sha256.New()}
	b.out = bufio.NewWriterSize(io.MultiWriter(w, b.hash), 64<<10)
	if _, err := b.out.WriteString(magic); err != nil {
		return nil, err
	}
	text, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	return b, b.frame(KindHeader, text)
}

// Add writes an entry.
func (b *Writer) Add(e *Entry) error {
	p := b.payload[:0]
	if e.Kind == KindState {
		p = binary.BigEndian.AppendUint32(p, uint32(e.Partition))
	}
	p = binary.BigEndian.AppendUint32(p, uint32(len(e.Key)))
	p = append(append(p, e.Key...), e.Value...)
	b.payload = p
	b.summary.count(e.Kind)
	return b.frame(e.Kind, p)
}

// Close writes the end; it does not close what is written to.
func (b *Writer) Close() (Summary, error) {
	// The checksum covers all before the end's frame.
	if err := b.out.Flush(); err != nil {
		return b.summary, err
	}
	var p []byte
	for _, n := range [...]int64{b.summary.States, b.summary.Settings, b.summary.Files} {
		p = binary.BigEndian.AppendUint64(p, uint64(n))
	}
	if err := b.frame(KindEnd, b.hash.Sum(p)); err != nil {
		return b.summary, err
	}
	return b.summary, b.out.Flush()
}

func (b *Writer) frame(k Kind, payload []byte) error {
	if len(payload) > maxFrame {
		return fmt.Errorf("backup: an entry has %d bytes, %d are allowed", len(payload), maxFrame)
	}
	head := binary.BigEndian.AppendUint32([]byte{byte(k)}, uint32(len(payload)))
	sum := crc32.Update(crc32.Checksum(head, castagnoli()), castagnoli(), payload)
	for _, part := range [][]byte{head, payload, binary.BigEndian.AppendUint32(nil, sum)} {
		if _, err := b.out.Write(part); err != nil {
			return err
		}
	}
	return nil
}

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// Reader reads a backup.
type Reader struct {
	// Header is there when NewReader returns.
	Header  Header
	in      *bufio.Reader
	hash    hash.Hash
	summary Summary
	last    Kind
}

// NewReader reads the header.
func NewReader(r io.Reader) (*Reader, error) {
	b := &Reader{in: bufio.NewReaderSize(r, 64<<10), hash: sha256.New()}
	var stamp [len(magic)]byte
	if _, err := io.ReadFull(b.in, stamp[:]); err != nil && !cutShort(err) {
		return nil, err
	}
	if string(stamp[:]) != magic {
		return nil, ErrFormat
	}
	b.hash.Write(stamp[:])
	k, payload, err := b.frame()
	if err != nil {
		return nil, err
	}
	if k != KindHeader || json.Unmarshal(payload, &b.Header) != nil || int(b.Header.Partitions) != len(b.Header.Positions) || b.Header.Partitions < 1 {
		return nil, fmt.Errorf("%w: its header", ErrCorrupt)
	}
	b.last = k
	return b, nil
}

// Next returns the next entry, and io.EOF after the last one when the whole was
// as it was written. ErrPartial and ErrCorrupt say that it was not.
func (b *Reader) Next() (*Entry, error) {
	k, p, err := b.frame()
	if err != nil {
		return nil, err
	}
	if k < b.last {
		return nil, fmt.Errorf("%w: a frame of kind %d after one of kind %d", ErrCorrupt, k, b.last)
	}
	b.last = k
	e := &Entry{Kind: k}
	switch k {
	case KindEnd:
		return nil, b.end(p)
	case KindState:
		if len(p) < 4 {
			return nil, fmt.Errorf("%w: a record of state", ErrCorrupt)
		}
		e.Partition, p = int32(binary.BigEndian.Uint32(p)), p[4:]
		if e.Partition < 0 || e.Partition >= b.Header.Partitions {
			return nil, fmt.Errorf("%w: partition %d", ErrCorrupt, e.Partition)
		}
	case KindSetting, KindFile:
	default:
		return nil, fmt.Errorf("%w: a frame of kind %d", ErrCorrupt, k)
	}
	if len(p) < 4 || int64(binary.BigEndian.Uint32(p)) > int64(len(p)-4) {
		return nil, fmt.Errorf("%w: an entry's key", ErrCorrupt)
	}
	n := int(binary.BigEndian.Uint32(p))
	e.Key, e.Value = string(p[4:4+n]), p[4+n:]
	b.summary.count(k)
	return e, nil
}

// Summary counts the entries read.
func (b *Reader) Summary() Summary { return b.summary }

func (b *Reader) end(p []byte) error {
	if len(p) != 24+sha256.Size {
		return fmt.Errorf("%w: its end", ErrCorrupt)
	}
	var said Summary
	for i, n := range [...]*int64{&said.States, &said.Settings, &said.Files} {
		*n = int64(binary.BigEndian.Uint64(p[8*i:]))
	}
	if said != b.summary || string(p[24:]) != string(b.hash.Sum(nil)) {
		return fmt.Errorf("%w: counts or checksum of the whole", ErrCorrupt)
	}
	if _, err := b.in.ReadByte(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: bytes after its end", ErrCorrupt)
	}
	return io.EOF
}

func (b *Reader) frame() (Kind, []byte, error) {
	var head [5]byte
	if _, err := io.ReadFull(b.in, head[:]); err != nil {
		return 0, nil, partial(err)
	}
	n := binary.BigEndian.Uint32(head[1:])
	if n > maxFrame {
		return 0, nil, fmt.Errorf("%w: a frame of %d bytes", ErrCorrupt, n)
	}
	body, err := readN(b.in, int(n)+4)
	if err != nil {
		return 0, nil, partial(err)
	}
	payload := body[:n]
	sum := crc32.Update(crc32.Checksum(head[:], castagnoli()), castagnoli(), payload)
	if binary.BigEndian.Uint32(body[n:]) != sum {
		return 0, nil, fmt.Errorf("%w: checksum of a frame", ErrCorrupt)
	}
	if Kind(head[0]) != KindEnd {
		b.hash.Write(head[:])
		b.hash.Write(body)
	}
	return Kind(head[0]), payload, nil
}

// readN takes memory as the bytes come: a damaged length must not take it.
func readN(r io.Reader, n int) ([]byte, error) {
	const step = 64 << 10
	b := make([]byte, 0, min(n, step))
	for len(b) < n {
		from, more := len(b), min(n-len(b), step)
		b = append(b, make([]byte, more)...)
		if _, err := io.ReadFull(r, b[from:]); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func cutShort(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

func partial(err error) error {
	if cutShort(err) {
		return ErrPartial
	}
	return err
}
