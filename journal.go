package rolegate

import (
	"errors"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/rolegate/rolegate/internal/clock"
	"github.com/rolegate/rolegate/internal/pull"
	"github.com/rolegate/rolegate/internal/refresh"
	"github.com/rolegate/rolegate/internal/snapshot"
)

// A journal logs and counts what becomes of refreshes: each thing once, and not
// with each refresh that finds it so still.
type journal struct {
	*store
	f *refresher

	mu       sync.Mutex
	outcomes [refresh.Kinds]RefreshOutcome
	failures map[Failure]uint64

	// What the log was last told.
	failing   [refresh.Kinds]Failure // why refreshes fail, "" if they do not
	odd       [refresh.Kinds]oddities
	held      *snapshot.HeldRemovals
	heldAs    string // its digest and cause
	ambiguous map[Kind]int
	stale     bool // that the list is stale
}

// oddities are what an operator should look at in the list, or on the way to it.
type oddities struct {
	bad, conflicts, dropped, nullRoles int
	repeated                           bool // pages had to be asked for again
}

func (o RefreshOutcome) oddities() oddities {
	return oddities{o.BadRecords, o.Conflicts, o.DroppedGrants, o.NullRoles, o.Repeated > 0}
}

// trouble reports whether they concern who may enter.
func (o oddities) trouble() bool { return o.bad+o.conflicts+o.dropped > 0 }

func newJournal(f *refresher) *journal {
	return &journal{store: f.store, f: f, failures: map[Failure]uint64{}, ambiguous: map[Kind]int{}}
}

// outcome takes in what a refresh that succeeded saw and changed.
func (j *journal) outcome(k refresh.Kind, o RefreshOutcome) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.outcomes[k] = o
}

// ended takes in how a refresh has ended.
func (j *journal) ended(k refresh.Kind, o refresh.Outcome) {
	if o.Err != nil {
		j.failed(k, o)
		return
	}
	gen, now := j.now.Load(), j.clock()
	j.mu.Lock()
	seen, odd := j.outcomes[k], j.outcomes[k].oddities()
	news := odd != j.odd[k] && (k == refresh.Full || odd != oddities{}) // most incremental ones see nothing odd
	j.odd[k], j.failing[k] = odd, ""
	j.stale = j.stale && gen.Contact.Age(now) > j.cfg.Refresh.StaleAfter // one that took long is no end of that
	j.mu.Unlock()
	level := slog.LevelDebug
	switch {
	case news && odd.trouble(), seen.Late > 0:
		level = slog.LevelWarn
	case o.Failures > 0 || pull.Outcome(seen).Changes() || news:
		level = slog.LevelInfo
	}
	j.log.Log(j.f.tasks.Context(), level, "rolegate: refreshed", "kind", k, "users", gen.Users,
		"added", seen.Added, "removed", seen.Removed, "changed", seen.Changed,
		"bad_records", seen.BadRecords, "null_roles", seen.NullRoles, "dropped_grants", seen.DroppedGrants, "conflicts", seen.Conflicts,
		"late", seen.Late, "repeated_pages", seen.Repeated, "took", o.Took.Round(time.Millisecond))
	j.logLostRoles(seen, gen.Users)
	j.logHeld(now)
	if k == refresh.Full {
		j.logAmbiguous()
		j.f.unassigned.Warn(gen.Snapshot)
	}
}

func (j *journal) failed(k refresh.Kind, o refresh.Outcome) {
	why := failureOf(o.Err)
	j.mu.Lock()
	j.failures[why]++
	level := slog.LevelWarn
	if j.failing[k] == why && j.now.Load() != nil {
		level = slog.LevelDebug
	}
	j.failing[k] = why
	j.mu.Unlock()
	msg := "rolegate: a refresh failed; the list stays as it was"
	if j.now.Load() == nil {
		msg = "rolegate: a refresh failed; there is no list yet, and nobody is admitted"
	}
	var older *refresh.OlderError
	if errors.As(o.Err, &older) {
		msg = "rolegate: a full refresh has shown an older list than the one that is known, and was not applied"
	}
	j.log.Log(j.f.tasks.Context(), level, msg, "kind", k, "failure", why, "err", o.Err,
		"attempt", o.Failures, "next_in", j.f.loop.Until(k).Round(time.Millisecond))
	j.warnIfStale(j.clock())
}

// counts returns the failures, by reason, and the last outcomes.
func (j *journal) counts() (failures map[Failure]uint64, outcomes [refresh.Kinds]RefreshOutcome) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return maps.Clone(j.failures), j.outcomes
}

