package rolegate

import (
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/rolegate/rolegate/internal/refresh"
)

// A State says in one word how a gate is.
type State string

// The states of a gate.
const (
	StateStarting State = "starting" // no list yet: everything is denied
	StateReady    State = "ready"    // serving a list that is in step
	StateStale    State = "stale"    // serving, but no refresh has succeeded within StaleAfter
	StateExpired  State = "expired"  // no full refresh has succeeded within ExpireAfter: everything is denied
	StateClosed   State = "closed"   // closed: everything is denied
)

// Serving reports whether a gate in this state lets anybody pass.
func (s State) Serving() bool { return s == StateReady || s == StateStale }

// Status is what a gate says of itself. It is free of secrets and of personal
// data. As JSON, ages and durations are seconds and times are RFC 3339; a time
// that has not come to pass is null.
type Status struct {
	State State `json:"state"`

	Users  int `json:"users"`  // listed users
	Grants int `json:"grants"` // their roles, counted for each organisation
	Roles  int `json:"roles"`  // different role codes that the list has had, and those that checks name

	Generation uint64 `json:"generation"`    // counts the lists that were published, 0 before the first
	Cursor     int64  `json:"cursor,string"` // the sequence that the next incremental refresh goes on from

	// Contact is the start of the last refresh that succeeded, and Verified that
	// of the last full refresh: what was revoked before it is known. The ages go
	// by the clock, monotonic or wall, that says longer.
	Contact     time.Time     `json:"contact"`
	ContactAge  time.Duration `json:"contact_age_seconds"`
	Verified    time.Time     `json:"verified"`
	VerifiedAge time.Duration `json:"verified_age_seconds"`

	// StaleAfter and ExpireAfter are the ages at which the state changes: see
	// Refresh.
	StaleAfter  time.Duration `json:"stale_after_seconds"`
	ExpireAfter time.Duration `json:"expire_after_seconds"`

	Incremental RefreshStatus `json:"incremental"`
	Full        RefreshStatus `json:"full"`

	// TokenRenewals counts the access tokens that were asked for after the first,
	// because one was refused or about to end. Only a marketplace.Client counts them.
	TokenRenewals uint64 `json:"token_renewals"`

	// Failures counts the refreshes that failed, by reason.
	Failures map[Failure]uint64 `json:"failures"`

	// Decisions counts the decisions since Open, by reason. Shadowed ones are
	// counted by the reason for which they would have been refused, and in
	// Shadowed.
	Decisions map[Reason]uint64 `json:"decisions"`
	Shadowed  uint64            `json:"shadowed"`

	// StaleDecisions counts those that were made while the list was stale.
	StaleDecisions uint64 `json:"stale_decisions"`

	// Ambiguous counts, for each kind of identity that is indexed, the aliases
	// that several users share: nobody enters by those.
	Ambiguous map[Kind]int `json:"ambiguous_aliases"`

	// Held tells of users who are gone from the list, but whose removal is held
	// back.
	Held HeldStatus `json:"held"`

	// Sync is what Config.UpstreamSync said last.
	Sync SyncStatus `json:"sync"`

	// Cache tells of Config.Cache.
	Cache CacheStatus `json:"cache"`

	// Replica tells how this replica does if it shares Config.Cache with others.
	Replica ReplicaStatus `json:"replica,omitzero"`

	// UnassignedRoles are role codes that checks name and nobody holds: a typo, or
	// a role that nobody has yet. Empty before the first list.
	UnassignedRoles []UnassignedRole `json:"unassigned_roles"`

	// DroppedChanges and DroppedDecisions count what OnChange and OnDecision
	// were too slow for.
	DroppedChanges   uint64 `json:"dropped_changes"`
	DroppedDecisions uint64 `json:"dropped_decisions"`
}

// HeldStatus tells of removals that are held back. The zero HeldStatus says that
// none are.
type HeldStatus struct {
	Users     int       `json:"users"`      // users who are gone from the list
	LostRoles int       `json:"lost_roles"` // users who are listed and have lost roles
	Since     time.Time `json:"since"`      // start of the refresh that first held them

	// Cause is why: "shrink_guard" for too many at once, which more full refreshes
	// must confirm; "sync" while one is running upstream; and "doubt" if the list may
	// lack users because a server lags behind, which takes about a minute.
	Cause string `json:"cause,omitempty"`

	// Digest names exactly what is held, "" if nothing is: [Gate.AcceptShrink]
	// takes it.
	Digest string `json:"digest,omitempty"`
}

// SyncStatus is what Config.UpstreamSync said.
type SyncStatus struct {
	State   SyncState `json:"state"`
	Text    string    `json:"text,omitempty"` // in the upstream's words
	Checked time.Time `json:"checked"`        // when it was asked last

	// Failed counts the times that it could not tell, and Error is the last.
	Failed uint64 `json:"failed"`
	Error  string `json:"error,omitempty"`
}

