package rolegate

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/rolegate/rolegate/internal/clock"
	"github.com/rolegate/rolegate/internal/refresh"
	"github.com/rolegate/rolegate/internal/snapshot"
)

// This file is a gate's part in the group of replicas that share a SharedCache:
// who leads, and what that means for the pulls. published.go and following.go are
// how an index comes from the leader to the others, and asks.go how the others
// have the leader pull.

// A ReplicaRole says how a replica keeps its list in step.
type ReplicaRole string

// The roles of replicas.
const (
	ReplicaLeader     ReplicaRole = "leader"     // it pulls, and publishes what has changed
	ReplicaFollower   ReplicaRole = "follower"   // it follows what the leader publishes
	ReplicaStandalone ReplicaRole = "standalone" // it pulls by itself: the store is away or wrong, or is behind what it knows
)

// ReplicaStatus tells of the group of replicas that share Config.Cache.
type ReplicaStatus struct {
	Role    ReplicaRole // "" without a [SharedCache]
	Since   time.Time   // when it took that role
	Term    uint64      // the highest term of a leader that it has seen
	Version Version     // the newest version in the store that it knows
}

const (
	// newcomerWait is for how long a replica without a list leaves the lease to
	// others: they look in that time.
	newcomerWait = 1500 * time.Millisecond

	// leaseEvery is how often a replica renews its lease, or looks who has it.
	leaseEvery = time.Second

	// sharedTimeout is how long a short call to a SharedCache may take.
	sharedTimeout = 2 * time.Second

	// sharedGrace is for how long a replica that can neither lead nor follow
	// waits before it goes on alone.
	sharedGrace = 5 * time.Second

	// maxLease is how long a lease lasts at most: who leads looks every second
	// whether it does still.
	maxLease = time.Minute

	// quietLeader is how long at least whoever leads may publish nothing before
	// the others go on alone: longer than any lease, or a short Refresh.Every
	// would have all of them walk when the leader dies.
	quietLeader = 75 * time.Second

	// maxJumps is how often the shared clock may be set in a row of readings.
	maxJumps = 3

	// followWait is how long a replica waits for news in one call.
	followWait = 10 * time.Second

	// retryShared is how long after a call that failed the next is made. What
	// fails again and again is tried less and less often, down to retryRarely.
	retryShared = time.Second
	retryRarely = 15 * time.Second
)

// noLease is long before any instant.
const noLease = math.MinInt64

// errOvertaken is what becomes of a pull of a replica that need not pull any
// more. It is no failure.
var errOvertaken = refresh.ErrSkipped

// A replica is a gate's part in the group. Its own methods are safe for
// concurrent use, but for those of which it is said.
type replica struct {
	f      *refresher
	shared SharedCache

	role  atomic.Pointer[ReplicaRole]
	until atomic.Int64                        // the end of the lease, on the monotonic clock, or noLease
	base  atomic.Pointer[snapshot.Generation] // the index at version

	// Only the goroutine of run uses these.
	version Version         // of the store, as far as this replica has followed or written it; zero for none
	stamps  snapshot.Stamps // of base
	failing int             // how often following has failed in a row
	fenced  int             // how often another had the lease when this was to publish
	clock   sharedClock

	joined clock.Instant
	nobody bool // the store was empty when the lease was looked at; only keepLease uses it

	poke chan struct{} // makes the lease be looked at now
	kick chan struct{} // there is something to publish, or the lease is gone

	mu      sync.Mutex
	lease   Lease
	looked  bool               // lease is known
	caught  bool               // the leader has all that was published before its term
	stop    context.CancelFunc // of the Follow that is under way
	highest uint64             // the highest term seen
	since   clock.Instant      // when the role was taken
	led     clock.Instant      // when the lease was acquired
	abstain clock.Instant      // no lease is wanted before this
	touched clock.Instant      // when somebody was last known to lead
	news    clock.Instant      // when something was last published
	broken  clock.Instant      // since when following has failed, if it does
	jumps   int                // how often the shared clock was set lately
	apart   clock.Instant      // since when requests have seen something else than the base, if they do
	told    bool               // whether the log knows that the store fails
	turned  chan struct{}      // is closed when the role changes
	seen    Version            // for Status

	cache   CacheStatus
	waiting map[uint64]chan snapshot.Answer // of this replica's asks
	answers []snapshot.Answer               // to be published
	asked   [refresh.Kinds][]ask            // to be served
	serving map[uint64]struct{}
	served  *simplelru.LRU[uint64, snapshot.Answer]
	ask     [refresh.Kinds]chan struct{} // there is something in asked
	walked  clock.Instant                // when a walk was last begun for somebody who asked
	budget  refresh.Limit                // of the increments that are asked for
}

