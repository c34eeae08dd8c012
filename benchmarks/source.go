package benchmarks

import (
	"context"
	"iter"
	"log/slog"
	"time"

	"github.com/rolegate/rolegate"
)

// sequence is what numbers the user's last change: their place in the list at
// first, and then that of the change.
func (w *workload) sequence(i int) int64 {
	if w.latest[i] == 0 {
		return int64(i) + 1
	}
	return int64(w.size) + int64(w.latest[i])
}

// users returns the users whose sequence is above after, in the order of their
// sequences.
func (w *workload) users(after int64) iter.Seq[int] {
	return func(yield func(int) bool) {
		size := int64(w.size)
		for i := after; i < size; i++ {
			if w.latest[i] == 0 && !yield(int(i)) {
				return
			}
		}
		for k := max(after-size, 0); k < int64(len(w.changes)); k++ {
			if i := w.changes[k]; int64(w.latest[i]) == k+1 && !yield(int(i)) {
				return
			}
		}
	}
}

// Pull implements [rolegate.Source]: the list without any wire.
func (w *workload) Pull(ctx context.Context, after int64, yield func(rolegate.Record)) error {
	w.mu.RLock()
	defer w.mu.RUnlock()
	var (
		buf    [3]grant
		out    [3]rolegate.Grant
		yields int
	)
	for i := range w.users(after) {
		if yields++; yields%1024 == 0 && ctx.Err() != nil {
			break
		}
		r := rolegate.Record{UserID: w.userID(i), Sequence: w.sequence(i), Grants: out[:0]}
		for _, g := range w.grants(buf[:], i) {
			r.Grants = append(r.Grants, rolegate.Grant{OrgID: g.org, RoleCode: roleCodes[g.role]})
		}
		if w.profiles {
			p := w.profile(i)
			r.Account, r.Email, r.Nickname = p.account, p.email, p.nickname
			r.ThirdAccount, r.ThirdUserID, r.ThirdUserName = p.thirdAccount, p.thirdUserID, p.thirdUserName
		}
		yield(r)
	}
	return ctx.Err()
}

var _ rolegate.Source = (*workload)(nil)

// openGate opens a gate that pulls only when it is told to and logs nowhere.
func openGate(source rolegate.Source, edit ...func(*rolegate.Config)) (*rolegate.Gate, error) {
	const never = 1000 * time.Hour
	cfg := rolegate.Config{
		Source:   source,
		Identify: rolegate.ByUserID(sessionUserID),
		Refresh:  rolegate.Refresh{Every: never, ResyncEvery: 2 * never},
		OnDeny:   rolegate.OnDeny{Off: true},
		Logger:   slog.New(slog.DiscardHandler),
	}
	for _, f := range edit {
		f(&cfg)
	}
	return rolegate.Open(context.Background(), cfg)
}

// policy compiles what the guarded route asks for.
func policy(g *rolegate.Gate) *rolegate.Policy {
	return g.Policy(rolegate.AnyRole(roleCodes[teacher], roleCodes[admin]))
}
