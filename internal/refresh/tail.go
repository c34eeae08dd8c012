package refresh

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/rolegate/rolegate/internal/clock"
)

// A Tail is what a [Cursor] has to know of the list that a full refresh shows:
// its end. Only one goroutine uses it. Make it with [Cursor.Tail].
type Tail struct {
	from   int64     // from where an incremental refresh would have asked at the beginning
	known  int64     // the highest sequence that was known at the beginning
	last   []userRow // the last rows that came
	next   int       // of last, which is a ring, the one to be replaced
	above  []userRow // all those above from
	unread []int64   // users with a row whose sequence could not be read
	most   int64     // the highest sequence of all

	began clock.Instant
	gap   time.Duration
	gone  map[int64]absence // the cursor's, when the refresh began
	again map[int64]bool    // those of them who are listed again, and whether that is believed

	latest latest          // the cursor's, when the refresh began
	lower  map[int64]int64 // of them, the highest sequence below that, of those who are listed with one
	same   map[int64]bool  // those who are listed with that or a higher one

	doubt  Doubt           // see [Tail.Doubt]
	shown  int64           // the highest sequence that it shows, if that is behind
	beyond map[int64]int64 // if nobody else is in doubt, who had a higher sequence than it shows
}

// A Doubt is why a list that is not older may lack users who are listed. Where the
// pages of one come from several servers, of which one lags behind, a user who was
// changed meanwhile is on none of them: gone already from where the one server had
// them, and not yet where the other has them now.
type Doubt uint8

const (
	Whole Doubt = iota // it is not known that it may lack anybody

	// Mixed is that some of its pages are of a server that lags behind. Who is missing
	// from a second list, that began later, is gone.
	Mixed

	// Behind is that it does not show the highest sequence known, and lacks whoever had
	// it: they are gone, or it ends with a page of a server that lags behind. One server
	// shows the same when the user who was changed last is taken off. Who is
	// missing is gone if that is confirmed as an older list is, or is missing from a
	// list that shows what is known.
	Behind
)

// Doubt returns whether the list may lack users who are listed, once [Cursor.Older] has
// taken it in.
func (t *Tail) Doubt() Doubt { return t.doubt }

// Behind returns the highest sequence that it shows if that is behind what is known, and
// 0 if it is not.
func (t *Tail) Behind() int64 { return t.shown }

// Doubts reports whether it may lack that user: as long as no server was seen to lag
// behind, only who had a higher sequence than it shows.
func (t *Tail) Doubts(id int64) bool {
	_, is := t.beyond[id]
	return t.doubt != Whole && (is || t.beyond == nil)
}

type userRow struct{ id, sequence int64 }

// tailRows is how many of the last rows a tail remembers.
const tailRows = 1024

// Tail returns the tail of a full refresh that begins now.
func (c *Cursor) Tail(now clock.Instant) *Tail {
	from, known := c.From(), c.Highest()
	if c.fresh() {
		from = math.MaxInt64 // nobody has asked for anything yet
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return &Tail{
		from: from, known: known, began: now, gap: c.gap, gone: maps.Clone(c.gone), again: map[int64]bool{},
		latest: c.latest.without(c.outliers), lower: map[int64]int64{}, same: map[int64]bool{},
	}
}

// Unread says that the sequence of a user's row could not be read: it may be the
// highest.
func (t *Tail) Unread(id int64) { t.unread = append(t.unread, id) }

// Knew says that a refresh which had asked before this one began has shown that
// sequence meanwhile.
func (t *Tail) Knew(sequence int64) { t.known = max(t.known, sequence) }

// settled reports whether the highest sequence that was known at the beginning had been
// known for as long as refreshes look back.
func (t *Tail) settled() bool { return t.from >= t.known }

// Add takes in the next row. It reports whether the row counts: see [absence].
func (t *Tail) Add(id, sequence int64) (counts bool) {
	counts = true
	if a, ok := t.gone[id]; ok && sequence <= a.known {
		counts = a.again != (clock.Instant{}) && a.again.Age(t.began) >= t.gap
		t.again[id] = counts
	}
	if last, ok := t.latest[id]; ok && sequence < last {
		t.lower[id] = max(t.lower[id], sequence)
	} else if ok {
		t.same[id] = true
	}
	t.most = max(t.most, sequence)
	if sequence > t.from {
		t.above = append(t.above, userRow{id, sequence})
	}
	t.remember(userRow{id, sequence})
	return counts
}

// Shown takes in the sequence of a row that does not say whose it is.
func (t *Tail) Shown(sequence int64) {
	t.most = max(t.most, sequence)
	t.remember(userRow{sequence: sequence})
}

func (t *Tail) remember(row userRow) {
	if len(t.last) < tailRows {
		t.last = append(t.last, row)
		return
	}
	t.last[t.next] = row
	t.next = (t.next + 1) % tailRows
}

// mixed reports whether the list shows a user both as they were before their last
// change and after it: some of its pages are of a server that lags behind another.
func (t *Tail) mixed() bool {
	for id := range t.lower {
		if t.same[id] {
			return true
		}
	}
	return false
}

// regressed reports whether the list shows a user only as they were before their
// last change.
func (t *Tail) regressed() bool {
	for id := range t.lower {
		if !t.same[id] {
			return true
		}
	}
	return false
}

// believes reports whether somebody counts as listed again who was removed.
func (t *Tail) believes() bool {
	for _, believed := range t.again {
		if believed {
			return true
		}
	}
	return false
}

// Above returns the highest sequence that was shown of each user above that from
// which an incremental refresh would have asked at the beginning.
func (t *Tail) Above() map[int64]int64 {
	above := make(map[int64]int64, len(t.above))
	for _, row := range t.above {
		above[row.id] = max(above[row.id], row.sequence)
	}
	return above
}

// highest returns the highest sequence that moves a cursor, and those above it:
// the ones that did not move it before, and the ones that are absurd.
func (t *Tail) highest(outliers map[int64]struct{}) (int64, map[int64]struct{}) {
	distinct := map[int64]struct{}{}
	for _, row := range t.last {
		distinct[row.sequence] = struct{}{}
	}
	down := slices.SortedFunc(maps.Keys(distinct), func(a, b int64) int { return cmp.Compare(b, a) })
	if len(down) == 0 || down[0] < t.most { // the list is in no order
		return t.most, nil
	}
	moves := -1 // the highest in down that moves the cursor
	for i, sequence := range down[:min(len(down), maxOutliers+1)] {
		if _, out := outliers[sequence]; out {
			continue
		}
		if moves < 0 || Absurd(down[moves], sequence) {
			moves = i
		}
	}
	if moves < 0 {
		return t.most, nil
	}
	var out map[int64]struct{}
	for _, sequence := range down[:moves] {
		if out == nil {
			out = map[int64]struct{}{}
		}
		out[sequence] = struct{}{}
	}
	return down[moves], out
}
