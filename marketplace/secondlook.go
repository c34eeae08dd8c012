package marketplace

import (
	"slices"
	"strings"

	"github.com/rolegate/rolegate"
)

// secondLook reads from a record that element has found bad what is needed to
// bar its user and to move the cursor past it, and returns its length.
//
// It takes every key that could be meant for userId. A record with two ids
// bars both: whichever of them the marketplace meant, it is not let in on the
// strength of an older record. For the sequence, the keys have to agree: one
// that is too high would make the walk leave users out.
func (d *recordDecoder) secondLook(b []byte, bad error) (element, int64) {
	e := element{record: rolegate.Record{Bad: bad}}
	s := d.lenient
	s.Leniently(b)
	if s.PeekKind() != '{' {
		_ = s.SkipValue()
		return e, s.InputOffset()
	}
	_, _ = s.ReadToken()
	var ids []int64
	agree := true
	for s.PeekKind() == '"' {
		name, _ := s.ReadValue()
		key := string(s.Unquote(name))
		isID, isSequence := strings.EqualFold(key, "userId"), strings.EqualFold(key, "lastSequence")
		if !isID && !isSequence {
			_ = s.SkipValue()
			continue
		}
		n, ok, _ := s.ReadInt()
		switch {
		case isID && ok && n > 0:
			ids = append(ids, n)
		case isSequence && ok && n >= 0:
			agree = agree && (!e.sequenced || n == e.record.Sequence)
			e.record.Sequence, e.sequenced = n, true
		}
	}
	_, _ = s.ReadToken()
	if !agree {
		e.record.Sequence, e.sequenced = 0, false
	}
	slices.Sort(ids)
	if ids = slices.Compact(ids); len(ids) > 0 {
		e.record.UserID, e.more = ids[0], ids[1:]
	}
	return e, s.InputOffset()
}
