// Package refresh decides when a copy of a remote list is refreshed, and knows
// nothing of what is in it: the loops with their back-off, refreshes on demand,
// where an incremental refresh goes on from, the copy that a restart finds, the
// watch for a sync upstream, and queues for hooks.
//
// It is usable without rolegate's root. Each type has a mutex and a status of
// its own, and is safe for concurrent use unless it says otherwise.
package refresh

// A Kind tells refreshes apart: an incremental one sees what was added and
// changed since a sequence, a full one alone sees what is gone.
type Kind uint8

// The kinds of refresh.
const (
	Incremental Kind = iota
	Full
	Kinds
)

// String returns the kind as logs and metrics write it.
func (k Kind) String() string { return [Kinds]string{"incremental", "full"}[k] }

// MarshalText has JSON logs write the kind by its name.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// signal sends on a channel with room for one, unless it is full already.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
