package rolegate

import (
	"fmt"
	"net/http"
)

// A Decision is the answer to "may this user do that?". The zero Decision
// denies.
type Decision struct {
	// Reason is [ReasonGranted], or why not.
	Reason Reason

	// User is the listed user it is about; the zero User if there is none.
	User User

	// Org is the organisation in which roles were looked for, 0 if none was
	// named.
	Org int64

	// Shadowed says that a Shadow let it pass in spite of its Reason.
	Shadowed bool

	// Held says that the marketplace no longer lists the user, but that their
	// removal is held back: see Status.Held.
	Held bool

	stale bool  // the list was older than StaleAfter
	asked int64 // the user id that was asked about, listed or not; 0 for another kind
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
}

// String returns the reason as logs, metrics and [Status] write it.
func (r Reason) String() string {
	if r < numReasons {
		return reasons[r].name
	}
	return fmt.Sprintf("Reason(%d)", uint8(r))
}

// Status returns the HTTP status that answers a refusal for this reason, and
// 200 for [ReasonGranted].
func (r Reason) Status() int {
	if r < numReasons {
		return reasons[r].status
	}
	return http.StatusInternalServerError
}

// MarshalText implements encoding.TextMarshaler with what String returns.
func (r Reason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }
