package rolegate

import (
	"time"

	"github.com/rolegate/rolegate/internal/snapshot"
)

// A HoldCause says why removals are held.
type HoldCause string

// The causes of a hold.
const (
	HeldByShrinkGuard HoldCause = HoldCause(snapshot.HeldByShrinkGuard) // too many at once: a second walk must agree
	HeldBySync        HoldCause = HoldCause(snapshot.HeldBySync)        // a sync is running upstream
)

// limits are what bounds the removals of a full refresh.
func (c *settings) limits() snapshot.Limits {
	r := &c.Refresh
	return snapshot.Limits{
		MaxShrink: r.MaxShrink, ConfirmAfter: min(time.Minute, r.ResyncEvery),
		SyncHold: r.SyncHold, ExpireAfter: r.ExpireAfter, ResyncEvery: r.ResyncEvery,
	}
}
