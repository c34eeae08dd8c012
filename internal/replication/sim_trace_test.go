package replication_test

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/rolegate/rolegate/internal/replication"
)

// This file prints what happens in a seed, for whoever looks for why it fails.
// ROLEGATE_TRACE=FROM-TO has it print what happens between these seconds.

var traceFrom, traceTo = func() (from, to time.Duration) {
	if _, err := fmt.Sscanf(os.Getenv("ROLEGATE_TRACE"), "%d-%d", &from, &to); err != nil {
		return 0, 0
	}
	return from * time.Second, to * time.Second
}()

// trace prints a line, if it is time for it. What must be printed last comes as a
// function: it costs too much if nobody wants it.
func (g *simGroup) trace(line func() string) {
	if traceTo > 0 && g.now >= traceFrom && g.now <= traceTo {
		fmt.Println(g.now, line())
	}
}

// traceEvent is what a replica was told, and what followed. All times are those of
// the simulation, but for what the store says.
func (r *simReplica) traceEvent(e *replication.Event, actions []replication.Action) string {
	at := func(mono int64) time.Duration { return time.Duration(mono) + r.birth + r.asleep }
	types := []string{"tick", "due", "synced", "ran", "read", "loaded", "published", "closing"}
	does := []string{"sync", "run", "skip", "soon", "release", "load", "confirm", "apply", "publish", "append", "shift"}
	var b strings.Builder
	fmt.Fprintf(&b, "replica %d: %s %v, failed %t, refused %t, demand %t; base of %v (in truth %v), rows of %v (in truth %v), age %v, cursor %d, first %d, listed %d",
		r.id, types[e.Type], e.Kind, e.Failed, e.Refused, e.Demand, at(e.Own.Began.Mono), r.own.trueBegan, at(e.Own.Contact.Mono), r.own.upTo, e.Own.Began.Age(e.Now), r.own.cursor, r.own.first, r.own.listed)
	if e.Type == replication.Synced {
		l := &e.Reply
		fmt.Fprintf(&b, "\n\tat %v of %q: %s of %v, %d entries, wanted %v, held %v, granted %v", traceStamp(l.Time), l.Epoch, l.Base.Name,
			traceStamp(l.Base.Began), len(l.Entries), traceStamp(l.Wanted), l.Held, l.Granted)
	}
	for _, a := range actions {
		fmt.Fprintf(&b, "\n\t%s %v: %q of %v, at %v, want %v, raise %t, void %q, shift by %v and %v", does[a.Type], a.Kind, a.Base.Name,
			traceStamp(a.Base.Began), at(a.At.Mono), a.Want, a.Raise, a.Void, time.Duration(a.Mono), time.Duration(a.Wall))
		for _, entry := range append(a.Entries, a.Entry) {
			if entry.Read != 0 || entry.Rows != nil {
				fmt.Fprintf(&b, "\n\t\trows above %d, up to %d, read at %v, which is %v", entry.From, entry.To, traceStamp(entry.Read), at(entry.At.Mono))
			}
		}
	}
	return b.String()
}

func traceStamp(t int64) time.Duration { return time.Duration(t - simEpoch) }
