package rolegate

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/rolegate/rolegate/internal/index"
)

// A Source is a list of the users who are authorised for the app, with the
// roles that were granted to them. [github.com/rolegate/rolegate/marketplace]
// has the one for the marketplace; anything else that can say "these users,
// these roles, numbered by sequence" can be one too.
//
// A Source must be safe for concurrent use: a full refresh and an incremental refresh
// may run at once, never two of the same kind. A full refresh asks for what comes after
// 0; so does an incremental refresh that goes on from an empty list.
//
// A Source may also be a [Validator], a [CacheKeyer] and an [IdleConnectionCloser].
type Source interface {
	// Pull calls yield for every listed user whose sequence is above after,
	// or for all of them when after is 0, and returns nil only when it has
	// seen the last one. It may yield a user more than once: the record with
	// the higher sequence counts, and of two equal ones the later. It may
	// also yield records whose sequence equals after (an inclusive list); one
	// below it says that the list was set back to an earlier state: it fails
	// the refresh, and a full refresh follows.
	//
	// A record that could not be understood is yielded with Bad set, and with
	// its UserID and Sequence if those were readable; it is not an error.
	// Everything else that went wrong is returned: preferably as a
	// [*PullError], so that operators see the reason. An error discards
	// whatever was yielded before it.
	//
	// Pull must return soon after ctx ends. It calls yield from one goroutine
	// at a time, and does not use a Record's Grants again before yield has
	// returned; yield keeps nothing of that slice. A Record's strings stay as
	// they are, but may share memory with those of others: who keeps a few of
	// them for long should clone them (strings.Clone).
	Pull(ctx context.Context, after int64, yield func(Record)) error
}

// A PageSource is a [Source] that hands over its list page by page. The gate
// prefers PullPages to Pull where there is one: an incremental refresh then
// applies each page as it comes.
type PageSource interface {
	Source

	// PullPages is Pull by the page: it calls page after each page of the list,
	// in the order of the list, with the records of that page. They and their
	// Grants are valid until page returns; what Pull says of yield's Records
	// holds for the rest. A page may be empty.
	//
	// The pages come in ascending sequence: no page has a record above one of
	// a later page, but for users who are repeated. So whoever applies some of
	// the pages has a state that the list once had.
	//
	// PullPages returns nil only when it has handed over the last page. An
	// error of page ends the refresh and is returned as it is.
	PullPages(ctx context.Context, after int64, page func(records []Record) error) error
}

// A Validator is a [Source], [SyncChecker] or [Cache] that can tell whether it is
// set up rightly. [Open] calls Validate, and reports what it says together with
// every other mistake of the [Config]. What wraps one should have this method too,
// and so with the interfaces below.
type Validator interface {
	Validate() error
}

// A CacheKeyer is a [Source] that can say which list it is, without a secret and
// the same at every start. Config.Cache needs it, so that no app starts with the
// users of another.
type CacheKeyer interface {
	CacheKey() string
}

// An IdleConnectionCloser is a [Source] with connections that [Gate.Close] closes.
type IdleConnectionCloser interface {
	CloseIdleConnections()
}

// A Record is one listed user, as a [Source] read it.
type Record struct {
	// UserID is the marketplace's number of the user. A record whose UserID
	// is not above 0 identifies nobody and is treated as Bad.
	UserID int64

	// Sequence numbers the changes of the list: the highest one seen is where
	// the next incremental refresh goes on from. 0 if it could not be read.
	Sequence int64

	// Grants are the user's roles. A grant whose OrgID is not above 0 or whose
	// RoleCode is empty is dropped and counted, and the others stand.
	Grants []Grant

	// NullRoles says that the list has null in place of the user's roles. The
	// user is listed and has none; it is counted.
	NullRoles bool

	// Names that the user has elsewhere, each "" if they have none. They are kept
	// only if Config.Identify, Config.Aliases or Config.Keep asks for them.
	Account, Email, ThirdAccount, ThirdUserID string

	// For display. They are kept only if Config.Keep asks for them.
	Nickname, ThirdUserName string

	// Bad is why the record could not be understood, nil if it was. A bad
	// record denies its own user, whatever other records say of them in the
	// same refresh, and nobody else. It must not contain personal data: it is
	// logged.
	Bad error

	// Structural says that Bad is a fault of the list's form, like a key that
	// is missing, and not of what somebody has written into a field. A full
	// refresh with many of them fails as [FailureDrift]; others concern their
	// own user alone, however many they are.
	Structural bool

	// Unreadable names the texts above that could not be understood, and are ""
	// for that. The gate takes the record for Bad if it uses one of them, and
	// ignores them otherwise.
	Unreadable Keep
}

