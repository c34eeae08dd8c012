package rolegate_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"sort"
	"time"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/marketplace"
	"github.com/rolegate/rolegate/rolegatetest"
)

// This file is what goes wrong in the world of the simulation, and by when a
// gate must know in spite of it.

// A simFault is a way for pulls to fail.
type simFault int

const (
	simWell simFault = iota
	simUnavailable
	simResting
	simHanging
	simTruncated
	simCached
	simUpset
	simFaults
)

// simPageTimeout is how long the client waits for a page.
const simPageTimeout = 15 * time.Second

var simFaultErrors = [simFaults]*rolegate.PullError{
	simUnavailable: {Failure: rolegate.FailureHTTPStatus, Err: errors.New("503")},
	simResting:     {Failure: rolegate.FailureHTTPStatus, RetryAfter: 30 * time.Second, Err: errors.New("503")},
	simHanging:     {Failure: rolegate.FailureTimeout, Err: context.DeadlineExceeded},
	simTruncated:   {Failure: marketplace.FailureMalformed, Err: errors.New("the reply breaks off")},
	simCached:      {Failure: marketplace.FailureCachedReply, Err: errors.New("the reply has an Age")},
	simUpset:       {Failure: marketplace.FailureUpstream, Err: errors.New("code 500")},
}

var simWireFaults = [simFaults]rolegatetest.Fault{
	simUnavailable: rolegatetest.HTTPStatus(http.StatusServiceUnavailable),
	simResting:     rolegatetest.HTTPStatus(http.StatusServiceUnavailable, "Retry-After", "30"),
	simHanging:     rolegatetest.Hang(),
	simTruncated:   rolegatetest.Truncated(),
	simCached:      rolegatetest.CachedReply(90 * time.Second),
	simUpset:       rolegatetest.ErrorEnvelope(500, "no"),
}

// ail makes every refresh fail.
func (w *simWorld) ail(f simFault) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fault, w.faultAt = f, -1
	if w.mirror != nil {
		w.mirror.Fail(simWireFaults[f])
	}
}

// ailFulls makes full refreshes fail at one of their pages, and increments work.
func (w *simWorld) ailFulls(f simFault, page int) {
	rows := w.withoutGaps()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fault, w.faultAt = f, page
	if w.mirror == nil {
		return
	}
	if page == 0 {
		w.mirror.FailWhen(rolegatetest.Request.BeginsFullRefresh, simWireFaults[f])
		return
	}
	middle := rows[len(rows)/2].sequence
	w.mirror.FailWhen(func(r rolegatetest.Request) bool { return r.After > 0 && r.After < middle }, simWireFaults[f])
}

// A simSource reads the list out of memory, by pages that take as long as over
// a wire: JSON for 10,000 users a thousand times over would take minutes.
type simSource struct{ w *simWorld }

const (
	simPage    = 1000
	simLatency = 50 * time.Millisecond
)

func (s simSource) Pull(ctx context.Context, after int64, yield func(rolegate.Record)) error {
	isFull, begun := after == 0, s.w.now()
	lags := s.w.lags()
	var buf []rolegate.Record
	if isFull {
		buf = make([]rolegate.Record, simPage)
	}
	for page := 0; ; page++ {
		wait(ctx, simLatency)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		records, fault := s.w.page(buf, after, isFull, page, begun, lags)
		if fault == simHanging {
			wait(ctx, simPageTimeout)
		} else {
			for _, r := range records {
				yield(r)
				after = r.Sequence
			}
		}
		if fault != simWell {
			return simFaultErrors[fault]
		}
		if len(records) < simPage {
			return nil
		}
	}
}