func newReplica(f *refresher, shared SharedCache, budget refresh.Limit) *replica {
	served, err := simplelru.NewLRU[uint64, snapshot.Answer](1024, nil)
	if err != nil {
		panic(err) // only for a size that is not above 0
	}
	now := f.clock()
	r := &replica{
		f: f, shared: shared,
		poke: make(chan struct{}, 1), kick: make(chan struct{}, 1),
		joined: now, since: now, touched: now, news: now, turned: make(chan struct{}),
		waiting: map[uint64]chan snapshot.Answer{}, serving: map[uint64]struct{}{}, served: served,
		budget: budget,
	}
	r.until.Store(noLease)
	role := ReplicaFollower // until it is known who leads
	r.role.Store(&role)
	for k := range r.ask {
		r.ask[k] = make(chan struct{}, 1)
	}
	return r
}

// start joins the group.
func (r *replica) start() {
	r.f.tasks.Go(r.keepLease)
	r.f.tasks.Go(r.run)
	r.f.tasks.Go(r.listen)
	r.f.tasks.Go(func() { r.serve(refresh.Incremental) })
	r.f.tasks.Go(func() { r.serve(refresh.Full) })
}

// listOf is what replicas that can read each other's indexes have in common.
func (c *settings) listOf() string { return fmt.Sprintf("1 %x %s", c.fields, c.cacheKey) }

// following reports whether another replica pulls. A nil replica always pulls.
func (r *replica) following() bool {
	if r == nil {
		return false
	}
	switch *r.role.Load() {
	case ReplicaStandalone:
		return false
	case ReplicaLeader:
		return r.until.Load() <= r.f.clock().Mono // it was paused for longer than its lease
	}
	return true
}

// leads reports whether this replica holds the lease and knows all that was
// published before.
func (r *replica) leads() bool {
	return r != nil && *r.role.Load() == ReplicaLeader && r.until.Load() > r.f.clock().Mono
}

// keepLease renews the lease, or takes it when it is free.
func (r *replica) keepLease() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-r.f.tasks.Context().Done():
			return
		case <-timer.C:
		case <-r.poke:
		}
		r.renew()
		timer.Reset(refresh.Jitter(leaseEvery, 0.2, nil))
	}
}

func (r *replica) renew() {
	r.stepDown()
	now := r.f.clock()
	r.mu.Lock()
	want, above := r.abstain == (clock.Instant{}) || now.Mono >= r.abstain.Mono, r.highest
	r.mu.Unlock()
	if want && r.f.now.Load() == nil && r.joined.Age(now) < newcomerWait {
		// Who has a list compares a walk with it, and may hold removals back: he is
		// to lead rather than somebody who has none. Not so if there is nobody.
		want = r.nobody
	}
	ctx, cancel := context.WithTimeout(r.f.tasks.Context(), sharedTimeout)
	defer cancel()
	var lease Lease
	err := callCache(func() (err error) {
		lease, err = r.shared.Lease(ctx, want, above)
		lease.Held = lease.Held && want // it was to be given back
		return err
	})
	if r.f.tasks.Context().Err() != nil {
		return
	}
	if err != nil {
		r.failed("looking who leads", err)
	} else {
		r.takeLease(lease, now)
		if empty := !lease.Taken && lease.Term == 0 && lease.Newest == (Version{}); empty && !r.nobody {
			r.nobody = true // the store is new
			signal(r.poke)
		}
	}
	r.judge()
	r.f.journal.warnIfStale(r.f.clock())
}

