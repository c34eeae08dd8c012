package snapshot

import (
	"encoding/binary"
	"io"
	"maps"
	"math"
	"slices"

	"github.com/rolegate/rolegate/internal/clock"
	"github.com/rolegate/rolegate/internal/index"
)

// This file is how an index is written down, for a [Cache]: docs/cache.md
// describes it. What is read back has been checked to the last byte before any
// of it is believed.

// cacheMagic is what every stored index begins with; the number is the
// version.
const cacheMagic = "rolegate index 2\n"

// Encode writes the generation. key says which list it is, and stamp what is to
// be written for an instant that is not zero.
func (gen *Generation) Encode(w io.Writer, key string, stamp func(clock.Instant) int64) error {
	f := newFrameWriter(w, cacheMagic)
	gen.encodeHead(f, key, stamp, gen.Snapshot.Assigned) // or codes that nobody has any more would outlive every restart
	gen.encodeUsers(f)
	gen.encodeAbove(f)
	gen.Held.encode(f, stamp)
	return f.end()
}

func (gen *Generation) encodeUsers(f *frameWriter) {
	gen.Each(func(_ int64, at index.Place, _ bool) { gen.encodeUser(f, at) })
	f.frame(frameUsers, 1)
}

func (gen *Generation) encodeAbove(f *frameWriter) {
	if len(gen.Above) == 0 {
		return
	}
	for _, id := range slices.Sorted(maps.Keys(gen.Above)) {
		f.buf = binary.LittleEndian.AppendUint64(f.buf, uint64(id))
		f.buf = binary.LittleEndian.AppendUint64(f.buf, uint64(gen.Above[id]))
	}
	f.frame(frameAbove, 0)
}

// encodeHead writes the head, with the role codes in used.
func (gen *Generation) encodeHead(f *frameWriter, key string, stamp func(clock.Instant) int64, used index.RoleSet) {
	f.buf = appendText(f.buf, key)
	f.buf = append(f.buf, byte(gen.Fields))
	for _, n := range []int64{gen.Cursor, stamp(gen.Contact), stamp(gen.Verified), stamp(gen.Refreshed)} {
		f.buf = binary.LittleEndian.AppendUint64(f.buf, uint64(n))
	}
	f.buf = binary.AppendUvarint(f.buf, uint64(gen.Users))
	codes := gen.Roles.CodesIn(used)
	f.buf = binary.AppendUvarint(f.buf, uint64(len(codes)))
	for _, code := range codes {
		f.buf = appendText(f.buf, code)
	}
	f.frame(frameHead, 0)
}

func (gen *Generation) encodeUser(f *frameWriter, at index.Place) {
	f.buf = gen.AppendUser(f.buf, at)
	f.frame(frameUsers, frameSize)
}

// A Stored is what was read back: whole, but of what list and how old is
// for others to decide.
type Stored struct {
	Key                          string
	Fields                       index.FieldSet
	cursor                       int64
	Contact, Verified, Refreshed int64    // Unix nanoseconds
	codes                        []string // by number; "" is nobody's
	rows                         *index.Builder
	users                        int

	above map[int64]int64 // see Generation.Above
	Held  *StoredHold     // nil if nothing is held
}

// Decode reads an index. Its errors wrap [ErrNotIndex], or are r's.
func Decode(r io.Reader) (*Stored, error) {
	var s *Stored
	err := readFrames(r, cacheMagic, func(kind byte, payload []byte) (err error) {
		switch {
		case kind == frameHead && s == nil:
			s, err = decodeHead(payload)
		case kind == frameUsers && s != nil && s.above == nil && s.Held == nil:
			err = s.takeUsers(payload)
		case kind == frameAbove && s != nil && s.above == nil && s.Held == nil:
			err = s.takeAbove(payload)
		case kind == frameHeld && s != nil && s.Held == nil:
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

func decodeHead(payload []byte) (*Stored, error) {
	c := &reader{b: payload}
	s := &Stored{Key: c.text()}
	if b := c.bytes(1); b != nil {
		s.Fields = index.FieldSet(b[0])
	}
	s.cursor, s.Contact, s.Verified, s.Refreshed = int64(c.uint64()), int64(c.uint64()), int64(c.uint64()), int64(c.uint64())
	users, roles := c.uvarint(), c.uvarint()
	if users > math.MaxInt32 || roles > index.MaxRoles {
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
	if c.short || len(c.b) > 0 || s.Fields>>index.NumFields != 0 || s.cursor < 0 || min(s.Contact, s.Verified, s.Refreshed) <= 0 {
		return nil, damaged("its head is not in order")
	}
	s.rows = index.NewCodedBuilder(s.Fields, s.codes)
	return s, nil
}

func (s *Stored) takeUsers(payload []byte) error {
	if !s.rows.PutUsers(payload) {
		return damaged("a user in it is not in order")
	}
	return nil
}

func (s *Stored) takeAbove(payload []byte) error {
	c := &reader{b: payload}
	s.above = map[int64]int64{}
	for len(c.b) > 0 {
		id, sequence := int64(c.uint64()), int64(c.uint64())
		if _, again := s.above[id]; c.short || id <= 0 || sequence <= 0 || again {
			return damaged("the sequences in it are not in order")
		}
		s.above[id] = sequence
	}
	return nil
}

func (s *Stored) takeHeld(payload []byte) (err error) {
	s.Held, err = decodeHold(payload, s.codes)
	return err
}

// Generation makes the generation that was stored; at makes an instant of a
// time in it. The storedIndex is spent.
func (s *Stored) Generation(roles *index.RoleSpace, aliases index.FieldSet, at func(int64) clock.Instant) (*Generation, error) {
	made, err := s.snapshot(roles, aliases)
	if err != nil {
		return nil, err
	}
	held, err := s.Held.removals(made, roles, at)
	if err != nil {
		return nil, err
	}
	return &Generation{
		Snapshot: made, Cursor: s.cursor,
		Contact: at(s.Contact), Verified: at(s.Verified), Refreshed: at(s.Refreshed),
		Held: held, Above: s.above,
	}, nil
}

// snapshot makes the index that was stored.
func (s *Stored) snapshot(roles *index.RoleSpace, aliases index.FieldSet) (*index.Snapshot, error) {
	if !s.rows.Settle(roles) {
		return nil, errTooManyCodes
	}
	made, err := index.NewSnapshot(s.rows, roles, aliases)
	switch {
	case err != nil:
		return nil, err
	case made.Users != s.users || s.rows.Duplicates > 0:
		return nil, damaged("it has other users than its head says")
	}
	return made, nil
}

var errTooManyCodes = damaged("it has too many role codes")
