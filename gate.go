package rolegate

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/rolegate/rolegate/internal/index"
	"github.com/rolegate/rolegate/internal/policy"
	"github.com/rolegate/rolegate/internal/refresh"
)

// A Gate keeps the list of authorised users in memory and guards HTTP handlers
// with it. [Open] makes one. All its methods are safe for concurrent use.
//
// The nil and the zero Gate deny everything with [ReasonNotReady].
type Gate struct {
	store
	observer *observer // nil before Open
	admit    *Policy

	refresher *refresher
	onDeny    *denyRefresher // nil if OnDeny.Off
	watches   *watches
	counted   index.LastCount
	loop      atomic.Bool // whether the log knows of a login page that is guarded
}

// observedBy is who learns of the gate's decisions, nil for a nil gate.
func (g *Gate) observedBy() *observer {
	if g == nil {
		return nil
	}
	return g.observer
}

// state is what the parts of the gate share, nil for a nil gate.
func (g *Gate) state() *store {
	if g == nil {
		return nil
	}
	return &g.store
}

// Open makes a Gate, once, when the app starts; all handlers share it. It checks the
// config, starts to keep the list in step, and returns when
// the first list is in memory: it blocks until then or until ctx ends, trying
// again as often as it takes and logging each attempt. With a Config.Cache that
// has an index young enough, that is the first list, and a full refresh follows it. With
// Config.StartEmpty it returns at once, and the gate answers 503 until the list is
// there.
//
// It returns an error that names every mistake of the config; an error that
// wraps [ErrRefused] as soon as the source refuses the credentials; or, when
// ctx ends first, one that wraps ctx's and the last failure. ctx governs Open
// alone: the gate lives until [Gate.Close].
func Open(ctx context.Context, cfg Config) (*Gate, error) {
	set, err := cfg.validate()
	if err != nil {
		return nil, fmt.Errorf("rolegate: the config has mistakes:\n%w", err)
	}
	if err := set.join(); err != nil {
		return nil, fmt.Errorf("rolegate: the config has mistakes:\nCache: %w", err)
	}
	g := &Gate{observer: &observer{sample: set.SampleGrants, key: set.IdentityKey}}
	g.store.init(set)
	g.watches = &watches{store: &g.store}
	g.admit = &Policy{gate: g, store: &g.store, observer: g.observer, name: "Admit", admits: true, program: new(policy.Program)}
	g.refresher = startRefresher(&g.store, g.watches.check)
	g.observer.decisions = refresh.StartQueue(g.refresher.tasks, g.log, decisionQueue, "Config.OnDecision", g.cfg.OnDecision)
	if !set.OnDeny.Off {
		g.onDeny = newDenyRefresher(g.refresher)
	}
	if set.StartEmpty {
		return g, nil
	}
	if err := g.refresher.awaitFirst(ctx); err != nil {
		g.Close()
		return nil, fmt.Errorf("rolegate: no list of authorised users: %w", err)
	}
	return g, nil
}

// Close ends the refreshing and makes the gate deny everything with [ReasonClosed].
// It waits for pulls under way to end, which it cancels, and until Config.Cache
// has stored the last list, but not longer than a second: then it returns an
// error that says so. Closing again waits likewise and is harmless.
func (g *Gate) Close() error {
	if g == nil || g.refresher == nil {
		return nil
	}
	g.closed.Store(true)
	g.watches.check()
	return g.refresher.close()
}

// Decide says whether that identity is on the list: what [Gate.Admit] asks. See
// [Policy.Decide] for how it decides without a request.
func (g *Gate) Decide(ctx context.Context, id Identity) Decision {
	if g == nil {
		return Decision{}
	}
	return g.admit.Decide(ctx, id, 0)
}

// Refresh makes an incremental refresh and returns when it is published: a
// refresh that started after the call, and that is shared by everybody who waits
// for it. What the marketplace granted or changed before the call counts when
// it returns nil. Whether it took something away shows only in [Gate.RefreshAll].
//
// It blocks until then or until ctx ends; the refresh goes on without the caller.
// It returns the refresh's error, ctx's, or [ErrClosed].
func (g *Gate) Refresh(ctx context.Context) error { return g.refreshNow(ctx, refresh.Incremental) }

// RefreshAll reads the whole list and returns when it is published: a full refresh
// that started after the call, and that is shared by everybody who waits for
// it. What the marketplace took away before the call counts when it returns
// nil; [ErrHeld] says that the full refresh counts, but that removals are held back. It
// blocks and returns other errors as [Gate.Refresh] does.
func (g *Gate) RefreshAll(ctx context.Context) error { return g.refreshNow(ctx, refresh.Full) }

// AcceptShrink applies what is held back, for an operator who has looked: the
// removals, of users and of roles, that Status.Held has shown under that digest,
// although they are many or a sync is running. It makes a full refresh as
// [Gate.RefreshAll] does: whoever is listed again in it stays, and what else is
// gone from it is held as always. So it blocks likewise.
//
// It returns [ErrHeldChanged], and does nothing, if something else is held by now;
// [ErrHeld] if something is held still; or what RefreshAll returns.
func (g *Gate) AcceptShrink(ctx context.Context, digest string) error {
	if g == nil || g.refresher == nil {
		return ErrClosed
	}
	if gen := g.now.Load(); gen == nil || digest == "" || gen.HeldDigest() != digest {
		return ErrHeldChanged
	}
	defer g.refresher.pull.Accept(digest)()
	return g.refreshNow(ctx, refresh.Full)
}

func (g *Gate) refreshNow(ctx context.Context, k refresh.Kind) error {
	if g == nil || g.refresher == nil {
		return ErrClosed
	}
	return g.refresher.fresh(ctx, k)
}

// roleSpace returns the gate's numbers for role codes; a gate that was never
// opened gets some too, so that mistakes in its guards still panic.
func (g *Gate) roleSpace() *index.RoleSpace {
	if g == nil || g.roles == nil {
		s, _ := index.NewRoleSpace(nil)
		return s
	}
	return g.roles
}