// takeLease notes what Lease said to a call that began then.
func (r *replica) takeLease(lease Lease, begun clock.Instant) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if lease.Term < r.highest || lease.Term == 0 || lease.For <= 0 {
		lease.Held = false // what is published in it would be older than what others have
	}
	before := r.lease
	r.lease = lease
	if !r.looked && r.stop != nil {
		r.stop() // what has come may be all there is
	}
	r.looked = true
	r.highest = max(r.highest, lease.Term)
	if lease.Held || lease.Taken {
		r.touched = r.f.clock()
	}
	if !lease.Held {
		r.until.Store(noLease)
		if before.Held {
			signal(r.kick)
		}
		return
	}
	r.until.Store(begun.Mono + int64(min(lease.For, maxLease)))
	if !before.Held || before.Term != lease.Term {
		r.caught, r.led = false, begun
		if r.stop != nil {
			r.stop()
		}
		signal(r.kick)
	}
}

// holds returns the term of the lease that this replica holds.
func (r *replica) holds() (term uint64, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lease.Term, r.lease.Held && r.until.Load() > r.f.clock().Mono
}

// lost notes that the lease is another's.
func (r *replica) lost() {
	r.mu.Lock()
	r.lease.Held = false
	r.until.Store(noLease)
	r.mu.Unlock()
	signal(r.poke)
	r.judge()
}

// judge decides which role this replica has.
func (r *replica) judge() {
	if role, before, term := r.rejudge(); role != before {
		r.f.log.Info("rolegate: the role among the replicas has changed", "role", role, "was", before, "term", term)
	}
}

func (r *replica) rejudge() (role, before ReplicaRole, term uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	own, base := r.f.now.Load(), r.base.Load()
	now := r.f.clock()
	role, before = ReplicaFollower, *r.role.Load()
	switch {
	case r.lease.Held && r.caught && r.until.Load() > now.Mono:
		role, r.apart = ReplicaLeader, clock.Instant{}
	case r.touched.Age(now) > sharedGrace, r.broken != (clock.Instant{}) && r.broken.Age(now) > sharedGrace:
		role = ReplicaStandalone // the store is away, or what is in it cannot be used
	case r.jumps > maxJumps:
		role = ReplicaStandalone // no age that is told by that clock can be believed
	case own == nil || own == base:
		r.apart = clock.Instant{}
	case r.apart == clock.Instant{}:
		r.apart = now
	case r.apart.Age(now) > sharedGrace:
		role = ReplicaStandalone // it knows more than the store, or cannot use what is there
	}
	switch {
	case role != ReplicaFollower:
	case base != nil && r.news.Age(now) > max(quietLeader, 3*r.f.cfg.Refresh.Every):
		role = ReplicaStandalone // whoever leads publishes nothing
	case own == nil && r.news.Age(now) > r.f.cfg.Refresh.ResyncEvery:
		role = ReplicaStandalone // likewise, but a first walk may take its time
	}
	if role == before {
		return role, before, r.highest
	}
	if before == ReplicaFollower || role == ReplicaLeader {
		r.schedule(role, own, now)
	}
	r.role.Store(&role) // not before: a loop might pull at once
	r.since = now
	close(r.turned)
	r.turned = make(chan struct{})
	r.f.loop.LookAgain()
	return role, before, r.highest
}

