package snapshot

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"slices"

	"github.com/rolegate/rolegate/internal/clock"
	"github.com/rolegate/rolegate/internal/index"
)

// This file is how what lies between two generations is written down, for a
// [SharedCache]: docs/replicas.md describes it.

// changeMagic is what every change begins with; the number is the version.
const changeMagic = "rolegate change 2\n"

// EncodePublished writes a whole generation as encode does, and when that was.
// A clock that was put back since gives itself away by it.
func (gen *Generation) EncodePublished(w io.Writer, key string, stamp func(clock.Instant) int64, now int64) error {
	f := newFrameWriter(w, cacheMagic)
	gen.encodeHead(f, key, stamp, gen.Snapshot.Assigned)
	f.told(now, Stamps{})
	gen.encodeUsers(f)
	gen.encodeAbove(f)
	gen.Held.encode(f, stamp)
	return f.end()
}

// DecodePublished reads that. Its errors are as decodeIndex's.
func DecodePublished(r io.Reader) (*Stored, error) {
	s, err := decodeFrames(r, true)
	if err == nil && s.Published == 0 {
		return nil, damaged("it does not say when it was published")
	}
	return s, err
}

// told writes when something is published, and of which generation it is a
// change.
func (f *frameWriter) told(now int64, from Stamps) {
	f.buf = binary.LittleEndian.AppendUint64(f.buf, uint64(now))
	if from != (Stamps{}) {
		for _, n := range []int64{from.Contact, from.Verified, from.Refreshed} {
			f.buf = binary.LittleEndian.AppendUint64(f.buf, uint64(n))
		}
	}
	f.frame(framePublished, 0)
}

func (s *Stored) takeTold(c *reader) error {
	s.Published = int64(c.uint64())
	if c.short || len(c.b) > 0 || s.Published <= 0 {
		return damaged("when it was published is not in order")
	}
	return nil
}

// An Answer says what became of an ask. It comes with the change that the pull
// has brought.
type Answer struct {
	ID      uint64
	Failure string // "" for none
	Text    string
}

// EncodeChange writes what leads from one generation to another, and answers.
// was is what the one was told to be of.
func EncodeChange(from, to *Generation, answers []Answer, key string, stamp func(clock.Instant) int64, now int64, was Stamps) ([]byte, error) {
	var out bytes.Buffer
	f := newFrameWriter(&out, changeMagic)
	var changed, gone []int64
	var used index.RoleSet
	if from.Snapshot != to.Snapshot {
		to.Differing(&from.Table, func(id int64) {
			at, ok := to.Place(id)
			if !ok {
				gone = append(gone, id)
				return
			}
			changed = append(changed, id)
			if !to.InvalidAt(at) {
				used = used.WithGrants(to.Grants(at))
			}
		})
	}
	if to.Held.LostRoles() > 0 {
		to.Held.Grants.Each(func(_ int64, at index.Place, _ bool) { used = used.WithGrants(to.Held.Grants.Grants(at)) })
	}
	to.encodeHead(f, key, stamp, used)
	f.told(now, was)
	for _, id := range changed {
		at, _ := to.Place(id)
		to.encodeUser(f, at)
	}
	f.frame(frameUsers, 1)
	for _, id := range gone {
		f.buf = binary.LittleEndian.AppendUint64(f.buf, uint64(id))
		f.frame(frameGone, frameSize)
	}
	f.frame(frameGone, 1)
	if to.Held != nil && to.Held == from.Held {
		f.frame(frameKeep, 0)
	} else {
		to.Held.encode(f, stamp)
	}
	for _, a := range answers {
		f.buf = binary.LittleEndian.AppendUint64(f.buf, a.ID)
		f.buf = appendText(f.buf, a.Failure)
		f.buf = appendText(f.buf, a.Text)
	}
	f.frame(frameAnswers, 1)
	err := f.end()
	return out.Bytes(), err
}

// A StoredChange is what was read back of a change.
type StoredChange struct {
	Stored   // of the users who have changed
	From     Stamps
	gone     []int64
	keepHold bool
	Answers  []Answer
}

