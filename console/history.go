package console

import (
	"slices"
	"sync"
	"time"

	"github.com/rolegate/rolegate"
)

// How much is remembered: an hour of looks, and so many refreshes.
const (
	maxSamples = int(time.Hour / lookEvery)
	maxPulls   = 20
)

// A history remembers what was seen of a gate. It is made of Status alone, so
// that the gate need not remember anything for a page that few apps mount: of
// several pulls between two looks, it knows what the last of a kind changed.
type history struct {
	mu      sync.Mutex
	last    rolegate.Status
	seen    bool
	samples []sample // the oldest first
	pulls   []pull   // likewise
}

// A sample is how old a list was at some time.
type sample struct {
	at                time.Time
	contact, verified time.Duration // -1: there was no list
}

// A refresh is one line of the table of refreshes.
type pull struct {
	kind     pullKind
	at       time.Time     // when it began; if it failed, when it did; of a followed list, when it was seen
	took     time.Duration // 0 if it is not known any more
	outcome  rolegate.RefreshOutcome
	failure  rolegate.Failure // "" if it succeeded
	err      string
	unseen   uint64 // pulls of that kind that came before it, unseen
	from, to uint64 // generations of a followed list
}

type pullKind string

const (
	incremental pullKind = "incremental"
	full        pullKind = "full"
	followed    pullKind = "followed" // another replica's list was taken over
)

func newHistory() *history { return &history{} }

// observe takes in how the gate is now.
func (h *history) observe(s rolegate.Status, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	last := h.last
	if h.seen && (s.Incremental.Succeeded < last.Incremental.Succeeded || s.Full.Succeeded < last.Full.Succeeded || s.Generation < last.Generation) {
		return // of two who looked at once, the one that was later
	}
	before := len(h.pulls)
	h.observePulls(incremental, s.Incremental, last.Incremental)
	h.observePulls(full, s.Full, last.Full)
	if len(h.pulls) == before && h.seen && s.Generation > last.Generation && s.Replica.Shared {
		h.pulls = append(h.pulls, pull{kind: followed, at: now, from: last.Generation, to: s.Generation})
	}
	slices.SortStableFunc(h.pulls[before:], func(a, b pull) int { return a.at.Compare(b.at) })
	if more := len(h.pulls) - maxPulls; more > 0 {
		h.pulls = append(h.pulls[:0], h.pulls[more:]...)
	}
	h.last, h.seen = s, true

	if n := len(h.samples); n > 0 && now.Sub(h.samples[n-1].at) < lookEvery*9/10 {
		return
	}
	at := sample{at: now, contact: -1, verified: -1}
	if s.Generation > 0 {
		at.contact, at.verified = s.ContactAge, s.VerifiedAge
	}
	if len(h.samples) == maxSamples {
		h.samples = append(h.samples[:0], h.samples[1:]...)
	}
	h.samples = append(h.samples, at)
}

// observePulls notes what pulls of one kind have ended since the last look.
func (h *history) observePulls(kind pullKind, now, last rolegate.RefreshStatus) {
	unseen := func(now, last uint64) uint64 {
		if !h.seen {
			return 0 // what was before the console is not its concern
		}
		return now - last - 1
	}
	if now.Failed > last.Failed {
		p := pull{kind: kind, at: now.FailedAt, failure: now.Failure, err: now.Error, unseen: unseen(now.Failed, last.Failed)}
		if now.Consecutive > 0 {
			p.took = now.Duration
		}
		h.pulls = append(h.pulls, p)
	}
	if now.Succeeded > last.Succeeded {
		p := pull{kind: kind, at: now.Last, outcome: now.Outcome, unseen: unseen(now.Succeeded, last.Succeeded)}
		if now.Consecutive == 0 {
			p.took = now.Duration
		}
		h.pulls = append(h.pulls, p)
	}
}

// recent returns the refreshes, the newest first, and the samples.
func (h *history) recent() (pulls []pull, samples []sample) {
	h.mu.Lock()
	defer h.mu.Unlock()
	pulls = make([]pull, 0, len(h.pulls))
	for i := range h.pulls {
		pulls = append(pulls, h.pulls[len(h.pulls)-1-i])
	}
	return pulls, append([]sample(nil), h.samples...)
}