// page returns what comes after a sequence, or half of it and what went wrong.
func (w *simWorld) page(buf []rolegate.Record, after int64, isFull bool, number int, begun moment, lags bool) (records []rolegate.Record, fault simFault) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.faultAt < 0 || isFull && number == w.faultAt {
		fault = w.fault
	}
	limit := simPage
	if fault == simTruncated {
		limit /= 2
	}
	people, rows := w.people, w.rows
	if lags {
		people, rows = w.lagging.people, w.lagging.rows
	}
	records = buf[:0]
	first := sort.Search(len(rows), func(i int) bool { return rows[i].sequence > after })
	for _, at := range rows[first:] {
		if len(records) == limit || at.sequence > w.cut && begun >= w.cutSince {
			break
		}
		p := &people[at.n]
		if !p.listed || p.sequence != at.sequence {
			continue
		}
		r := rolegate.Record{UserID: simID(at.n), Sequence: at.sequence, Grants: simGrants[at.n%simOrgs][p.roles]}
		if w.cleared {
			r.Grants = nil
		}
		switch p.spelling {
		case simGarbled:
			r.Bad, r.Grants = errSimBad, nil
		case simUnreadable:
			r.UserID, r.Bad, r.Grants = 0, errSimBad, nil
		}
		records = append(records, r)
	}
	return records, fault
}

var errSimBad = errors.New("roleList: expected an array")

// A simTrouble is a time in which the marketplace was not well, or something
// happened that a gate may take longer to follow.
type simTrouble struct {
	kind     simTroubleKind
	from, to moment
	planned  time.Duration
}

type simTroubleKind int

const (
	simBlip      simTroubleKind = iota // every refresh fails, for seconds
	simOutage                          // for minutes or hours
	simFullsFail                       // full refreshes fail, increments work
	simHalf                            // the list lacks more than a third of its end, and nothing says so
	simSyncHalf                        // it lacks some of its end, and Config.UpstreamSync says why
	simSyncLong                        // a sync runs for longer than SyncHold; the list is right
	simShrunk                          // a third of the users or more are really revoked
	simRestored                        // the list is that of an earlier hour
	simLags                            // one server of three has what the list was when this began
	simCleared                         // the list shows nobody's roles
	simTroubles
)

func (k simTroubleKind) String() string {
	return [simTroubles]string{
		"blips", "outages", "failing full refreshes", "half-finished lists", "syncs with half-finished lists", "long syncs", "shrinks", "restored backups",
		"servers that lag", "lists without roles",
	}[k]
}

// What is promised, with what one refresh and one full refresh take here, and a second for
// the clock of the simulation.
const (
	simPull       = time.Second
	simFull       = 2 * time.Second
	simBoundShown = 66*time.Second + simPull + time.Second
	simBoundQuiet = 11*time.Minute + 2*simFull + simConfirm + time.Second // the second opinion if the list looks older
	simBoundAtAll = time.Hour + simFull
	simConfirm    = 63*time.Second + 2*simFull // the second opinion of an older list
	simLook       = 5 * time.Minute * 9 / 8 * 11 / 10
	simGuard      = 15*time.Minute*11/10 + 2*simFull // the shrink guard, and the look that ends it
	simSyncHold   = 30 * time.Minute
	simSyncPoll   = 15 * time.Second
)

// due is by when a gate must know of what happened at that moment: within what
// is promised, unless the marketplace was not well meanwhile. byFull is whether
// only a full refresh shows it.
func (w *simWorld) due(happened moment, within time.Duration, byFull bool) moment {
	d := happened + within
	// None before has a say: there are three minutes between two of them.
	first := sort.Search(len(w.troubles), func(i int) bool { return w.troubles[i].to > happened-20*time.Minute })
	for _, tr := range w.troubles[first:] {
		if tr.from >= d {
			break
		}
		if tr.settled() > happened {
			d = max(d, tr.delay(d, byFull))
		}
	}
	return d
}

// settled is when a trouble that is over has no effect any more.
func (tr simTrouble) settled() moment {
	switch tr.kind {
	case simShrunk, simRestored:
		return tr.from + simBoundQuiet + simGuard
	case simHalf:
		return tr.to + simLook + simFull
	case simLags, simCleared:
		return tr.to + simBoundQuiet
	default:
		return tr.to + tr.backOff() + simConfirm
	}
}

// backOff is how much later than an outage's end the next refresh may be: what
// has failed for so long backs off for no longer than half as long again, nor
// for more than a minute and a fifth. The last that fails may have waited for
// its page.
func (tr simTrouble) backOff() time.Duration {
	return simPageTimeout + max(30*time.Second, min(72*time.Second, tr.planned*3/2+2*time.Second))
}