// DecodeChange reads a change. Its errors wrap errNotIndex.
func DecodeChange(b []byte) (*StoredChange, error) {
	var c *StoredChange
	var last int // the frame before: they have an order
	err := readFrames(bytes.NewReader(b), changeMagic, func(kind byte, payload []byte) error {
		if kind == frameHead && c == nil {
			head, err := decodeHead(payload)
			if err != nil {
				return err
			}
			c = &StoredChange{Stored: *head}
			return nil
		}
		at := slices.Index(changeOrder, kind)
		if c == nil || at < last || (at == 0) != (c.Published == 0) {
			return damaged("its parts are not in order")
		}
		last = at
		switch kind {
		case framePublished:
			told := &reader{b: payload[max(0, len(payload)-24):]}
			c.From = Stamps{int64(told.uint64()), int64(told.uint64()), int64(told.uint64())}
			if min(c.From.Contact, c.From.Verified, c.From.Refreshed) <= 0 {
				return damaged("what it is a change of is not in order")
			}
			return c.takeTold(&reader{b: payload[:max(0, len(payload)-24)]})
		case frameUsers:
			return c.takeUsers(payload)
		case frameGone:
			return c.takeGone(payload)
		case frameHeld:
			if c.Held == nil {
				return c.takeHeld(payload)
			}
		case frameKeep:
			if c.Held == nil && !c.keepHold && len(payload) == 0 {
				c.keepHold = true
				return nil
			}
		case frameAnswers:
			return c.takeAnswers(payload)
		}
		return damaged("its parts are not in order")
	})
	if err != nil {
		return nil, err
	}
	if c == nil || c.Published == 0 {
		return nil, damaged("it has no head")
	}
	return c, nil
}

// changeOrder is in which order the parts of a change come, behind the head.
var changeOrder = []byte{framePublished, frameUsers, frameGone, frameHeld, frameKeep, frameAnswers}

func (s *StoredChange) takeGone(payload []byte) error {
	c := &reader{b: payload}
	for len(c.b) > 0 {
		id := int64(c.uint64())
		if c.short || id <= 0 {
			return damaged("who is gone in it is not in order")
		}
		s.gone = append(s.gone, id)
	}
	return nil
}

func (s *StoredChange) takeAnswers(payload []byte) error {
	c := &reader{b: payload}
	for len(c.b) > 0 {
		a := Answer{ID: c.uint64(), Failure: c.text(), Text: c.text()}
		if c.short {
			return damaged("its answers are not in order")
		}
		s.Answers = append(s.Answers, a)
	}
	return nil
}

// Applied returns the generation to which the change leads from another, and
// the ids of those of whom it speaks.
func (s *StoredChange) Applied(from *Generation, roles *index.RoleSpace, aliases index.FieldSet, at func(int64) clock.Instant) (*Generation, []int64, error) {
	if !s.rows.Settle(roles) {
		return nil, nil, errTooManyCodes
	}
	changes, err := s.rows.Finish()
	if err != nil {
		return nil, nil, err
	}
	ids := slices.Clone(s.gone)
	both := map[int64]struct{}{}
	for _, id := range s.gone {
		both[id] = struct{}{}
	}
	twice := s.rows.Duplicates > 0 || len(both) < len(s.gone)
	changes.Each(func(id int64, _ index.Place, _ bool) {
		ids = append(ids, id)
		if _, ok := both[id]; ok {
			twice = true
		}
	})
	if twice {
		return nil, nil, damaged("it speaks of a user twice")
	}
	made, err := from.Changed(changes, s.gone, roles, aliases)
	if err != nil {
		return nil, nil, err
	}
	if made.Users != s.users {
		return nil, nil, damaged(fmt.Sprintf("it leads to %d users, and its head says %d", made.Users, s.users))
	}
	held, err := s.Held.removals(made, roles, at)
	if err != nil {
		return nil, nil, err
	}
	next := &Generation{
		Snapshot: made, Cursor: s.cursor,
		Contact: at(s.Contact), Verified: at(s.Verified), Refreshed: at(s.Refreshed),
		Held: held,
	}
	if s.keepHold {
		if from.Held == nil {
			return nil, nil, damaged("it keeps removals that nobody has")
		}
		next.Held = from.Held
	}
	if next.Held != nil {
		for id := range next.Held.Users {
			if _, ok := made.Find(id); !ok {
				return nil, nil, damaged("a removal in it is of nobody")
			}
		}
	}
	if next.Refreshed != from.Refreshed {
		next.Snapshot = made.RecountRoles()
	}
	return next, ids, nil
}
