package rolegate

import (
	"fmt"
	"net/http"
)

// A Decision is the answer to "may this user do that?". The zero Decision
// denies.
type Decision struct {
	// Reason is [Granted], or why not.
	Reason Reason

	// User is the listed user it is about; the zero User if there is none.
	User User

	// Org is the organisation in which roles were looked for, 0 if none was
	// named.
	Org int64

	// Shadowed says that a Shadow let it pass in spite of its Reason.
	Shadowed bool

	// Held says that the marketplace no longer lists the user, but that his
	// removal is held back: see Status.Held.
	Held bool

	stale bool  // the list was older than StaleAfter
	asked int64 // the user id that was asked about, listed or not; 0 for another kind
	err   error // what went wrong on the way to it, for the log

	conditions uint64 // the Wheres that were run and held
}

// Allowed reports whether the user may pass.
func (d Decision) Allowed() bool { return d.Reason == Granted || d.Shadowed }

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
	return !d.Shadowed && (d.Reason == NotAuthorized || d.Reason == RoleMissing)
}

// A Reason says in a stable word why a decision is what it is. The zero Reason
// is [NotReady], which denies.
type Reason uint8

// The reasons, with the HTTP status that answers each.
const (
	NotReady        Reason = iota // 503: there is no list yet
	Granted                       // the handler runs
	NoIdentity                    // 401: the app knows nobody
	IdentifyFailed                // 500: the app's identify func failed or panicked
	Expired                       // 503: the list is older than ExpireAfter
	NotAuthorized                 // 403: not on the list
	RoleMissing                   // 403: on the list, but a role check does not hold
	ConditionFailed               // 403: a Where said no
	OrgUnreadable                 // 403: the organisation cannot be read from the request
	TooOld                        // 503: a MaxAge was not reached in time
	Closed                        // 503: the gate was closed
	Ambiguous                     // 403: several users share this alias
	numReasons
)

var reasons = [numReasons]struct {
	name   string
	status int
}{
	NotReady:        {"not_ready", http.StatusServiceUnavailable},
	Granted:         {"granted", http.StatusOK},
	NoIdentity:      {"no_identity", http.StatusUnauthorized},
	IdentifyFailed:  {"identify_failed", http.StatusInternalServerError},
	Expired:         {"expired", http.StatusServiceUnavailable},
	NotAuthorized:   {"not_authorized", http.StatusForbidden},
	RoleMissing:     {"role_missing", http.StatusForbidden},
	ConditionFailed: {"condition_failed", http.StatusForbidden},
	OrgUnreadable:   {"org_unreadable", http.StatusForbidden},
	TooOld:          {"too_old", http.StatusServiceUnavailable},
	Closed:          {"closed", http.StatusServiceUnavailable},
	Ambiguous:       {"ambiguous", http.StatusForbidden},
}

// String returns the reason as logs, metrics and [Status] write it.
func (r Reason) String() string {
	if r < numReasons {
		return reasons[r].name
	}
	return fmt.Sprintf("Reason(%d)", uint8(r))
}

// Status returns the HTTP status that answers a refusal for this reason, and
// 200 for [Granted].
func (r Reason) Status() int {
	if r < numReasons {
		return reasons[r].status
	}
	return http.StatusInternalServerError
}

// MarshalText implements encoding.TextMarshaler with what String returns.
func (r Reason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }
