package rolegate

import (
	"cmp"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"github.com/rolegate/rolegate/internal/index"
	"github.com/rolegate/rolegate/internal/refresh"
	"github.com/rolegate/rolegate/internal/snapshot"
	"github.com/rolegate/rolegate/internal/stripe"
)

// A Change is what one refresh changed, for Config.OnChange. The slices are the
// hook's own.
type Change struct {
	Time       time.Time // when it was swapped in
	Full       bool      // a full refresh; else an incremental refresh
	Generation uint64    // see Status.Generation

	Added, Removed, Changed []UserChange // by user id ascending
}

// A UserChange is what a refresh changed for one user: Before is nil for one who
// was added, After for one who was removed. Both are sorted by organisation.
type UserChange struct {
	UserID        int64 `json:",string"` // JavaScript rounds numbers above 2^53
	Before, After []Grant
}

// A DecisionEvent is one decision, for Config.OnDecision. It has no personal
// data but the user's number.
type DecisionEvent struct {
	Time       time.Time
	DecisionID string // the decision id that a refused client was told; "" without a request, and for grants
	Reason     Reason
	Shadowed   bool // let pass by a Shadow in spite of the reason
	Held       bool // the user is let in only because their removal is held

	UserID int64 `json:",string"` // the user, or the unlisted id that was asked about; 0 if unknown
	Org    int64 `json:",string"` // the organisation in which roles were looked for; 0 if none was named

	Method, Route string // of the request, "" without one; a method that is not standard is "other"
	Guard         string // what was asked for: see Policy.String
}

// Allowed reports whether the user was let through.
func (e DecisionEvent) Allowed() bool { return e.Reason == ReasonGranted || e.Shadowed }

// How many events wait for a hook: changes may be large, decisions are not.
const (
	changeQueue   = 64
	decisionQueue = 1024
)

// An observer learns of each decision: it counts them, and hands them to
// OnDecision. A nil one does neither.
type observer struct {
	counters  stripe.Counters
	decisions *refresh.Queue[DecisionEvent] // nil without OnDecision
	sample    float64                       // the part of the grants that OnDecision receives
}

// What is counted of decisions besides their reasons.
const (
	countShadowed = int(numReasons) // let pass by a Shadow
	countStale    = countShadowed + 1
)

// count counts a decision.
func (o *observer) count(d *Decision) {
	if o == nil {
		return
	}
	o.counters.Add(int(d.Reason))
	if d.Shadowed {
		o.counters.Add(countShadowed)
	}
	if d.stale {
		o.counters.Add(countStale)
	}
}

// reports says whether OnDecision is set.
func (o *observer) reports() bool { return o != nil && o.decisions != nil }

// observe hands a decision to OnDecision: denials always, grants sampled.
func (o *observer) observe(p *Policy, d *Decision, r *http.Request, decision string) {
	if !o.reports() {
		return
	}
	if d.Reason == ReasonGranted && (o.sample == 0 || rand.Float64() >= o.sample) {
		return
	}
	e := DecisionEvent{
		Time: time.Now(), DecisionID: decision, Reason: d.Reason, Shadowed: d.Shadowed, Held: d.Held,
		UserID: d.asked, Org: d.Org, Guard: p.String(),
	}
	if d.User.s != nil {
		e.UserID = d.User.ID()
	}
	if r != nil {
		e.Method, e.Route = method(r), route(r)
	}
	o.decisions.Put(e)
}

// A diff is what lies between two snapshots: always the counts, and the users
// themselves if somebody wants to know.
type diff struct {
	index.Comparison
	detailed bool
	change   Change
}

// look compares what the snapshots say of one user.
func (d *diff) look(id int64) {
	switch found := d.Comparison.Look(id); {
	case !d.detailed:
	case found == index.UserChanged:
		d.note(&d.change.Changed, id)
	case found == index.UserAdded:
		d.note(&d.change.Added, id)
	case found == index.UserRemoved:
		d.note(&d.change.Removed, id)
	}
}

func (d *diff) note(to *[]UserChange, id int64) {
	*to = append(*to, UserChange{UserID: id, Before: userIn(d.Before, id).Grants(), After: userIn(d.After, id).Grants()})
}

// compare counts what a swap changed, and hands it to OnChange. ids calls its
// argument for every user who may differ.
func (p *puller) compare(next, before *snapshot.Generation, isWalk bool, ids func(look func(id int64))) RefreshOutcome {
	if before == nil {
		return RefreshOutcome{Added: next.Users}
	}
	d := diff{Comparison: index.Comparison{Before: before.Snapshot, After: next.Snapshot}, detailed: p.changes != nil}
	ids(d.look)
	if d.detailed && d.Added+d.Removed+d.Changed > 0 {
		byID := func(a, b UserChange) int { return cmp.Compare(a.UserID, b.UserID) }
		slices.SortFunc(d.change.Added, byID)
		slices.SortFunc(d.change.Removed, byID)
		slices.SortFunc(d.change.Changed, byID)
		d.change.Time, d.change.Full, d.change.Generation = p.clock().Time(), isWalk, next.Number
		p.changes.Put(d.change)
	}
	return RefreshOutcome{Added: d.Added, Removed: d.Removed, Changed: d.Changed, LostAllRoles: d.LostAllRoles}
}

// compareAll compares all users of both: what a full refresh needs.
func (p *puller) compareAll(next, before *snapshot.Generation) RefreshOutcome {
	return p.compare(next, before, true, func(look func(int64)) {
		next.Differing(&before.Table, look)
	})
}

// compareSome compares by the users that an incremental refresh has read.
func (p *puller) compareSome(next, before *snapshot.Generation, changes *index.Table) RefreshOutcome {
	return p.compare(next, before, false, func(look func(int64)) {
		changes.Each(func(id int64, _ index.Place, _ bool) { look(id) })
	})
}
