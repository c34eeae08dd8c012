package rolegate

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/rolegate/rolegate/internal/digest"
	"github.com/rolegate/rolegate/internal/refresh"
	"github.com/rolegate/rolegate/internal/request"
	"github.com/rolegate/rolegate/internal/stripe"
)

// This file is what a decision is, and who learns of it.

// A Decision is the answer to "may this user do that?". The zero Decision
// denies.
type Decision struct {
	// Reason is [ReasonGranted], or why not.
	Reason Reason

	// User is the listed user it is about; the zero User if there is none.
	User User

	// Org is the organisation in which roles were looked for, 0 if none was
	// named.
	Org int64 `json:",string"`

	// Shadowed says that a Shadow let it pass in spite of its Reason.
	Shadowed bool

	// Held says that the marketplace no longer lists the user, but that their
	// removal is held back: see Status.Held.
	Held bool

	stale bool  // the list was older than StaleAfter
	err   error // what went wrong on the way to it, for the log

	conditions uint64 // the Wheres that were run and held
}

// Allowed reports whether the user may pass.
func (d Decision) Allowed() bool { return d.Reason == ReasonGranted || d.Shadowed }

// String is the reason, marked if a Shadow let it pass.
func (d Decision) String() string {
	if d.Shadowed {
		return fmt.Sprintf("%v (shadowed)", d.Reason)
	}
	return d.Reason.String()
}

// mayHaveChanged reports whether a grant that the index does not have yet would
// have made a difference. A shadow makes nobody wait.
func (d *Decision) mayHaveChanged() bool {
	return !d.Shadowed && (d.Reason == ReasonNotAuthorized || d.Reason == ReasonRoleMissing)
}

// A Reason says in a stable word why a decision is what it is. The zero Reason
// is [ReasonNotReady], which denies.
type Reason uint8

// The reasons, with the HTTP status that answers each.
const (
	ReasonNotReady        Reason = iota // 503: there is no list yet
	ReasonGranted                       // the handler runs
	ReasonNoIdentity                    // 401: the app knows nobody
	ReasonIdentifyFailed                // 500: the app's identify func failed or panicked
	ReasonExpired                       // 503: the list is older than ExpireAfter
	ReasonNotAuthorized                 // 403: not on the list
	ReasonRoleMissing                   // 403: on the list, but a role check does not hold
	ReasonConditionFailed               // 403: a Where said no
	ReasonOrgUnreadable                 // 403: the organisation cannot be read from the request
	ReasonTooOld                        // 503: a MaxAge was not reached in time
	ReasonClosed                        // 503: the gate was closed
	ReasonAmbiguous                     // 403: several users share this alias
	ReasonClientGone                    // 499: the client left while the app was asked about the request
	numReasons
)

var reasons = [numReasons]struct {
	name   string
	status int
}{
	ReasonNotReady:        {"not_ready", http.StatusServiceUnavailable},
	ReasonGranted:         {"granted", http.StatusOK},
	ReasonNoIdentity:      {"no_identity", http.StatusUnauthorized},
	ReasonIdentifyFailed:  {"identify_failed", http.StatusInternalServerError},
	ReasonExpired:         {"expired", http.StatusServiceUnavailable},
	ReasonNotAuthorized:   {"not_authorized", http.StatusForbidden},
	ReasonRoleMissing:     {"role_missing", http.StatusForbidden},
	ReasonConditionFailed: {"condition_failed", http.StatusForbidden},
	ReasonOrgUnreadable:   {"org_unreadable", http.StatusForbidden},
	ReasonTooOld:          {"too_old", http.StatusServiceUnavailable},
	ReasonClosed:          {"closed", http.StatusServiceUnavailable},
	ReasonAmbiguous:       {"ambiguous", http.StatusForbidden},
	ReasonClientGone:      {"client_gone", statusClientGone},
}

// statusClientGone is what proxies write into their logs for a client that has
// left before it was answered. It is no status of RFC 9110, and nobody reads it.
const statusClientGone = 499

// String returns the reason as logs, metrics and [Status] write it.
func (r Reason) String() string {
	if r < numReasons {
		return reasons[r].name
	}
	return fmt.Sprintf("Reason(%d)", uint8(r))
}

// Status returns the HTTP status that answers a refusal for this reason, and
// 200 for [ReasonGranted]. An [Identifier] and an [InOrg] may say 503 instead.
func (r Reason) Status() int {
	if r < numReasons {
		return reasons[r].status
	}
	return http.StatusInternalServerError
}

// MarshalText implements encoding.TextMarshaler with what String returns.
func (r Reason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// A Change is what one refresh changed, for Config.OnChange. The slices are the
// hook's own.
type Change struct {
	Time       time.Time // when it was published
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
// data but the user's number and a keyed digest.
type DecisionEvent struct {
	Time       time.Time
	DecisionID string // the decision id that a refused client was told; "" without a request, and for grants
	Reason     Reason
	Shadowed   bool // let pass by a Shadow in spite of the reason
	Held       bool // the user is admitted only because their removal is held

	UserID int64 `json:",string"` // the user, or the unlisted id that was asked about; 0 if unknown

	// Identity is the kind of identity that was asked about, 0 for nobody, and
	// IdentityDigest its digest: see Config.IdentityKey. It is "" for a user id.
	Identity       Kind
	IdentityDigest string

	Org int64 `json:",string"` // the organisation in which roles were looked for; 0 if none was named

	Method, Route string // of the request, "" without one; a method that is not standard is "other"
	Guard         string // what was asked for: see Policy.String
}

// Allowed reports whether the user was admitted.
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
	refusals  refusals
	key       digest.Key // of identities
}

// refusals are the last ones of requests. Nobody who adds one waits for another.
type refusals struct {
	added  atomic.Uint64
	events [1024]atomic.Pointer[DecisionEvent]
}

func (l *refusals) add(e *DecisionEvent) {
	l.events[(l.added.Add(1)-1)%uint64(len(l.events))].Store(e)
}

// last returns at most so many, the newest first.
func (l *refusals) last(most int) (events []DecisionEvent) {
	for i, n := l.added.Load(), 0; i > 0 && n < len(l.events) && len(events) < most; i, n = i-1, n+1 {
		if e := l.events[(i-1)%uint64(len(l.events))].Load(); e != nil { // nil: it is about to be there
			events = append(events, *e)
		}
	}
	return events
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

// observe remembers a decision with an id, which is a refusal, and hands a decision to
// OnDecision: denials always, grants sampled.
func (o *observer) observe(guard string, d *Decision, id Identity, r *http.Request, decision string) {
	if o == nil || decision == "" && !o.reports() {
		return
	}
	if d.Reason == ReasonGranted && (o.sample == 0 || rand.Float64() >= o.sample) {
		return
	}
	e := DecisionEvent{
		Time: time.Now(), DecisionID: decision, Reason: d.Reason, Shadowed: d.Shadowed, Held: d.Held,
		UserID: max(id.id, 0), Identity: id.Kind(), IdentityDigest: id.digest(o.key), Org: d.Org, Guard: guard,
	}
	if d.User.s != nil {
		e.UserID = d.User.ID()
	}
	if r != nil {
		e.Method, e.Route = request.Method(r), request.Route(r)
	}
	if decision != "" {
		o.refusals.add(&e)
	}
	o.decisions.Put(e)
}
