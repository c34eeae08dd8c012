package rolegate

import (
	"context"
	"hash/maphash"

	"github.com/rolegate/rolegate/internal/refresh"
)

// A denyRefresher decides whether a refusal is worth a refresh, by identity.
type denyRefresher struct {
	f    *refresher
	seed maphash.Seed
	deny *refresh.OnDeny[refusedKey]
}

// A refusedKey is an identity without its text, which may be as long as a
// header: a thousand of them must not fill the memory.
type refusedKey struct {
	kind Kind
	hash uint64
}

func newDenyRefresher(f *refresher) *denyRefresher {
	o := &f.cfg.OnDeny
	limit := refresh.NewLimit(o.PerMinute)
	may := func(ctx context.Context) bool {
		local := func() bool { return limit.Take(f.clock()) == 0 }
		if f.replica != nil {
			return f.replica.spend(ctx, local)
		}
		return local()
	}
	return &denyRefresher{f: f, seed: maphash.MakeSeed(), deny: refresh.NewOnDeny[refusedKey](f.loop, f.clock, may, o.Wait, o.TTL)}
}

func (d *denyRefresher) key(id Identity) refusedKey {
	if id.kind == KindUserID {
		return refusedKey{KindUserID, uint64(id.id)}
	}
	return refusedKey{id.kind, maphash.String(d.seed, id.text)}
}

// refresh reports whether it is worth deciding again: a refresh has ended that
// this refusal caused or joined, or again, which is called whenever something
// was published, has returned true. It blocks for OnDeny.Wait at most.
func (d *denyRefresher) refresh(ctx context.Context, id Identity, again func() bool) bool {
	return d.deny.Refresh(ctx, d.key(id), d.f.published, again)
}

// refuse remembers an identity that a refresh did not help.
func (d *denyRefresher) refuse(id Identity) { d.deny.Refuse(d.key(id)) }

// untangle waits, if an incremental refresh has made an alias ambiguous, for the
// full refresh that is owed for that: the platform may have made somebody anew,
// and only that shows that the one before is gone. It reports whether it is worth
// deciding again, and blocks for OnDeny.Wait at most.
func (d *denyRefresher) untangle(ctx context.Context, again func() bool) bool {
	news, owed := d.f.published(), d.f.onAge.Owed()
	if owed == nil {
		return false
	}
	refresh.Await(ctx, d.f.cfg.OnDeny.Wait, owed, news, d.f.published, again)
	return true
}