// RefreshStatus says how the refreshes of one kind have gone.
type RefreshStatus struct {
	Running bool `json:"running"`

	Started  time.Time     `json:"started"`          // of the last one, be it running, done or failed
	Last     time.Time     `json:"last"`             // start of the last one that succeeded
	Duration time.Duration `json:"duration_seconds"` // of the last one that ended

	Succeeded uint64 `json:"succeeded"`
	Failed    uint64 `json:"failed"`

	// Repeated counts the pages that were asked for again, because the reply was
	// missing, spoilt or a refusal. Only a marketplace.Client counts them.
	Repeated uint64 `json:"repeated_pages"`

	// Consecutive counts the failures since the last success. Failure and
	// Error tell of the last failure, and are kept when a later pull succeeds.
	Consecutive int       `json:"consecutive_failures"`
	Failure     Failure   `json:"failure,omitempty"`
	Error       string    `json:"error,omitempty"`
	FailedAt    time.Time `json:"failed_at"`

	Outcome RefreshOutcome `json:"outcome"` // of the last one that succeeded

	NextIn time.Duration `json:"next_in_seconds"` // until the next one is due
}

// MarshalJSON implements json.Marshaler.
func (s Status) MarshalJSON() ([]byte, error) {
	type plain Status
	return json.Marshal(plain(s), statusJSON)
}

// MarshalJSON implements json.Marshaler.
func (p RefreshStatus) MarshalJSON() ([]byte, error) {
	type plain RefreshStatus
	return json.Marshal(plain(p), statusJSON)
}

// statusJSON writes durations as seconds and times as RFC 3339 in milliseconds,
// null for the zero one.
var statusJSON = json.JoinOptions(json.Deterministic(true), json.FormatNilSliceAsNull(true), json.FormatNilMapAsNull(true),
	json.WithMarshalers(json.JoinMarshalers(
		json.MarshalFunc(func(d time.Duration) ([]byte, error) { return json.Marshal(d.Seconds()) }),
		json.MarshalFunc(func(t time.Time) ([]byte, error) {
			if t.IsZero() {
				return []byte("null"), nil
			}
			return t.UTC().Truncate(time.Millisecond).MarshalJSON()
		}),
		json.MarshalToFunc(func(e *jsontext.Encoder, r ReplicaStatus) error {
			return json.MarshalEncode(e, replicaJSON{r.Connected, r.Since, r.Base, append([]string{}, r.Leases...)})
		}),
	)))

// A replicaJSON is a ReplicaStatus as its JSON has it.
type replicaJSON struct {
	Connected bool      `json:"connected"`
	Since     time.Time `json:"since"`
	Base      time.Time `json:"base"`
	Leases    []string  `json:"leases"`
}

// An Overview is what the list has in it, counted. It is free of personal data.
type Overview struct {
	Generation     uint64 // the list that it is of: see Status.Generation; 0 if there is none yet
	Users          int    // listed users
	WithoutRoles   int    // those of them without any role
	InvalidRecords int    // users who are out because their record could not be understood
	Orgs           int    // organisations in which somebody has a role

	// Roles has the role codes that somebody holds, by how many do, most first.
	Roles []RoleHolders
}

// RoleHolders says how many hold a role: those to which the marketplace has
// granted it, without the hierarchy of Config.Implies.
type RoleHolders struct {
	Code  string
	Users int
	Orgs  int // organisations in which somebody holds it
}

// Overview counts what is in the list. It looks at every user, once for each
// list that differs from the one before: about a third of a second for a million
// users with two roles each. It blocks who asks meanwhile, but no request and no
// pull. The slice is the
// caller's own. Before the first list it is the zero Overview.
func (g *Gate) Overview() Overview {
	if g == nil {
		return Overview{}
	}
	gen := g.now.Load()
	if gen == nil {
		return Overview{}
	}
	c := g.counted.Of(gen.Snapshot)
	o := Overview{Generation: gen.Number, Users: c.Users, WithoutRoles: c.WithoutRoles, InvalidRecords: c.Invalid, Orgs: c.Orgs}
	for _, r := range c.Roles {
		o.Roles = append(o.Roles, RoleHolders{Code: r.Code, Users: r.Users, Orgs: r.Orgs})
	}
	return o
}

