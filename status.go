package rolegate

import (
	"encoding/json"
	"time"
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
	State State

	Users  int // listed users
	Grants int // their roles, counted for each organisation
	Roles  int // different role codes that the list has had, and those that checks name

	Generation uint64 // counts the lists that were swapped in, 0 before the first
	Cursor     int64  // the sequence that the next incremental refresh goes on from

	// Contact is the start of the last refresh that succeeded, and Verified that
	// of the last full refresh: what was revoked before it is known. The ages go
	// by the clock, monotonic or wall, that says longer.
	Contact, Verified       time.Time
	ContactAge, VerifiedAge time.Duration

	// StaleAfter and ExpireAfter are the ages at which the state changes: see
	// Refresh.
	StaleAfter, ExpireAfter time.Duration

	Incremental, Full RefreshStatus

	// Failures counts the refreshes that failed, by reason.
	Failures map[Failure]uint64

	// Decisions counts the decisions since Open, by reason. Shadowed ones are
	// counted by the reason for which they would have been refused, and in
	// Shadowed.
	Decisions map[Reason]uint64
	Shadowed  uint64

	// StaleDecisions counts those that were made while the list was stale.
	StaleDecisions uint64

	// Held tells of users who are gone from the list, but whose removal is held
	// back.
	Held HeldStatus

	// Sync is what Config.UpstreamSync said last.
	Sync SyncStatus

	// Cache tells of Config.Cache.
	Cache CacheStatus

	// Replica tells how this replica does if it shares Config.Cache with others.
	Replica ReplicaStatus

	// UnassignedRoles are role codes that checks name and nobody holds: a typo, or
	// a role that nobody has yet. Empty before the first list.
	UnassignedRoles []UnassignedRole

	// DroppedChanges and DroppedDecisions count what OnChange and OnDecision
	// were too slow for.
	DroppedChanges, DroppedDecisions uint64

	// Ambiguous counts, for each kind of identity that is indexed, the aliases
	// that several users share: nobody enters by those.
	Ambiguous map[Kind]int
}

// HeldStatus tells of removals that are held back. The zero HeldStatus says that
// none are.
type HeldStatus struct {
	Users     int       // users who are gone from the list
	LostRoles int       // users who are listed and have lost roles
	Since     time.Time // start of the refresh that first held them

	// Cause is why: "shrink_guard" for too many at once, which more full refreshes
	// must confirm, and "sync" while one is running upstream.
	Cause string

	// Digest names exactly what is held, "" if nothing is: [Gate.AcceptShrink]
	// takes it.
	Digest string
}

// SyncStatus is what Config.UpstreamSync said.
type SyncStatus struct {
	State   SyncState
	Text    string    // in the upstream's words
	Checked time.Time // when it was asked last

	// Failed counts the times that it could not tell, and Error is the last.
	Failed uint64
	Error  string
}

// PullStatus says how the refreshes of one kind have gone.
type RefreshStatus struct {
	Running bool

	Started  time.Time     // of the last one, be it running, done or failed
	Last     time.Time     // start of the last one that succeeded
	Duration time.Duration // of the last one that ended

	Succeeded, Failed uint64

	// Consecutive counts the failures since the last success. Failure and
	// Error tell of the last failure, and are kept when a later pull succeeds.
	Consecutive int
	Failure     Failure
	Error       string
	FailedAt    time.Time

	Outcome RefreshOutcome // of the last one that succeeded

	NextIn time.Duration // until the next one is due
}

