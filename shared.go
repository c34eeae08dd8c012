package rolegate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// A SharedCache is a [Cache] that all replicas of an app use at once, so that
// one of them pulls from the source and the others follow it.
// [github.com/rolegate/rolegate/rediscache] has the one on Redis. Config.Cache
// takes one like any other Cache; the gate then does the rest, and does not
// call Load and Store.
//
// One replica at a time holds the lease and leads: it pulls, and publishes what
// has changed. Terms tell the leaders apart: each new lease has a higher one,
// and nothing can be published in a term that is over. The others follow, and
// ask the leader when they need a pull at once. A replica that can neither lead
// nor follow goes on alone, with pulls of its own.
//
// What is published decides who enters. A SharedCache must return it only if it
// was published under the same secret for the same list, unchanged and in its
// place; everything else is an error. It stores and returns bytes as they are;
// the gate checks and orders them.
//
// All methods are safe for concurrent use, return soon after ctx ends, and are
// called with a deadline. Errors must be free of secrets and of personal data:
// they are logged. None of them needs to try again by itself: the gate does.
type SharedCache interface {
	Cache

	// Join says which list is shared: the Source's CacheKey. [Open] calls it
	// once, before any other method but Validate. A SharedCache serves one gate.
	Join(list string) error

	// Time reads the clock that all replicas share. Ages are told by it: a
	// replica whose own clock is wrong makes no other's index look young.
	Time(ctx context.Context) (time.Time, error)

	// Lease acquires the lease if want is true and nobody holds it, renews it if
	// this replica holds it and want is true, and says how things stand. The
	// term of a new lease is above above, the highest that this replica has
	// seen. A lease whose term is below above is void: replicas have seen a
	// higher one, which the store has lost.
	Lease(ctx context.Context, want bool, above uint64) (Lease, error)

	// Release gives the lease back if this replica holds it.
	Release(ctx context.Context) error

	// Publish makes a new version the newest, as the holder of the lease of
	// term. It returns the version, whose Term is term, or [ErrNotLeader] if the
	// lease is another's by now. If the newest version is from, it may publish
	// the change alone; if it is not, or from is the zero Version, or the changes
	// since the last whole index have become too many, it publishes the whole
	// index, which takes the place of whatever there was. An error leaves open
	// whether it was published.
	Publish(ctx context.Context, term uint64, from Version, p Publication) (Version, error)

	// Follow blocks until there is a version other than after, and returns what
	// leads there: the change from after to the one that follows it, or, if
	// there is none, the newest whole index. The zero Version is before all. It
	// returns ctx's error when nothing comes.
	Follow(ctx context.Context, after Version) (Update, error)

	// Ask hands the leader a message of at most 1 KiB. It does not wait for what
	// comes of it.
	Ask(ctx context.Context, message []byte) error

	// Asked blocks until there are messages behind the one with the ID after,
	// and returns them in the order in which they came. For "" it begins with
	// those of the last ten seconds. Messages may be forgotten when there are
	// more than a thousand, or when they are older than a minute. One that is
	// not authentic is left out.
	Asked(ctx context.Context, after string) ([]Asked, error)
}

// ErrNotLeader is in the chain of what [SharedCache.Publish] returns to a
// replica whose lease has run out.
var ErrNotLeader = errors.New("another replica holds the lease")

// A Version tells the published indexes of one list apart: those of one leader
// are numbered from 1. The zero Version is none.
type Version struct{ Term, Number uint64 }

// String writes the term and the number, as in 3.14.
func (v Version) String() string { return fmt.Sprintf("%d.%d", v.Term, v.Number) }

// A Lease says who leads.
type Lease struct {
	Held  bool          // this replica does
	Taken bool          // some replica does
	Term  uint64        // the term of the lease, or of the last one if it is not taken
	For   time.Duration // if Held: how long from the beginning of the call it certainly lasts

	// Newest is the newest version that is published, or pretends to be.
	Newest Version
}

// A Publication is a version in both forms.
type Publication struct {
	Change []byte                // what leads there from the version before
	Whole  func(io.Writer) error // writes all of it; is called once or not at all
}

// An Update is what [SharedCache.Follow] returns: a change, or a whole index.
type Update struct {
	Version Version // where it leads
	Change  []byte
	Whole   io.ReadCloser // nil for a change; must be read and closed before the next call, and before Follow's ctx ends
}

// An Asked is a message to the leader.
type Asked struct {
	ID      string
	Message []byte
}