// HeldUsers returns the lowest most ids of the users who are gone from the list,
// but whose removal is held back: see Status.Held.
func (g *Gate) HeldUsers(most int) []int64 {
	if g == nil {
		return nil
	}
	gen := g.now.Load()
	if gen == nil || gen.Held == nil {
		return nil
	}
	ids := make([]int64, 0, len(gen.Held.Users))
	for id := range gen.Held.Users {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return slices.Clone(ids[:max(0, min(most, len(ids)))])
}

// Status returns how the gate is. It is cheap, but takes a lock that the
// refreshing takes too: call it for a page or a metric, not for every request.
func (g *Gate) Status() Status {
	if g == nil || g.refresher == nil {
		return Status{State: StateStarting}
	}
	s := Status{
		State:     StateStarting,
		Roles:     g.roles.Publish().Size(),
		Failures:  map[Failure]uint64{},
		Decisions: map[Reason]uint64{},
		Ambiguous: map[Kind]int{},

		StaleAfter: g.cfg.Refresh.StaleAfter, ExpireAfter: g.cfg.Refresh.ExpireAfter,
	}
	gen, now, reason := g.current()
	switch {
	case reason == ReasonGranted && gen.Contact.Age(now) > g.cfg.Refresh.StaleAfter:
		s.State = StateStale
	case reason == ReasonGranted:
		s.State = StateReady
	case reason == ReasonExpired:
		s.State = StateExpired
	case reason == ReasonClosed:
		s.State = StateClosed
	}
	if gen = g.now.Load(); gen != nil {
		now = g.clock()
		for _, role := range g.refresher.unassigned.List(gen.Snapshot) {
			s.UnassignedRoles = append(s.UnassignedRoles, UnassignedRole(role))
		}
		if h := gen.Held; h != nil {
			s.Held = HeldStatus{Users: h.Size(), LostRoles: h.LostRoles(), Cause: h.Cause, Since: h.Since.Time(), Digest: gen.HeldDigest()}
		}
		s.Users, s.Grants = gen.Users, gen.GrantCount
		s.Generation, s.Cursor = gen.Number, gen.Cursor
		s.Contact, s.ContactAge = gen.Contact.Time(), gen.Contact.Age(now)
		s.Verified, s.VerifiedAge = gen.Verified.Time(), gen.Verified.Age(now)
	}
	for k := KindAccount; k < kinds; k++ {
		if g.cfg.indexed.has(k) {
			s.Ambiguous[k] = 0
			if gen != nil {
				s.Ambiguous[k] = gen.Ambiguous(k.field())
			}
		}
	}
	for r := range numReasons {
		if n := g.observer.counters.Sum(int(r)); n > 0 {
			s.Decisions[r] = n
		}
	}
	s.Shadowed = g.observer.counters.Sum(countShadowed)
	s.StaleDecisions = g.observer.counters.Sum(countStale)
	s.DroppedDecisions = g.observer.decisions.Dropped()
	g.refresher.fill(&s)
	return s
}

// fill adds what the refresher knows.
func (f *refresher) fill(s *Status) {
	var outcomes [refresh.Kinds]RefreshOutcome
	s.Failures, outcomes = f.journal.counts()
	s.Incremental = f.pullStatus(refresh.Incremental, outcomes[refresh.Incremental])
	s.Full = f.pullStatus(refresh.Full, outcomes[refresh.Full])
	for k := range f.retries {
		s.TokenRenewals += f.retries[k].Tokens.Load()
	}
	checked := f.sync.Status()
	s.Sync = SyncStatus{State: SyncState(checked.Report.State), Text: checked.Report.Text, Checked: checked.Checked, Failed: checked.Failed, Error: checked.Error}
	s.Replica, s.Cache = f.replica.status()
	if f.persist != nil {
		s.Cache = CacheStatus(f.persist.Status())
	}
	s.DroppedChanges = f.changes.Dropped()
}

func (f *refresher) pullStatus(k refresh.Kind, last RefreshOutcome) RefreshStatus {
	of := f.loop.Stats(k)
	s := RefreshStatus{
		Running: of.Running, Started: of.Started.Time(), Last: of.Last.Time(), Duration: of.Took,
		Succeeded: of.Succeeded, Failed: of.Failed, Consecutive: of.Consecutive, FailedAt: of.FailedAt.Time(),
		Outcome: last, NextIn: f.loop.Until(k), Repeated: f.retries[k].Pages.Load(),
	}
	if of.Err != nil {
		s.Failure, s.Error = failureOf(of.Err), of.Err.Error()
	}
	return s
}

// An UnassignedRole is a role code that a check names and no listed user has, nor
// a role that includes it: mostly a typo.
type UnassignedRole struct {
	Code string `json:"code"`

	// Nearest is the code most like it that somebody has or the platform
	// knows, "" if none is like it.
	Nearest string `json:"nearest,omitempty"`

	// Known says that the platform knows the code (see Config.RoleCodes): then
	// it is no typo, only that nobody has it yet.
	Known bool `json:"known"`
}
