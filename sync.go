package rolegate

import (
	"context"
	"fmt"
)

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

// A SyncReport is what a [SyncChecker] found out.
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
