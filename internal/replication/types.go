package replication

import (
	"time"

	"github.com/rolegate/rolegate/internal/clock"
)

// A Kind is a kind of refresh. Both may be under way at once.
type Kind uint8

// The kinds of refresh.
const (
	Incremental Kind = iota // reads what was added and changed
	Full                    // reads the whole list: it alone shows who is gone
	Kinds
)

// String returns "incremental" or "full".
func (k Kind) String() string { return [Kinds]string{"incremental", "full"}[k] }

// Config says how patient a replica is. It is the same for all of a group.
type Config struct {
	Lease time.Duration // how long a lease lasts without being renewed

	// Bound is how long a due refresh may wait for another replica's before this
	// one refreshes by itself, and DemandBound how long one may that somebody
	// waits for.
	Bound       [Kinds]time.Duration
	DemandBound time.Duration
}

const (
	// Timeout is how long a call may take that neither reads nor writes a base. An
	// answer that comes later says too little about the time: the process may have
	// been paused.
	Timeout = 2 * time.Second

	// Margin is by how much later than a base a row must have been read to be put
	// on top of it, if either is of another replica: the moments are known that
	// well.
	Margin = time.Duration(slack)
)

const (
	// pollEvery is how often a replica asks how things stand, and pollSoon how
	// often it does while somebody waits.
	pollEvery = time.Second
	pollSoon  = 200 * time.Millisecond

	// helpAfter is how long a replica leaves a refresh that another one waits for
	// to that one.
	helpAfter = 3 * time.Second

	// failTime is how long a base is waited for from a store that does not answer any
	// more: when many start at once, or read a new base, it is slow for each.
	failTime = 10 * time.Second

	// publishAgain is how long a base that could not be published is left alone.
	publishAgain = 3 * time.Second

	// loadAgain is how long a base that could not be read is left alone.
	loadAgain = 30 * time.Second

	// loadTries is how often in a row a replica that has nothing tries it before that.
	loadTries = 3
)

// A Base says which list is published, without its contents. The zero Base is
// none.
type Base struct {
	Name  string // of the contents in the store; another list has another name
	Began int64  // when the full refresh began, in nanoseconds of the store's clock
}

// An Entry is what one incremental refresh has read.
type Entry struct {
	From, To int64 // it has read the records with sequences above From, up to To
	Read     int64 // when it began, in nanoseconds of the store's clock
	Ended    int64 // when it ended: up to To is known since then
	Complete bool  // there was nothing above To when it began
	Rows     []byte

	// Read and Ended as instants of this process; only in an Apply action.
	At, Known clock.Instant
}

// Own is what requests of this replica are answered by, at the moment of an event.
type Own struct {
	Loaded  bool
	Began   clock.Instant // when the full refresh began that its base is of
	Contact clock.Instant // up to when it knows what was added and changed
	Touched bool          // rows have changed it since it was the base
}

// An EventType says what has happened.
type EventType uint8

// The types of events.
const (
	Tick      EventType = iota // time has passed, or Own has changed
	Due                        // the loop wants to refresh Kind; with Demand, somebody waits for one that begins now or later
	Synced                     // the answer to a Sync: Reply, or Failed
	Ran                        // the refresh that a Run allowed has ended
	Read                       // an incremental refresh of this replica has read Entry, which began at At
	Loaded                     // a Load has ended: the host has the base, or Failed
	Published                  // a Publish has ended: done, Refused or Failed
	Closing                    // the gate is being closed
)

// An Event is what Step is told.
type Event struct {
	Type EventType
	Now  clock.Instant
	Own  Own

	Kind   Kind
	Demand bool // of Due
	Self   bool // of Due: a refresh of another replica does not do

	Sent  clock.Instant // of Synced: when the call began
	Reply Reply         // of Synced; of Published only the Base, as it is published

	At    clock.Instant // of Read; of Loaded and Published, as in the action
	Entry Entry         // of Read, which ended now; its times are not set

	Failed  bool
	Refused bool          // of Published: another replica holds the lease, or has published a later base
	SameAs  clock.Instant // of Ran: the full refresh has found the list as it was in the base that began then, untouched
	Again   time.Duration // of Ran, if it failed: how long the source wants to be left alone
}

// A Reply is what the store answers to a Sync, all of one moment.
type Reply struct {
	Time    int64       // of the store's clock, in nanoseconds
	Epoch   string      // another one says that the store has begun anew, or that its clock was put back
	Base    Base        // what is published
	Entries []Entry     // those after the cursor
	Cursor  string      // of the last entry in Entries, or else as it was
	More    bool        // there are more entries than in Entries
	Wanted  int64       // somebody waits for a base that began at this time or later
	Held    [Kinds]bool // nobody else gets that lease now: another replica holds it, or a Release keeps it
	Granted [Kinds]bool // this replica has that lease: it was granted, or renewed
}

// An ActionType says what is to be done.
type ActionType uint8

// The types of actions.
const (
	Sync    ActionType = iota // ask the store how things stand
	Run                       // let the loop refresh Kind
	Skip                      // tell the loop that another replica has refreshed Kind
	Soon                      // make a refresh of Kind due: another replica waits for one
	Release                   // give the lease of Kind back; nobody is to have it for Keep
	Load                      // read the contents of Base, and take them as begun At, unless Own is later by then
	Confirm                   // the base of Own was found unchanged by a full refresh that began At
	Apply                     // put Entries on top
	Publish                   // publish Own as Base; with a Name only that it was found unchanged
	Append                    // publish Entry
	Shift                     // add Mono and Wall to the instants that are not after Before: they were measured anew
)

// Shifted returns the instant that a Shift makes of one.
func (a *Action) Shifted(i clock.Instant) clock.Instant {
	if i.Mono > a.Before {
		return i
	}
	return clock.Instant{Mono: i.Mono + a.Mono, Wall: i.Wall + a.Wall}
}

// An Action is what the shell is to do for the state.
type Action struct {
	Type ActionType
	Kind Kind
	Keep time.Duration

	Base    Base
	At      clock.Instant
	Entries []Entry
	Entry   Entry

	Mono, Wall, Before int64 // of Shift, in nanoseconds; Before on the monotonic clock
	UnderWay           bool  // of Shift: only the beginnings of refreshes that have not ended

	Epoch string // of Publish and Append: of the times in them; in another they are worth nothing

	// Of Sync.
	Cursor string
	Known  Base        // as far as this replica has followed; leases are granted to those who know all. Of Publish too: it takes the place of that
	Want   [Kinds]bool // leases to acquire or to renew
	Raise  bool        // have others know that somebody waits for a full refresh
	Void   string      // the store is to begin anew if its epoch is this: its clock was put back
}
