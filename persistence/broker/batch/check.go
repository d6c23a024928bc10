package batch

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Limits of Check for what a stranger sends.
const (
	// maxExpansion bounds the decompressed records, which are walked through and
	// never held: it bounds time, not memory.
	maxExpansion = 512 << 20
	// minRecord is the size of the smallest record: length, attributes, two
	// deltas, null key and value, no headers.
	minRecord = 7
)

// Checked is what Check found in the records.
type Checked struct {
	Header
	NullKeys     bool  // at least one record has no key
	MinTimestamp int64 // ms, of the records
	MaxTimestamp int64 // ms, of the records; the header's may be wrong
}

// Check verifies b, which must be exactly one batch as a producer sends it:
// length, checksum, one record for each offset, and the structure of each
// record, also of compressed ones. The errors wrap those of this package.
func Check(b []byte) (Checked, error) {
	h, err := Intact(b)
	if err != nil {
		return Checked{}, err
	}
	c := Checked{Header: h}
	if h.Count == 0 || h.Count != h.LastDelta+1 {
		return c, fmt.Errorf("%w: %d records, last delta %d", ErrRecords, h.Count, h.LastDelta)
	}
	if h.ProducerID >= 0 && (h.FirstSequence < 0 || h.Epoch < 0) {
		return c, fmt.Errorf("%w: producer %d with epoch %d, sequence %d", ErrRecords, h.ProducerID, h.Epoch, h.FirstSequence)
	}
	next := int64(0)
	err = skim(h, b, func(s skimmed) bool {
		if s.delta != next {
			next = -1
			return false
		}
		if next == 0 || s.time < c.MinTimestamp {
			c.MinTimestamp = s.time
		}
		if next == 0 || s.time > c.MaxTimestamp {
			c.MaxTimestamp = s.time
		}
		next++
		c.NullKeys = c.NullKeys || s.nullKey
		return true
	})
	if err == nil && next != int64(h.Count) {
		err = fmt.Errorf("%w: offset deltas are not 0, 1, 2", ErrRecords)
	}
	return c, err
}

// Times visits offset and timestamp (ms) of each record of b until visit returns
// false. It needs little memory also for compressed batches.
func Times(b []byte, visit func(offset, timestamp int64) bool) error {
	h, err := Peek(b)
	if err != nil {
		return err
	}
	return skim(h, b, func(s skimmed) bool { return visit(h.Base+s.delta, s.time) })
}

// skimmed is what is seen of a record in passing.
type skimmed struct {
	delta   int64
	time    int64
	nullKey bool
}

// skim walks over the records of b without holding them.
func skim(h Header, b []byte, visit func(skimmed) bool) error {
	block := b[HeaderBytes:h.Size()]
	if h.Codec() == None {
		if int64(h.Count)*minRecord > int64(len(block)) {
			return fmt.Errorf("%w: %d records in %d bytes", ErrRecords, h.Count, len(block))
		}
		return skimPlain(h, block, visit)
	}
	r, done, err := open(h.Codec(), block)
	if err != nil {
		return err
	}
	defer done()
	return skimStream(h, r, visit)
}

func skimPlain(h Header, block []byte, visit func(skimmed) bool) error {
	for range h.Count {
		r, n, err := parseRecord(h, block)
		if err != nil {
			return err
		}
		block = block[n:]
		if !visit(skimmed{delta: r.Offset - h.Base, time: r.Timestamp, nullKey: r.Key == nil}) {
			return nil
		}
	}
	if len(block) != 0 {
		return fmt.Errorf("%w: %d bytes after the last", ErrRecords, len(block))
	}
	return nil
}

// skimStream is skimPlain for records that come out of a decoder.
func skimStream(h Header, src io.Reader, visit func(skimmed) bool) error {
	s := &stream{r: bufio.NewReaderSize(src, 4<<10), total: maxExpansion}
	for range h.Count {
		size := s.varint()
		if s.err == nil && size < 0 {
			s.fail(nil)
		}
		s.left = size
		s.framed = true
		s.skip(1) // attributes
		ts := s.varint()
		delta := s.varint()
		nullKey := s.field()
		s.field()
		headers := s.varint()
		if headers < 0 || headers > s.left/2 {
			s.fail(nil)
		}
		for i := int64(0); i < headers && s.err == nil; i++ {
			if s.field() {
				s.fail(nil)
			}
			s.field()
		}
		if s.err == nil && (s.left != 0 || delta < 0 || delta > int64(h.LastDelta)) {
			s.fail(nil)
		}
		if s.err != nil {
			return s.err
		}
		s.framed = false
		if !visit(skimmed{delta: delta, time: h.timeOf(ts), nullKey: nullKey}) {
			return nil
		}
	}
	// Reading on to the end verifies the checksum of the codec's own.
	switch _, err := s.r.ReadByte(); {
	case err == nil:
		return fmt.Errorf("%w: bytes after the last", ErrRecords)
	case !errors.Is(err, io.EOF):
		return fmt.Errorf("%w: %w", ErrRecords, err)
	}
	return nil
}

// stream reads fields of one record after the other; err sticks.
type stream struct {
	r      *bufio.Reader
	left   int64 // bytes left in the record
	framed bool  // left counts
	total  int64 // bytes left of the bound on everything
	err    error
}

func (s *stream) fail(cause error) {
	if s.err != nil {
		return
	}
	if cause == nil || errors.Is(cause, io.EOF) {
		s.err = fmt.Errorf("%w: fields of a record", ErrRecords)
		return
	}
	s.err = fmt.Errorf("%w: %w", ErrRecords, cause)
}

func (s *stream) take(n int64) bool {
	if s.err != nil {
		return false
	}
	if s.framed {
		if n > s.left {
			s.fail(nil)
			return false
		}
		s.left -= n
	}
	if s.total -= n; s.total < 0 {
		s.err = fmt.Errorf("%w: more than %d bytes when decompressed", ErrTooLarge, maxExpansion)
		return false
	}
	return true
}

// ReadByte makes stream a source of varints.
func (s *stream) ReadByte() (byte, error) {
	if !s.take(1) {
		return 0, s.err
	}
	b, err := s.r.ReadByte()
	if err != nil {
		s.fail(err)
	}
	return b, err
}

func (s *stream) varint() int64 {
	if s.err != nil {
		return 0
	}
	v, err := binary.ReadVarint(s)
	if err != nil {
		s.fail(err)
		return 0
	}
	return v
}

func (s *stream) skip(n int64) {
	if !s.take(n) {
		return
	}
	for n > 0 && s.err == nil {
		step := min(n, 1<<20)
		if _, err := s.r.Discard(int(step)); err != nil {
			s.fail(err)
		}
		n -= step
	}
}

// field skips bytes with a length and reports whether they are null.
func (s *stream) field() (null bool) {
	n := s.varint()
	if n < -1 {
		s.fail(nil)
	}
	if s.err == nil && n > 0 {
		s.skip(n)
	}
	return n == -1
}
