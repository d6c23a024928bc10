package batch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// Codec is the compression of a batch's records.
type Codec int8

// Codecs of message format v2.
const (
	None Codec = iota
	Gzip
	Snappy
	LZ4
	Zstd
)

func (c Codec) String() string {
	switch c {
	case None:
		return "none"
	case Gzip:
		return "gzip"
	case Snappy:
		return "snappy"
	case LZ4:
		return "lz4"
	case Zstd:
		return "zstd"
	}
	return fmt.Sprintf("codec %d", int8(c))
}

const (
	// maxWindow bounds the memory of a zstd decoder; the levels that clients use
	// need 8 MiB at most.
	maxWindow = 32 << 20
	// maxChunk bounds a block of the xerial framing, which Java writes with 32 KiB.
	maxChunk = 32 << 20
	// snappyRatio is more than the format can compress: three bytes of a copy give
	// at most 64.
	snappyRatio = 33
)

// Decompress returns the records of a compressed block, which may not have more
// than limit bytes.
func Decompress(c Codec, block []byte, limit int) ([]byte, error) {
	r, done, err := open(c, block)
	if err != nil {
		return nil, err
	}
	defer done()
	var out bytes.Buffer
	if _, err := io.Copy(&out, io.LimitReader(r, int64(limit)+1)); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrRecords, c, err)
	}
	if out.Len() > limit {
		return nil, fmt.Errorf("%w: more than %d bytes when decompressed", ErrTooLarge, limit)
	}
	return out.Bytes(), nil
}

// open returns a reader of the decompressed block, whose memory does not depend
// on what comes out of it. done is to be called when it is not needed any more.
func open(c Codec, block []byte) (r io.Reader, done func(), err error) {
	done = func() {}
	switch c {
	case None:
		return bytes.NewReader(block), done, nil
	case Gzip:
		z, err := gzip.NewReader(bytes.NewReader(block))
		if err != nil {
			return nil, nil, fmt.Errorf("%w: gzip: %w", ErrRecords, err)
		}
		return z, done, nil
	case Snappy:
		return &snappyReader{src: block}, done, nil
	case LZ4:
		return lz4.NewReader(bytes.NewReader(block)), done, nil
	case Zstd:
		z, err := zstd.NewReader(bytes.NewReader(block), zstd.WithDecoderConcurrency(1),
			zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, nil, fmt.Errorf("%w: zstd: %w", ErrRecords, err)
		}
		return z, z.Close, nil
	}
	return nil, nil, fmt.Errorf("%w: %s", ErrRecords, c)
}

var xerialMagic = []byte{130, 'S', 'N', 'A', 'P', 'P', 'Y', 0}

var errSnappy = errors.New("snappy block is damaged")

// snappyReader decodes a bare snappy block or the chunks of the xerial framing
// that Java clients write.
type snappyReader struct {
	src     []byte
	out     []byte // decoded and not yet read
	buf     []byte
	started bool
	framed  bool
}

func (s *snappyReader) Read(p []byte) (int, error) {
	for len(s.out) == 0 {
		if err := s.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, s.out)
	s.out = s.out[n:]
	return n, nil
}

func (s *snappyReader) next() error {
	if !s.started {
		s.started = true
		if len(s.src) >= 16 && bytes.Equal(s.src[:8], xerialMagic) {
			s.framed = true
			s.src = s.src[16:] // magic, version, compatible version
		} else {
			block := s.src
			s.src = nil
			return s.decode(block)
		}
	}
	if len(s.src) == 0 {
		return io.EOF
	}
	if len(s.src) < 4 {
		return errSnappy
	}
	n := binary.BigEndian.Uint32(s.src)
	if uint64(n) > uint64(len(s.src)-4) {
		return errSnappy
	}
	block := s.src[4 : 4+n]
	s.src = s.src[4+n:]
	return s.decode(block)
}

func (s *snappyReader) decode(block []byte) error {
	n, err := snappy.DecodedLen(block)
	if err != nil {
		return err
	}
	if n > snappyRatio*len(block) || n > maxChunk {
		return errSnappy
	}
	s.buf, err = snappy.Decode(s.buf[:cap(s.buf)], block)
	s.out = s.buf
	return err
}

// Compress is the reverse of Decompress. Snappy is written as one bare block.
func Compress(c Codec, records []byte) ([]byte, error) {
	var out bytes.Buffer
	var w io.WriteCloser
	switch c {
	case None:
		return records, nil
	case Gzip:
		w = gzip.NewWriter(&out)
	case Snappy:
		return snappy.Encode(nil, records), nil
	case LZ4:
		w = lz4.NewWriter(&out)
	case Zstd:
		z, err := zstd.NewWriter(&out, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true))
		if err != nil {
			return nil, fmt.Errorf("zstd: %w", err)
		}
		w = z
	default:
		return nil, fmt.Errorf("%w: %s", ErrRecords, c)
	}
	if _, err := w.Write(records); err != nil {
		return nil, fmt.Errorf("%s: %w", c, err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("%s: %w", c, err)
	}
	return out.Bytes(), nil
}
