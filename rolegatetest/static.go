package rolegatetest

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/rolegate/rolegate"
)

// A Static is a [rolegate.Source] that lists what it was told to. All methods
// may be used at once from any goroutines. The zero value is an empty list,
// ready for use.
//
// Records are yielded in the order of their sequences. A pull answers with the
// list as it was when the pull began, however long [Static.SetDelay] and
// [Static.Block] hold it up; whether it fails is decided at its end.
type Static struct {
	mu         sync.Mutex
	records    []rolegate.Record // in order, replaced whole and never changed
	sequence   int64             // the highest so far, whether still on the list or not
	delay      time.Duration
	err        error
	errAfter   int
	blocked    chan struct{} // closed on release, nil if not blocked
	fulls      int
	increments int
}

var _ rolegate.Source = (*Static)(nil)

// NewStatic returns a source that lists records: see [Static.Set].
func NewStatic(records ...rolegate.Record) *Static {
	s := new(Static)
	s.Set(records...)
	return s
}

// CacheKey says which list this is to a rolegate.Cache: every Static is the
// same.
func (s *Static) CacheKey() string { return "rolegatetest.Static" }

// Set replaces the list. Records are kept as they are, bad ones and several of
// one user included, and copied, grants too. A Sequence of 0 is replaced by one
// above the highest so far, be it on the old list or among the records before.
func (s *Static) Set(records ...rolegate.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.replace(nil, records)
}

// Put adds records to the list; each replaces what was on it of the same user,
// but not what is put along with it. Records without a user (UserID not above 0)
// only add. Sequences are as for [Static.Set]. Each call copies the list: put
// many records at once.
func (s *Static) Put(records ...rolegate.Record) {
	users := make([]int64, 0, len(records))
	for _, r := range records {
		if r.UserID > 0 {
			users = append(users, r.UserID)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.replace(without(s.records, users), records)
}

// Remove takes users off the list. Incremental refreshes see nothing of it. Unknown
// users are passed over.
func (s *Static) Remove(userIDs ...int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.replace(without(s.records, userIDs), nil)
}

// without returns those of records that are of none of the users.
func without(records []rolegate.Record, users []int64) []rolegate.Record {
	gone := make(map[int64]bool, len(users))
	for _, id := range users {
		gone[id] = true
	}
	kept := make([]rolegate.Record, 0, len(records)+len(users))
	for _, r := range records {
		if !gone[r.UserID] {
			kept = append(kept, r)
		}
	}
	return kept
}

// replace makes the list of kept, which is the Static's own, and added, which
// is the caller's.
func (s *Static) replace(kept, added []rolegate.Record) {
	total := 0
	for i := range added {
		total += len(added[i].Grants)
	}
	grants := make([]rolegate.Grant, 0, total) // one piece of memory for all of them
	for _, r := range added {
		if len(r.Grants) > 0 {
			from := len(grants)
			grants = append(grants, r.Grants...)
			r.Grants = grants[from:len(grants):len(grants)]
		}
		if r.Sequence == 0 {
			r.Sequence = s.sequence + 1
		}
		s.sequence = max(s.sequence, r.Sequence)
		kept = append(kept, r)
	}
	slices.SortStableFunc(kept, func(a, b rolegate.Record) int {
		return cmp.Compare(a.Sequence, b.Sequence)
	})
	s.records = kept
}

// Pull implements [rolegate.Source].
func (s *Static) Pull(ctx context.Context, after int64, yield func(rolegate.Record)) error {
	s.mu.Lock()
	records, delay, blocked := s.records, s.delay, s.blocked
	if after == 0 {
		s.fulls++
	} else {
		s.increments++
		records = records[firstAbove(records, after):]
	}
	s.mu.Unlock()

	if err := wait(ctx, delay); err != nil {
		return err
	}
	if blocked != nil {
		select {
		case <-blocked:
		case <-ctx.Done():
			return ctx.Err()
		}
	}

	s.mu.Lock()
	fault, yields := s.err, s.errAfter
	s.mu.Unlock()
	if fault != nil {
		records = records[:min(yields, len(records))]
	}
	for i := range records {
		if i%1024 == 1023 && ctx.Err() != nil {
			return ctx.Err()
		}
		yield(records[i])
	}
	return fault
}

func firstAbove(records []rolegate.Record, after int64) int {
	i, _ := slices.BinarySearchFunc(records, after, func(r rolegate.Record, after int64) int {
		if r.Sequence > after {
			return 1
		}
		return -1
	})
	return i
}

// Fail lets every pull return err and yield nothing, those under way included,
// until [Static.Recover]. A nil err is Recover.
func (s *Static) Fail(err error) { s.FailAfter(0, err) }

// FailAfter is [Static.Fail] for pulls that yield up to n records first, which
// their caller then has to discard.
func (s *Static) FailAfter(n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err, s.errAfter = err, max(n, 0)
}

// Recover lets pulls succeed again.
func (s *Static) Recover() { s.Fail(nil) }

// SetDelay lets every pull that begins from now on take so long, or until its
// ctx ends. 0 or less: no delay.
func (s *Static) SetDelay(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.delay = d
}

// Block holds up every pull that begins from now on, until release is called or
// the pull's ctx ends. Pulls that began before are not held. release may be
// called more than once, and ends this Block only: one that came after it has
// taken its place.
func (s *Static) Block() (release func()) {
	blocked := make(chan struct{})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.blocked = blocked
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.blocked == blocked {
			s.blocked = nil
		}
		close(blocked)
	})
}

// FullRefreshes returns how many full refreshes (after 0) were begun.
func (s *Static) FullRefreshes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fulls
}

// IncrementalRefreshes returns how many incremental refreshes (any other after) were begun.
func (s *Static) IncrementalRefreshes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.increments
}
