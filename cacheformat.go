package rolegate

import (
	"encoding/binary"
	"io"
	"math"

	"github.com/rolegate/rolegate/internal/clock"
)

// This file is how an index is written down, for a [Cache]: docs/cache.md
// describes it. What is read back has been checked to the last byte before any
// of it is believed.

// cacheMagic is what every stored index begins with; the number is the
// version.
const cacheMagic = "rolegate index 1\n"

// encode writes the generation. key says which list it is, and stamp what is to
// be written for an instant that is not zero.
func (gen *generation) encode(w io.Writer, key string, stamp func(clock.Instant) int64) error {
	f := newFrameWriter(w, cacheMagic)
	gen.encodeHead(f, key, stamp, gen.snapshot.held) // or codes that nobody has any more would outlive every restart
	gen.encodeUsers(f)
	gen.hold.encode(f, stamp)
	return f.end()
}

func (gen *generation) encodeUsers(f *frameWriter) {
	gen.each(func(id int64, at place, barred bool) { gen.encodeUser(f, id, at, barred) })
	f.frame(frameUsers, 1)
}

// encodeHead writes the head, with the role codes in used.
func (gen *generation) encodeHead(f *frameWriter, key string, stamp func(clock.Instant) int64, used roleSet) {
	f.buf = appendText(f.buf, key)
	f.buf = append(f.buf, byte(gen.fields))
	for _, n := range []int64{gen.cursor, stamp(gen.contact), stamp(gen.verified), stamp(gen.walked)} {
		f.buf = binary.LittleEndian.AppendUint64(f.buf, uint64(n))
	}
	f.buf = binary.AppendUvarint(f.buf, uint64(gen.users))
	codes := gen.roles.codes
	for len(codes) > 0 && !used.has(uint16(len(codes)-1)) {
		codes = codes[:len(codes)-1]
	}
	f.buf = binary.AppendUvarint(f.buf, uint64(len(codes)))
	for i, code := range codes {
		if !used.has(uint16(i)) {
			code = ""
		}
		f.buf = appendText(f.buf, code)
	}
	f.frame(frameHead, 0)
}

func (gen *generation) encodeUser(f *frameWriter, id int64, at place, barred bool) {
	f.buf = appendRecordID(f.buf, id, barred)
	content := gen.content(at)
	f.buf = binary.AppendUvarint(f.buf, uint64(len(content)))
	f.buf = append(f.buf, content...)
	f.frame(frameUsers, frameSize)
}

func (h *hold) encode(f *frameWriter, stamp func(clock.Instant) int64) {
	if h == nil {
		return
	}
	f.buf = appendText(f.buf, string(h.cause))
	var forSync int64
	if h.forSync != (clock.Instant{}) {
		forSync = stamp(h.forSync)
	}
	f.buf = binary.LittleEndian.AppendUint64(f.buf, uint64(forSync))
	for id, seen := range h.users {
		f.buf = binary.LittleEndian.AppendUint64(f.buf, uint64(id))
		f.buf = binary.LittleEndian.AppendUint64(f.buf, uint64(stamp(seen)))
	}
	f.frame(frameHeld, 0)
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

	published int64 // likewise; 0 for one that was not
}

// decodeIndex reads an index. Its errors wrap errNotIndex, or are r's.
func decodeIndex(r io.Reader) (*storedIndex, error) { return decodeFrames(r, false) }

func decodeFrames(r io.Reader, published bool) (*storedIndex, error) {
	var s *storedIndex
	err := readFrames(r, cacheMagic, func(kind byte, payload []byte) (err error) {
		switch {
		case kind == frameHead && s == nil:
			s, err = decodeHead(payload)
		case s != nil && published && (s.published != 0) == (kind == frameTold):
			err = damaged("it does not say once, and first, when it was published")
		case kind == frameTold && published && s != nil:
			err = s.takeTold(&cutter{b: payload})
		case kind == frameUsers && s != nil && s.held == nil:
			err = s.takeUsers(payload)
		case kind == frameHeld && s != nil && s.held == nil:
			err = s.takeHeld(payload)
		default:
			err = damaged("its parts are not in order")
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if s == nil {
		return nil, damaged("it has no head")
	}
	return s, nil
}

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

// generation makes the generation that was stored; at makes an instant of a
// time in it. The storedIndex is spent.
func (s *storedIndex) generation(roles *roleSpace, indexed kindSet, at func(int64) clock.Instant) (*generation, error) {
	made, err := s.snapshot(roles, indexed)
	if err != nil {
		return nil, err
	}
	return &generation{
		snapshot: made, cursor: s.cursor,
		contact: at(s.contact), verified: at(s.verified), walked: at(s.walked),
		hold: s.hold(at),
	}, nil
}

func (s *storedIndex) hold(at func(int64) clock.Instant) *hold {
	if s.held == nil {
		return nil
	}
	users := make(map[int64]clock.Instant, len(s.held))
	for id, seen := range s.held {
		users[id] = at(seen)
	}
	var forSync clock.Instant
	if s.forSync > 0 {
		forSync = at(s.forSync)
	}
	return newHold(users, s.cause, forSync)
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
