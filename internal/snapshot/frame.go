package snapshot

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/rolegate/rolegate/internal/index"
)

// This file is how what gates store and publish is parted: a line that says
// what it is and in which version, and then frames: a letter, the length of the
// payload in four bytes, and the payload. The last one is the end.
const (
	frameHead  = 'H' // once, first
	frameUsers = 'U'
	frameAbove = 'S' // sequences: see Generation.Above
	frameHeld  = 'R' // removals that are held back
	frameEnd   = 'E' // the SHA-256 of everything before it

	frameSize = 256 << 10 // a frame ends after the user that makes it so long
	maxFrame  = 1 << 30
)

// ErrNotIndex is the error of everything that is no index, or not whole.
var ErrNotIndex = errors.New("this is not a stored index, or it is damaged")

func damaged(what string) error { return fmt.Errorf("%w: %s", ErrNotIndex, what) }

// A frameWriter writes frames. Its first error stays.
type frameWriter struct {
	w    *bufio.Writer
	hash hash.Hash
	buf  []byte // the payload of the frame that is being made
	err  error
}

func newFrameWriter(w io.Writer, magic string) *frameWriter {
	f := &frameWriter{w: bufio.NewWriterSize(w, 64<<10), hash: sha256.New()}
	f.write([]byte(magic))
	return f
}

func (f *frameWriter) write(b []byte) {
	if f.err == nil {
		f.hash.Write(b)
		_, f.err = f.w.Write(b)
	}
}

// frame writes what is in buf, if it is long enough.
func (f *frameWriter) frame(kind byte, atLeast int) {
	if len(f.buf) < atLeast {
		return
	}
	if len(f.buf) > maxFrame {
		f.err = cmp.Or(f.err, index.ErrTooLarge)
	}
	head := binary.LittleEndian.AppendUint32([]byte{kind}, uint32(len(f.buf)))
	f.write(head)
	f.write(f.buf)
	f.buf = f.buf[:0]
}

func (f *frameWriter) end() error {
	f.buf = f.hash.Sum(f.buf[:0])
	f.frame(frameEnd, 0)
	if f.err == nil {
		f.err = f.w.Flush()
	}
	return f.err
}

// readFrames reads what a frameWriter has written, and calls take for every
// frame but the last. Its errors wrap errNotIndex, or are r's or take's. Only if
// it returns nil was it whole.
func readFrames(r io.Reader, magic string, take func(kind byte, payload []byte) error) error {
	in := bufio.NewReaderSize(r, 64<<10)
	sum := sha256.New()
	begin := make([]byte, len(magic))
	if err := readFull(in, begin); err != nil {
		return err
	}
	if string(begin) != magic {
		return damaged("it does not begin as version 2 does")
	}
	sum.Write(begin)
	var payload bytes.Buffer
	for {
		var head [5]byte
		if err := readFull(in, head[:]); err != nil {
			return err
		}
		size := binary.LittleEndian.Uint32(head[1:])
		if size > maxFrame {
			return damaged("a part of it is too large")
		}
		payload.Reset()
		// Not made at once: the length may be anything.
		if _, err := io.CopyN(&payload, in, int64(size)); err != nil {
			if errors.Is(err, io.EOF) {
				err = damaged("it breaks off")
			}
			return err
		}
		if head[0] == frameEnd {
			return endOfFrames(payload.Bytes(), sum.Sum(nil), in)
		}
		sum.Write(head[:])
		sum.Write(payload.Bytes())
		if err := take(head[0], payload.Bytes()); err != nil {
			return err
		}
	}
}

func readFull(r io.Reader, b []byte) error {
	_, err := io.ReadFull(r, b)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return damaged("it breaks off")
	}
	return err
}

// endOfFrames checks the sum, and that there is nothing behind it.
func endOfFrames(told, sum []byte, rest *bufio.Reader) error {
	if !bytes.Equal(told, sum) {
		return damaged("its checksum does not match")
	}
	_, err := rest.ReadByte()
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case err == nil:
		return damaged("something follows its end")
	}
	return err
}

func appendText(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

// A cutter takes pieces off the front of a payload. Once there is too little of
// it, it yields zero values and says so.
type reader struct {
	b     []byte
	short bool
}

func (c *reader) bytes(n uint64) []byte {
	if n > uint64(len(c.b)) {
		c.b, c.short = nil, true
		return nil
	}
	piece := c.b[:n]
	c.b = c.b[n:]
	return piece
}

func (c *reader) byte() byte {
	if b := c.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (c *reader) uint64() uint64 {
	if b := c.bytes(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (c *reader) uvarint() uint64 {
	n, width := binary.Uvarint(c.b)
	if width <= 0 || width > 1 && c.b[width-1] == 0 { // too long for what it says: not as it was written
		c.b, c.short = nil, true
		return 0
	}
	c.b = c.b[width:]
	return n
}

func (c *reader) text() string { return string(c.bytes(c.uvarint())) }
