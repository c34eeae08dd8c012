package replication

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/rolegate/rolegate/internal/clock"
)

// A Store is what replicas share. Its methods are safe for concurrent use, and
// return soon after ctx ends. Their errors are free of secrets: they are logged.
type Store interface {
	Sync(ctx context.Context, a Action) (Reply, error)
	Release(ctx context.Context, k Kind, keep time.Duration) error
	Append(ctx context.Context, e Entry, epoch string) error

	// Load returns the contents of a base, which ctx ends.
	Load(ctx context.Context, b Base) io.Reader

	// Publish returns the base as it is published. before is the one that it
	// takes the place of. An error that wraps [ErrRefused] says that it is not
	// published for certain.
	Publish(ctx context.Context, b, before Base, epoch string, write func(io.Writer) error) (Base, error)

	// Spend takes one of perMinute that all replicas share. If there is none, it
	// says for how long.
	Spend(ctx context.Context, perMinute int) (ok bool, wait time.Duration, err error)
}

// A Group is a cache that replicas share. Join opens what it has of one list, and
// says how long a lease of it lasts.
type Group interface {
	Join(list string) (store Store, lease time.Duration, err error)
}

// ErrRefused says that another replica holds the lease, that it has published a
// later base, or that the times in what was to be written are worth nothing any
// more.
var ErrRefused = errors.New("another replica was faster")

// A Host is the gate that a replica is of. Its methods are called by one goroutine,
// but for Take and Write, which may take long and are called by others.
type Host interface {
	Own() Own

	// Take decodes a base and has requests see it, unless Own has begun at or
	// after at. instant turns a time in it into one of this process.
	Take(ctx context.Context, r io.Reader, at clock.Instant, instant func(stamp int64) clock.Instant) error

	// Write encodes Own, if it is still of the full refresh that began at.
	Write(w io.Writer, at clock.Instant, stamp func(clock.Instant) int64) error

	Confirm(at clock.Instant)
	Apply(entries []Entry)

	// Shift measures anew the instants of before, or with underWay only those at which
	// the refreshes began that have not ended.
	Shift(by func(clock.Instant) clock.Instant, underWay bool)
	Soon(k Kind)
}

// Status tells how a replica does.
type Status struct {
	Connected bool      // the store has answered last time
	Since     time.Time // since when that is so
	Error     string    // the last
	Failed    uint64    // how often a call has failed
	Base      Base      // what is published and known here
	Holds     [Kinds]bool

	Published   uint64    // how many bases this replica has published
	PublishedAt time.Time // when that was last
}