// delay is by when a gate must know what it would otherwise know at d.
func (tr simTrouble) delay(d moment, byFull bool) moment {
	switch tr.kind {
	case simBlip, simOutage:
		return tr.to + tr.backOff() + simFull
	case simFullsFail:
		if byFull {
			return tr.to + tr.backOff() + simFull
		}
	case simHalf:
		if byFull {
			return tr.to + simLook + simFull
		}
		return tr.to + simBoundShown
	case simCleared:
		if byFull {
			return tr.to + simLook + simFull
		}
		return tr.to + simBoundQuiet // for a gate that was opened meanwhile, or whose increments showed it
	case simLags:
		if byFull {
			return tr.to + simBoundQuiet
		}
		return tr.to + simBoundShown
	case simSyncHalf, simSyncLong:
		if byFull {
			// The first full refresh that sees it begins to hold it.
			return min(tr.to, d+simSyncHold) + simSyncPoll + 2*simFull
		}
		if tr.kind == simSyncHalf {
			return tr.to + simBoundShown
		}
	case simShrunk:
		if byFull {
			return d + simGuard
		}
	case simRestored:
		if byFull {
			return d + simConfirm
		}
		return tr.from + simBoundQuiet + simFull // increments go on from where the old list was
	}
	return d
}

// begin begins a trouble of a random kind. It returns what ends it.
func (w *simWorld) begin() (tr simTrouble, end func()) {
	minutes := func(from, to int) time.Duration { return time.Duration(from+w.rng.IntN(to-from)) * time.Minute }
	fault := simUnavailable + simFault(w.rng.IntN(int(simFaults-simUnavailable)))
	cure := w.recover
	switch dice := w.rng.IntN(100); {
	case dice < 28:
		tr.kind, tr.planned = simBlip, time.Duration(5+w.rng.IntN(40))*time.Second
		w.ail(fault)
	case dice < 40:
		tr.kind, tr.planned = simOutage, time.Duration(2*math.Pow(60, w.rng.Float64())*float64(time.Minute))
		w.ail(fault)
	case dice < 50:
		tr.kind, tr.planned = simFullsFail, minutes(5, 110)
		if fault == simResting {
			fault = simUnavailable // who asks to be left alone is left alone by increments too
		}
		w.ailFulls(fault, w.rng.IntN(10))
	case dice < 72:
		tr.kind, tr.planned = simHalf, time.Duration(15*math.Pow(50, w.rng.Float64())*float64(time.Second))
		w.hide(w.rng.IntN(60))
	case dice < 84:
		tr.kind, tr.planned = simSyncHalf, minutes(3, 28)
		w.sync.set(rolegate.SyncRunning)
		w.hide(w.rng.IntN(95))
		cure = func() { w.recover(); w.sync.set(rolegate.SyncDone) }
	case dice < 88:
		tr.kind, tr.planned = simSyncLong, minutes(32, 50)
		w.sync.set(rolegate.SyncRunning)
		cure = func() { w.sync.set(rolegate.SyncDone) }
	case dice < 92:
		tr.kind, tr.planned = simShrunk, 40*time.Minute
		gone := w.shrink()
		cure = func() { w.regrow(gone) }
	case dice < 95:
		tr.kind, tr.planned = simLags, minutes(2, 20)
		w.lag()
	case dice < 97:
		tr.kind, tr.planned = simCleared, minutes(2, 13)
		w.clear()
	default:
		tr.kind, tr.planned = simRestored, 16*time.Minute
		w.restore()
		cure = func() {}
	}
	w.counts[tr.kind.String()]++
	tr.from, tr.to = w.now(), simForever
	w.troubles = append(w.troubles, tr)
	return tr, func() {
		cure()
		w.troubles[len(w.troubles)-1].to = w.now()
	}
}

func (w *simWorld) lastTrouble() string {
	if last := len(w.troubles) - 1; last >= 0 {
		tr := w.troubles[last]
		return fmt.Sprintf("the last of the %v began at %v, for %v", tr.kind, tr.from, tr.planned)
	}
	return "no trouble yet"
}

// ailing reports whether full refreshes fail.
func (w *simWorld) ailing() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.fault != simWell
}

// What follows are sources that break a rule.