// MarshalJSON implements json.Marshaler.
func (s Status) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		State           State              `json:"state"`
		Users           int                `json:"users"`
		Grants          int                `json:"grants"`
		Roles           int                `json:"roles"`
		Generation      uint64             `json:"generation"`
		Cursor          int64              `json:"cursor"`
		Contact         *time.Time         `json:"contact"`
		ContactAge      float64            `json:"contact_age_seconds"`
		Verified        *time.Time         `json:"verified"`
		VerifiedAge     float64            `json:"verified_age_seconds"`
		StaleAfter      float64            `json:"stale_after_seconds"`
		ExpireAfter     float64            `json:"expire_after_seconds"`
		Incremental     RefreshStatus      `json:"incremental"`
		Full            RefreshStatus      `json:"full"`
		Failures        map[Failure]uint64 `json:"failures"`
		Decisions       map[Reason]uint64  `json:"decisions"`
		Shadowed        uint64             `json:"shadowed"`
		StaleDecisions  uint64             `json:"stale_decisions"`
		Ambiguous       map[Kind]int       `json:"ambiguous_aliases"`
		Held            heldJSON           `json:"held"`
		Sync            syncJSON           `json:"sync"`
		Cache           cacheJSON          `json:"cache"`
		Replica         *replicaJSON       `json:"replica,omitempty"`
		UnassignedRoles []UnassignedRole   `json:"unassigned_roles"`
		DroppedC        uint64             `json:"dropped_changes"`
		DroppedD        uint64             `json:"dropped_decisions"`
	}{
		s.State, s.Users, s.Grants, s.Roles, s.Generation, s.Cursor,
		jsonTime(s.Contact), s.ContactAge.Seconds(), jsonTime(s.Verified), s.VerifiedAge.Seconds(),
		s.StaleAfter.Seconds(), s.ExpireAfter.Seconds(),
		s.Incremental, s.Full, s.Failures, s.Decisions, s.Shadowed, s.StaleDecisions, s.Ambiguous,
		heldJSON{s.Held.Users, s.Held.LostRoles, s.Held.Cause, jsonTime(s.Held.Since), s.Held.Digest},
		syncJSON{s.Sync.State, s.Sync.Text, jsonTime(s.Sync.Checked), s.Sync.Failed, s.Sync.Error},
		cacheJSON{s.Cache.Loaded, s.Cache.Stored, jsonTime(s.Cache.Last), s.Cache.Failed, s.Cache.Error},
		s.Replica.json(), s.UnassignedRoles, s.DroppedChanges, s.DroppedDecisions,
	})
}

type replicaJSON struct {
	Connected bool       `json:"connected"`
	Since     *time.Time `json:"since"`
	Base      *time.Time `json:"base"`
	Leases    []string   `json:"leases"`
}

func (r ReplicaStatus) json() *replicaJSON {
	if !r.Shared {
		return nil
	}
	return &replicaJSON{r.Connected, jsonTime(r.Since), jsonTime(r.Base), append([]string{}, r.Leases...)}
}

type heldJSON struct {
	Users     int        `json:"users"`
	LostRoles int        `json:"lost_roles"`
	Cause     string     `json:"cause,omitempty"`
	Since     *time.Time `json:"since"`
	Digest    string     `json:"digest,omitempty"`
}

type syncJSON struct {
	State   SyncState  `json:"state"`
	Text    string     `json:"text,omitempty"`
	Checked *time.Time `json:"checked"`
	Failed  uint64     `json:"failed"`
	Error   string     `json:"error,omitempty"`
}

type cacheJSON struct {
	Loaded bool       `json:"loaded"`
	Stored uint64     `json:"stored"`
	Last   *time.Time `json:"last"`
	Failed uint64     `json:"failed"`
	Error  string     `json:"error,omitempty"`
}

// MarshalJSON implements json.Marshaler.
func (p RefreshStatus) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Running     bool           `json:"running"`
		Started     *time.Time     `json:"started"`
		Last        *time.Time     `json:"last"`
		Duration    float64        `json:"duration_seconds"`
		Succeeded   uint64         `json:"succeeded"`
		Failed      uint64         `json:"failed"`
		Consecutive int            `json:"consecutive_failures"`
		Failure     Failure        `json:"failure,omitempty"`
		Error       string         `json:"error,omitempty"`
		FailedAt    *time.Time     `json:"failed_at"`
		Outcome     RefreshOutcome `json:"outcome"`
		NextIn      float64        `json:"next_in_seconds"`
	}{
		p.Running, jsonTime(p.Started), jsonTime(p.Last), p.Duration.Seconds(), p.Succeeded, p.Failed, p.Consecutive,
		p.Failure, p.Error, jsonTime(p.FailedAt), p.Outcome, p.NextIn.Seconds(),
	})
}

func jsonTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC().Truncate(time.Millisecond)
	return &t
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
