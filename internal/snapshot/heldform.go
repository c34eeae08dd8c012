package snapshot

import (
	"encoding/binary"
	"maps"
	"slices"

	"github.com/rolegate/rolegate/internal/clock"
	"github.com/rolegate/rolegate/internal/index"
)

// This file is how what is held is written down: the cause; since when for a sync; what
// the list shows that is behind; the full refreshes that count as evidence; the users with their two times; the
// two times of the grants, and the users with these grants. docs/cache.md describes
// it.

func (h *HeldRemovals) encode(f *frameWriter, stamp func(clock.Instant) int64) {
	if h == nil {
		return
	}
	put := func(at clock.Instant) {
		var n int64 // 0 for none
		if at != (clock.Instant{}) {
			n = stamp(at)
		}
		f.buf = binary.LittleEndian.AppendUint64(f.buf, uint64(n))
	}
	f.buf = appendText(f.buf, h.Cause)
	put(h.SyncSince)
	f.buf = binary.LittleEndian.AppendUint64(f.buf, uint64(h.Behind))
	f.buf = binary.AppendUvarint(f.buf, uint64(len(h.Looks)))
	for _, at := range h.Looks {
		put(at)
	}
	f.buf = binary.AppendUvarint(f.buf, uint64(len(h.Users)))
	for _, id := range slices.Sorted(maps.Keys(h.Users)) {
		f.buf = binary.LittleEndian.AppendUint64(f.buf, uint64(id))
		put(h.Users[id].Missing)
		put(h.Users[id].Listed)
	}
	put(h.GrantsSince)
	put(h.GrantsKnown)
	if h.Grants != nil {
		h.Grants.Each(func(_ int64, at index.Place, _ bool) { f.buf = h.Grants.AppendUser(f.buf, at) })
	}
	f.frame(frameHeld, 0)
}

// A StoredHold is what was read back of held removals. Times are Unix nanoseconds,
// 0 for none.
type StoredHold struct {
	cause                   string
	syncSince, behind       int64
	looks                   []int64
	users                   map[int64][2]int64 // Missing and Listed
	grantsSince, grantsKnow int64
	grants                  *index.Builder
	hasGrants               bool
}

func decodeHold(payload []byte, codes []string) (*StoredHold, error) {
	r := &reader{b: payload}
	wrong := damaged("the removals in it are not in order")
	h := &StoredHold{cause: r.text(), syncSince: int64(r.uint64()), behind: int64(r.uint64()), users: map[int64][2]int64{}}
	n := r.uvarint()
	if n > agreeing {
		return nil, wrong
	}
	for range n {
		at := int64(r.uint64())
		if at <= 0 {
			return nil, wrong
		}
		h.looks = append(h.looks, at)
	}
	for n = r.uvarint(); n > 0 && !r.short; n-- {
		id, missing, listed := int64(r.uint64()), int64(r.uint64()), int64(r.uint64())
		if _, again := h.users[id]; again || id <= 0 || min(missing, listed) <= 0 {
			return nil, wrong
		}
		h.users[id] = [2]int64{missing, listed}
	}
	h.grantsSince, h.grantsKnow = int64(r.uint64()), int64(r.uint64())
	h.hasGrants = len(r.b) > 0
	h.grants = index.NewCodedBuilder(0, codes)
	switch {
	case r.short || h.syncSince < 0 || len(h.users) == 0 && !h.hasGrants:
		return nil, wrong
	case h.cause != HeldByShrinkGuard && h.cause != HeldByDoubt && (h.cause != HeldBySync || h.syncSince == 0):
		return nil, wrong
	case h.behind < 0 || h.behind > 0 && h.cause != HeldByDoubt:
		return nil, wrong
	case h.hasGrants != (h.grantsSince > 0) || h.hasGrants != (h.grantsKnow > 0):
		return nil, wrong
	case !h.grants.PutUsers(r.b):
		return nil, wrong
	}
	return h, nil
}

// removals makes what is held of the users in an index.
func (h *StoredHold) removals(of *index.Snapshot, roles *index.RoleSpace, at func(int64) clock.Instant) (*HeldRemovals, error) {
	if h == nil {
		return nil, nil
	}
	instant := func(n int64) (i clock.Instant) {
		if n > 0 {
			i = at(n)
		}
		return i
	}
	held := &HeldRemovals{
		name:  &digest{},
		Cause: h.cause, SyncSince: instant(h.syncSince), Behind: h.behind, Users: make(map[int64]HeldUser, len(h.users)),
		GrantsSince: instant(h.grantsSince), GrantsKnown: instant(h.grantsKnow),
	}
	for _, look := range h.looks {
		held.Looks = append(held.Looks, at(look))
	}
	for id, times := range h.users {
		if _, ok := of.Find(id); !ok {
			return nil, damaged("a removal in it is of nobody")
		}
		u := HeldUser{Missing: at(times[0]), Listed: at(times[1])}
		held.Users[id] = u
		held.noteSince(u.Missing)
	}
	if !h.hasGrants {
		return held, nil
	}
	held.noteSince(held.GrantsSince)
	if !h.grants.Settle(roles) {
		return nil, errTooManyCodes
	}
	var err error
	if held.Grants, err = h.grants.Finish(); err != nil {
		return nil, err
	}
	whole := h.grants.Duplicates == 0
	held.Grants.Each(func(id int64, in index.Place, invalid bool) {
		to, ok := of.Find(id)
		gs := held.Grants.Grants(in)
		whole = whole && ok && !invalid && gs.Len() > 0 && len(missing(gs, of.Grants(to))) == 0
	})
	if !whole {
		return nil, damaged("a role that is held in it is of nobody")
	}
	return held, nil
}