// A Grant is one role in one organisation. In JSON, its OrgID is a string, since
// JavaScript rounds numbers above 2^53; a number is read, too.
type Grant struct {
	OrgID    int64  `json:"orgId,string"`
	RoleCode string `json:"roleCode"`
}

// UnmarshalJSON implements json.Unmarshaler. The id of an organisation is a decimal
// number, or a string of one: {"orgId":"7","roleCode":"teacher"}.
func (g *Grant) UnmarshalJSON(data []byte) error {
	var read struct {
		OrgID    json.Number `json:"orgId"`
		RoleCode string      `json:"roleCode"`
	}
	if err := json.Unmarshal(data, &read); err != nil {
		return fmt.Errorf("rolegate: not a grant, such as {\"orgId\":\"7\",\"roleCode\":\"teacher\"}: %w", err)
	}
	org, err := strconv.ParseInt(cmp.Or(read.OrgID.String(), "0"), 10, 64)
	if err != nil {
		return errors.New("rolegate: not a grant: orgId: expected a decimal number of 64 bits, as a string or as a number")
	}
	*g = Grant{org, read.RoleCode}
	return nil
}

// ErrRefused is in the chain of the errors that mean "the source does not
// accept who we are": a refused token or app id. See [PullError.Permanent].
var ErrRefused = errors.New("rolegate: the source refused the credentials")

// A Failure says in one stable word why a refresh failed. It is what logs, metrics
// and [Status] tell; it never contains anything that came from the source.
type Failure string

// The failures that this module reports. A Source may use others; keep them
// few, lower-case and without data in them, since they become metric labels.
const (
	FailureTimeout         Failure = "timeout"          // a deadline passed
	FailureHTTPStatus      Failure = "http_status"      // an HTTP status other than 200
	FailureRefused         Failure = "refused"          // the token or the app id is not accepted
	FailureTooLarge        Failure = "too_large"        // a page or the whole list is over its cap
	FailureCursorRegressed Failure = "cursor_regressed" // sequences below the cursor: restored from a backup
	FailureOlderList       Failure = "older_list"       // a full list older than what is known: a replica that lags
	FailureDrift           Failure = "schema_drift"     // too many records that cannot be understood
	FailurePanic           Failure = "panic"            // the source panicked
	FailureOther           Failure = "other"            // an error that is no *PullError
)

// A PullError says why a refresh failed.
type PullError struct {
	// Failure is the reason in one word.
	Failure Failure

	// RetryAfter is how long the source asked to be left alone, 0 if it did
	// not say. The gate honours it between 0 and 5 minutes.
	RetryAfter time.Duration

	// Permanent says that trying again cannot help: only another
	// configuration can, as after the refusal of a token that never changes.
	// [Open] returns such an error at once.
	Permanent bool

	// Err is the error with all its details. It must be free of secrets and
	// of personal data: it is logged.
	Err error
}

// Error implements error.
func (e *PullError) Error() string {
	if e.Err == nil {
		return string(e.Failure)
	}
	return fmt.Sprintf("%s: %v", e.Failure, e.Err)
}

