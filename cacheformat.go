package rolegate

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"
)

// This file is how an index is written down, for a [Cache]: docs/cache.md
// describes it. What is read back has been checked to the last byte before any
// of it is believed.

// cacheMagic is what every stored index begins with; the number is the
// version.
const cacheMagic = "rolegate index 1\n"

// Behind it come frames: a letter, the length of the payload in four bytes, and
// the payload. The last one is the end.
const (
	frameHead  = 'H' // once, first
	frameUsers = 'U'
	frameHeld  = 'R' // removals that are held back
	frameEnd   = 'E' // the SHA-256 of everything before it

	frameSize = 256 << 10 // a frame ends after the user that makes it so long
	maxFrame  = 1 << 30
)

// errNotIndex is the error of everything that is no index, or not whole.
var errNotIndex = errors.New("this is not a stored index, or it is damaged")

func damaged(what string) error { return fmt.Errorf("%w: %s", errNotIndex, what) }

// A frameWriter writes frames. Its first error stays.
type frameWriter struct {
	w    *bufio.Writer
	hash hash.Hash
	buf  []byte // the payload of the frame that is being made
	err  error
}

func newFrameWriter(w io.Writer) *frameWriter {
	f := &frameWriter{w: bufio.NewWriterSize(w, 64<<10), hash: sha256.New()}
	f.write([]byte(cacheMagic))
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
	if len(f.buf) > maxFrame && f.err == nil {
		f.err = errTooLarge
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

// encode writes the generation. key says which list it is.
func (gen *generation) encode(w io.Writer, key string) error {
	f := newFrameWriter(w)
	f.buf = appendText(f.buf, key)
	f.buf = append(f.buf, byte(gen.fields))
	for _, n := range []int64{gen.cursor, gen.contact.wall, gen.verified.wall, gen.walked.wall} {
		f.buf = binary.LittleEndian.AppendUint64(f.buf, uint64(n))
	}
	f.buf = binary.AppendUvarint(f.buf, uint64(gen.users))
	f.buf = binary.AppendUvarint(f.buf, uint64(len(gen.roles.codes)))
	for i, code := range gen.roles.codes {
		if !gen.snapshot.held.has(uint16(i)) {
			code = "" // or codes that nobody has any more would outlive every restart
		}
		f.buf = appendText(f.buf, code)
	}
	f.frame(frameHead, 0)
	gen.each(func(id int64, at place, barred bool) {
		f.buf = appendRecordID(f.buf, id, barred)
		content := gen.content(at)
		f.buf = binary.AppendUvarint(f.buf, uint64(len(content)))
		f.buf = append(f.buf, content...)
		f.frame(frameUsers, frameSize)
	})
	f.frame(frameUsers, 1)
	if gen.hold != nil {
		f.buf = appendText(f.buf, string(gen.hold.cause))
		f.buf = binary.LittleEndian.AppendUint64(f.buf, uint64(gen.hold.forSync.wall))
		for id, seen := range gen.hold.users {
			f.buf = binary.LittleEndian.AppendUint64(f.buf, uint64(id))
			f.buf = binary.LittleEndian.AppendUint64(f.buf, uint64(seen.wall))
		}
		f.frame(frameHeld, 0)
	}
	return f.end()
}

func appendText(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

// A storedIndex is what was read back: whole, but of what list and how old is
// for others to judge.
type storedIndex struct {
	key                       string
	fields                    fieldSet
	cursor                    int64
	contact, verified, walked int64    // Unix nanoseconds
	codes                     []string // by number; "" is nobody's
	rows                      *tableBuilder
	users                     int

	held    map[int64]int64 // user id to when a walk first saw him gone, in Unix nanoseconds
	cause   HoldCause
	forSync int64 // likewise; 0 for none
}

// decodeIndex reads an index. Its errors wrap errNotIndex, or are r's.
func decodeIndex(r io.Reader) (*storedIndex, error) {
	in := bufio.NewReaderSize(r, 64<<10)
	sum := sha256.New()
	magic := make([]byte, len(cacheMagic))
	if err := readFull(in, magic); err != nil {
		return nil, err
	}
	if string(magic) != cacheMagic {
		return nil, damaged("it does not begin as version 1 does")
	}
	sum.Write(magic)
	var s *storedIndex
	var payload bytes.Buffer
	for {
		var head [5]byte
		if err := readFull(in, head[:]); err != nil {
			return nil, err
		}
		size := binary.LittleEndian.Uint32(head[1:])
		if size > maxFrame {
			return nil, damaged("a part of it is too large")
		}
		payload.Reset()
		// Not made at once: the length may be anything.
		if n, err := io.CopyN(&payload, in, int64(size)); err != nil {
			if n < int64(size) && errors.Is(err, io.EOF) {
				err = damaged("it breaks off")
			}
			return nil, err
		}
		if head[0] == frameEnd {
			return s.end(payload.Bytes(), sum.Sum(nil), in)
		}
		sum.Write(head[:])
		sum.Write(payload.Bytes())
		var err error
		switch {
		case head[0] == frameHead && s == nil:
			s, err = decodeHead(payload.Bytes())
		case head[0] == frameUsers && s != nil && s.held == nil:
			err = s.takeUsers(payload.Bytes())
		case head[0] == frameHeld && s != nil && s.held == nil:
			err = s.takeHeld(payload.Bytes())
		default:
			err = damaged("its parts are not in order")
		}
		if err != nil {
			return nil, err
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

// end judges the sum, and that there is nothing behind it.
func (s *storedIndex) end(told, sum []byte, rest *bufio.Reader) (*storedIndex, error) {
	if !bytes.Equal(told, sum) {
		return nil, damaged("its checksum does not match")
	}
	if s == nil {
		return nil, damaged("it has no head")
	}
	if _, err := rest.ReadByte(); !errors.Is(err, io.EOF) {
		if err == nil {
			err = damaged("something follows its end")
		}
		return nil, err
	}
	return s, nil
}

// A cutter takes pieces off the front of a payload. Once there is too little of
// it, it yields zero values and says so.
type cutter struct {
	b     []byte
	short bool
}

func (c *cutter) bytes(n uint64) []byte {
	if n > uint64(len(c.b)) {
		c.b, c.short = nil, true
		return nil
	}
	piece := c.b[:n]
	c.b = c.b[n:]
	return piece
}

func (c *cutter) uint64() uint64 {
	if b := c.bytes(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (c *cutter) uvarint() uint64 {
	n, width := binary.Uvarint(c.b)
	if width <= 0 || width > 1 && c.b[width-1] == 0 { // too long for what it says: not as it was written
		c.b, c.short = nil, true
		return 0
	}
	c.b = c.b[width:]
	return n
}

func (c *cutter) text() string { return string(c.bytes(c.uvarint())) }

func decodeHead(payload []byte) (*storedIndex, error) {
	c := &cutter{b: payload}
	s := &storedIndex{key: c.text()}
	if b := c.bytes(1); b != nil {
		s.fields = fieldSet(b[0])
	}
	s.cursor, s.contact, s.verified, s.walked = int64(c.uint64()), int64(c.uint64()), int64(c.uint64()), int64(c.uint64())
	users, roles := c.uvarint(), c.uvarint()
	if users > math.MaxInt32 || roles > maxRoles {
		return nil, damaged("its head says that it has more than an index can have")
	}
	s.users = int(users)
	told := make(map[string]bool)
	for range roles {
		code := c.text()
		if c.short || told[code] {
			return nil, damaged("its role codes are not in order")
		}
		told[code] = code != ""
		s.codes = append(s.codes, code)
	}
	if c.short || len(c.b) > 0 || s.fields>>numFields != 0 || s.cursor < 0 || min(s.contact, s.verified, s.walked) <= 0 {
		return nil, damaged("its head is not in order")
	}
	s.rows = newTableBuilder(s.fields, nil)
	return s, nil
}

func (s *storedIndex) takeUsers(payload []byte) error {
	c := &cutter{b: payload}
	for len(c.b) > 0 {
		bits := c.uint64()
		id, barred := int64(bits&^recordBarred), bits&recordBarred != 0
		content := c.bytes(c.uvarint())
		if c.short || id == 0 || barred && len(content) > 0 || !barred && !s.valid(content) {
			return damaged("a user in it is not in order")
		}
		s.rows.putContent(id, content, barred)
	}
	return nil
}

// valid reports whether a user's content is one that an index can have.
func (s *storedIndex) valid(content []byte) bool {
	grants, text := uint64(len(content)/grantSize), &cutter{b: content}
	if s.fields != 0 {
		grants = text.uvarint()
		if grants > uint64(len(content)) {
			return false
		}
	}
	gs := grantList(text.bytes(grants * grantSize))
	for i := range gs.len() {
		if gs.org(i) <= 0 || int(gs.role(i)) >= len(s.codes) || s.codes[gs.role(i)] == "" {
			return false
		}
		if i > 0 && (gs.org(i-1) > gs.org(i) || gs.org(i-1) == gs.org(i) && gs.role(i-1) >= gs.role(i)) {
			return false
		}
	}
	for f := range numFields {
		if s.fields.has(f) {
			text.bytes(text.uvarint())
		}
	}
	return !text.short && len(text.b) == 0
}

func (s *storedIndex) takeHeld(payload []byte) error {
	c := &cutter{b: payload}
	wrong := damaged("the removals in it are not in order")
	s.cause, s.forSync = HoldCause(c.text()), int64(c.uint64())
	s.held = map[int64]int64{}
	for len(c.b) > 0 {
		id, seen := int64(c.uint64()), int64(c.uint64())
		if _, again := s.held[id]; c.short || id <= 0 || seen <= 0 || again {
			return wrong
		}
		s.held[id] = seen
	}
	switch {
	case c.short || len(s.held) == 0 || s.forSync < 0:
		return wrong
	case s.cause != HeldByBrake && (s.cause != HeldBySync || s.forSync == 0):
		return wrong
	}
	return nil
}

// generation makes the generation that was stored. The storedIndex, whose times
// must be in the past, is spent.
func (s *storedIndex) generation(roles *roleSpace, indexed kindSet, now instant) (*generation, error) {
	made, err := s.snapshot(roles, indexed)
	if err != nil {
		return nil, err
	}
	gen := &generation{
		snapshot: made, cursor: s.cursor,
		contact: now.at(s.contact), verified: now.at(s.verified), walked: now.at(s.walked),
	}
	if s.held != nil {
		users := make(map[int64]instant, len(s.held))
		for id, seen := range s.held {
			users[id] = now.at(min(seen, now.wall))
		}
		var forSync instant
		if s.forSync > 0 {
			forSync = now.at(min(s.forSync, now.wall))
		}
		gen.hold = newHold(users, s.cause, forSync)
	}
	return gen, nil
}

// snapshot makes the index that was stored.
func (s *storedIndex) snapshot(roles *roleSpace, indexed kindSet) (*snapshot, error) {
	if err := s.number(roles); err != nil {
		return nil, err
	}
	made, err := newSnapshot(s.rows, roles, indexed)
	switch {
	case err != nil:
		return nil, err
	case made.users != s.users || s.rows.duplicates > 0:
		return nil, damaged("it has other users than its head says")
	}
	for id := range s.held {
		if _, ok := made.find(id); !ok {
			return nil, damaged("a removal in it is of nobody")
		}
	}
	return made, nil
}

// number has the users' roles numbered as this gate does.
func (s *storedIndex) number(roles *roleSpace) error {
	held := make([]string, 0, len(s.codes))
	for _, code := range s.codes {
		if code != "" {
			held = append(held, code)
		}
	}
	known, ok := roles.internAll(held)
	if !ok {
		return damaged("it has too many role codes")
	}
	ids := make([]uint16, len(s.codes)) // of a code that is nobody's: anything
	for i, code := range s.codes {
		if code != "" {
			ids[i], known = known[0], known[1:]
		}
	}
	s.rows.renumber(0, ids)
	return nil
}