// started logs that the first list has come from elsewhere than the source.
func (j *journal) started(gen *snapshot.Generation, msg string) {
	now := j.clock()
	j.adopted(gen)
	j.log.Info(msg, "users", gen.Users, "held", gen.Held.Size(),
		"contact_age", gen.Contact.Age(now).Round(time.Second), "verified_age", gen.Verified.Age(now).Round(time.Second))
}

// adopted takes in a generation that did not come from the source: the log need
// not be told of what it holds.
func (j *journal) adopted(gen *snapshot.Generation) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.held, j.heldAs, j.stale = gen.Held, heldAs(gen), false
}

// heldAs names what a generation holds and why, "" for nothing.
func heldAs(gen *snapshot.Generation) string {
	if gen.Held == nil {
		return ""
	}
	return gen.HeldDigest() + gen.Held.Cause
}

// watchStale looks every now and then whether the list is stale, also if the
// refresh that would have to say so never ends.
func (j *journal) watchStale() {
	ticker := time.NewTicker(min(time.Minute, j.cfg.Refresh.StaleAfter))
	defer ticker.Stop()
	for {
		select {
		case <-j.f.tasks.Context().Done():
			return
		case <-ticker.C:
			j.warnIfStale(j.clock())
		}
	}
}

// warnIfStale logs once that no refresh has been completed for too long.
func (j *journal) warnIfStale(now clock.Instant) {
	gen := j.now.Load()
	if gen == nil || gen.Contact.Age(now) <= j.cfg.Refresh.StaleAfter {
		return
	}
	j.mu.Lock()
	logged := j.stale
	j.stale = true
	j.mu.Unlock()
	if logged {
		return
	}
	msg := "rolegate: the list is stale: no refresh has succeeded for long; it is served until it expires"
	if j.f.loop.Running(refresh.Incremental) && j.f.loop.Stats(refresh.Incremental).Consecutive == 0 {
		msg = "rolegate: the list is stale: it changes faster than it can be read; what has been read counts"
	}
	j.log.Error(msg,
		"contact_age", gen.Contact.Age(now).Round(time.Second), "verified_age", gen.Verified.Age(now).Round(time.Second),
		"expire_after", j.cfg.Refresh.ExpireAfter)
}

// logHeld logs the held removals that a refresh ended with, if they are others than
// before.
func (j *journal) logHeld(now clock.Instant) {
	j.mu.Lock()
	gen := j.now.Load() // with the lock: another refresh may have ended since
	h, as := gen.Held, heldAs(gen)
	before, same := j.held, j.heldAs == as
	j.held, j.heldAs = h, as
	j.mu.Unlock()
	if same {
		return
	}
	switch {
	case h == nil && before != nil:
		j.log.Info("rolegate: no removals are held any more", "were", before.Size(), "lost_roles", before.LostRoles(), "cause", before.Cause)
	case h == nil:
	case h.Cause == snapshot.HeldByDoubt && h.LostRoles() == 0:
		j.log.Info("rolegate: users are missing from a list that may be of a server which lags behind: they are admitted until another full refresh agrees",
			"users", h.Size(), "again_in", j.f.loop.Until(refresh.Full).Round(time.Second))
	case h.Cause == snapshot.HeldBySync:
		j.log.Warn("rolegate: removals are held while a sync is running upstream", "users", h.Size(), "held_for", h.Since.Age(now).Round(time.Second),
			"at_most", j.cfg.Refresh.SyncHold)
	default:
		j.log.Error("rolegate: the list has shrunk too much at once: what is gone is held until full refreshes agree for long enough, or an operator accepts it",
			"users", h.Size(), "lost_roles", h.LostRoles(), "of", gen.Users,
			"until", h.Since.Add(j.cfg.Refresh.ShrinkHold).Time(), "again_in", j.f.loop.Until(refresh.Full).Round(time.Second))
	}
}

// logLostRoles logs a refresh that left very many users without any role.
func (j *journal) logLostRoles(o RefreshOutcome, users int) {
	if j.cfg.limits().TooMany(o.LostAllRoles, users, users) {
		j.log.Error("rolegate: mass role loss: check the marketplace", "users", o.LostAllRoles, "of", users)
	}
}

// logAmbiguous logs the aliases that several users share, if there are others than
// before.
func (j *journal) logAmbiguous() {
	for k := KindAccount; k < kinds; k++ {
		if !j.cfg.indexed.has(k) {
			continue
		}
		j.mu.Lock()
		n, before := j.now.Load().Ambiguous(k.field()), j.ambiguous[k]
		j.ambiguous[k] = n
		j.mu.Unlock()
		switch {
		case n == before:
		case n == 0:
			j.log.Info("rolegate: no alias is shared by several users any more", "identity", k, "were", before)
		default:
			j.log.Warn("rolegate: several users share an alias; nobody enters by it", "identity", k, "aliases", n)
		}
	}
}