// schedule sets when a replica pulls that has not pulled so far. Many may go on
// alone at the same moment: they spread, over the time that is left until the
// pull is due, so that none is late for it. One that is alone because it knows
// more than the store waits until it is due: others need not. One that leads
// pulls for all.
func (r *replica) schedule(role ReplicaRole, own *snapshot.Generation, now clock.Instant) {
	f := r.f
	for k := range refresh.Kinds {
		from, due, spread := now, now, sharedGrace
		if own != nil {
			last, interval := own.Contact, f.cfg.Refresh.Every
			if k == refresh.Full {
				last, interval = own.Refreshed, f.cfg.untilNextFull(own)
			}
			interval = refresh.Jitter(interval, 0.1, nil)
			due = clock.Later(now, last.Add(interval))
			spread = max(interval/10, time.Duration(due.Mono-now.Mono))
			if own != r.base.Load() {
				from, spread = due, interval/10
			}
		}
		if role == ReplicaStandalone {
			due = from.Add(rand.N(spread))
			if set := f.loop.Due(k).Mono; set > now.Mono && set < due.Mono {
				continue // it goes alone time and again, and is not to put its pull off each time
			}
		}
		f.loop.SetDue(k, due)
	}
}

// stepDown gives the lease to another replica if this one leads and cannot reach
// the source.
func (r *replica) stepDown() {
	gen := r.f.now.Load()
	now := r.f.clock()
	patience := r.f.cfg.Refresh.StaleAfter
	if gen == nil {
		patience = 6 * sharedGrace
	}
	r.mu.Lock()
	step := r.lease.Held && r.led.Age(now) > patience && (gen == nil && !r.f.loop.Running(refresh.Full) || gen != nil && gen.Contact.Age(now) > patience)
	r.mu.Unlock()
	if step {
		r.f.log.Warn("rolegate: this replica leads and cannot reach the source: another may try")
		r.resign()
	}
}

// resign gives the lease back, and does not want it for a while.
func (r *replica) resign() {
	now := r.f.clock()
	r.mu.Lock()
	r.abstain = now.Add(refresh.Jitter(6*sharedGrace, 0.2, nil))
	r.lease.Held = false
	r.until.Store(noLease)
	r.mu.Unlock()
	signal(r.kick)
	r.release(r.f.tasks.Context())
	r.judge()
}

func (r *replica) release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, sharedTimeout)
	defer cancel()
	if err := callCache(func() error { return r.shared.Release(ctx) }); err != nil {
		r.failed("giving the lease back", err)
	}
}

// failed notes that a call to the store has failed. The log is told of the first
// in a row.
func (r *replica) failed(doing string, err error) {
	err = fmt.Errorf("%s: %w", doing, err)
	r.noteCache(func(s *CacheStatus) { s.fail(err) })
	r.mu.Lock()
	told := r.told
	r.told = true
	r.mu.Unlock()
	if !told {
		r.f.log.Error("rolegate: what the replicas share cannot be used; this replica goes on by itself if that lasts", "err", err)
	}
}

func (r *replica) works() {
	r.mu.Lock()
	told := r.told
	r.told = false
	r.mu.Unlock()
	if told {
		r.f.log.Info("rolegate: what the replicas share can be used again")
	}
}

// pause waits until a call that has failed so many times in a row may be made
// again. It reports whether the gate is open still.
func (r *replica) pause(failed int) bool {
	wait := retryShared
	for ; failed > 10 && wait < retryRarely; failed-- {
		wait *= 2
	}
	timer := time.NewTimer(refresh.Jitter(min(wait, retryRarely), 0.5, nil))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.f.tasks.Context().Done():
		return false
	}
}

func (r *replica) noteCache(note func(*CacheStatus)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	note(&r.cache)
}

func (r *replica) cacheStatus() CacheStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cache
}

func (r *replica) status() ReplicaStatus {
	if r == nil {
		return ReplicaStatus{}
	}
	role := *r.role.Load()
	if role == ReplicaLeader && !r.leads() {
		role = ReplicaFollower // the lease has run out, and it is not known yet who has the next
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return ReplicaStatus{Role: role, Since: r.since.Time(), Term: r.highest, Version: r.seen}
}