// Unwrap returns e.Err.
func (e *PullError) Unwrap() error { return e.Err }

// Is reports whether target is [ErrRefused] and e means just that.
func (e *PullError) Is(target error) bool {
	return target == ErrRefused && e.Failure == FailureRefused
}

// failureOf finds the word for any error of a pull.
func failureOf(err error) Failure {
	var pe *PullError
	switch {
	case errors.As(err, &pe) && pe.Failure != "":
		return pe.Failure
	case errors.Is(err, index.ErrTooLarge):
		return FailureTooLarge
	case errors.Is(err, context.DeadlineExceeded):
		return FailureTimeout
	default:
		return FailureOther
	}
}

// A SyncChecker tells whether a sync of organisations and users is running
// upstream. While one runs, the list may be half-finished: users are missing
// who will be back in a minute. [github.com/rolegate/rolegate/cloudcommand] has
// the one for 云上指挥.
//
// It must be safe for concurrent use, and return soon after ctx ends. An error
// counts as [SyncUnknown]; it must be free of secrets and of personal data,
// since it is logged. A SyncChecker may also have a method Validate() error,
// which [Open] calls as it calls a [Source]'s.
type SyncChecker interface {
	CheckSync(ctx context.Context) (SyncReport, error)
}

// A SyncReport is what a [SyncChecker] reports.
type SyncReport struct {
	State SyncState

	// Text is what the upstream says of it in words, for the operator: the
	// state is guessed from a text in some upstreams, and one that nobody
	// knows is [SyncUnknown].
	Text string
}

// A SyncState says how a sync is. The zero SyncState is [SyncUnknown].
type SyncState uint8

// The states of a sync. Only SyncRunning holds anything up.
const (
	SyncUnknown SyncState = iota
	SyncRunning
	SyncDone
	syncStates
)

var syncStateNames = [syncStates]string{"unknown", "running", "done"}

// String returns the state as logs and [Status] write it.
func (s SyncState) String() string {
	if s < syncStates {
		return syncStateNames[s]
	}
	return fmt.Sprintf("SyncState(%d)", uint8(s))
}

// MarshalText implements encoding.TextMarshaler with what String returns.
func (s SyncState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Keep says which strings to keep of each user: each is for the method of [User]
// of its name.
type Keep struct {
	Account, Email, ThirdAccount, ThirdUserID, Nickname, ThirdUserName bool
}

// fields is the set as the index has it.
func (k Keep) fields() (set index.FieldSet) {
	for f, kept := range [...]bool{k.Account, k.Email, k.ThirdAccount, k.ThirdUserID, k.Nickname, k.ThirdUserName} {
		if kept {
			set |= 1 << f
		}
	}
	return set
}

// A Cache keeps the last good index where a restart finds it, so that an app
// that starts while the marketplace is away can serve at once.
// [github.com/rolegate/rolegate/filecache] has the one on disk.
//
// What is stored has role grants and, as far as they are kept, accounts and
// names in it: it must not be readable by others, nor writable by anybody but
// the app, since whoever writes it decides who may enter. A Cache stores and
// returns the bytes as they are; the gate checks them.
//
// A Cache must be safe for concurrent use. The gate calls Load once, when it
// starts, and Store never twice at once, and never before Load's reader is
// closed. Errors must be free of secrets and of personal data: they are logged.
// A Cache may also have a method Validate() error: [Open] calls it, and reports
// what it says together with every other mistake of the [Config].
type Cache interface {
	// Load opens what was stored last. An error that wraps [fs.ErrNotExist]
	// says that there is nothing yet. ctx lives until the reader is closed;
	// Load and Read must return soon after it ends.
	Load(ctx context.Context) (io.ReadCloser, error)

	// Store replaces what was stored by what write writes: by all of it, or
	// not at all. It calls write once, returns write's error if there is one,
	// and returns soon after ctx ends.
	Store(ctx context.Context, write func(io.Writer) error) error
}
