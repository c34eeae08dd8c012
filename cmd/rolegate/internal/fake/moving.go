package fake

import (
	"net/http"
	"sync"
	"time"

	"github.com/rolegate/rolegate/rolegatetest"
)

// moving is the marketplace as it is read: with changes before each reply, and
// with another server behind its address that lags.
func moving(m *rolegatetest.Marketplace, cfg Config) http.Handler {
	var happens []rolegatetest.Fault
	if cfg.Writes > 0 {
		happens = append(happens, m.Writes(cfg.Writes, cfg.Seed))
	}
	if cfg.Lag > 0 {
		happens = append(happens, lagging(m, cfg.Lag))
	}
	if len(happens) == 0 {
		return m
	}
	all := rolegatetest.Chain(happens...)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { all(w, r, m) })
}

// lagging answers every second request from the list as it was some time ago.
func lagging(m *rolegatetest.Marketplace, behind time.Duration) rolegatetest.Fault {
	var mu sync.Mutex
	n, old, fresh, taken := 0, m.Backup(), m.Backup(), time.Now()
	return func(w http.ResponseWriter, r *http.Request, normal http.Handler) {
		mu.Lock()
		if now := time.Now(); now.Sub(taken) >= behind {
			old, fresh, taken = fresh, m.Backup(), now
		}
		n++
		late, list := n%2 == 0, old
		mu.Unlock()
		if late {
			rolegatetest.Lagging(list)(w, r, normal)
			return
		}
		normal.ServeHTTP(w, r)
	}
}
