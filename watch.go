package rolegate

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/rolegate/rolegate/internal/policy"
	"github.com/rolegate/rolegate/internal/snapshot"
)

// ErrRevoked is the cause (context.Cause) with which a guard with [EndOnRevoke]
// ends a request whose user has lost the access that it was admitted with,
// or that outlives the list or the gate.
var ErrRevoked = errors.New("rolegate: the access was revoked")

// A watch is one request that ends when its access does.
type watch struct {
	policy *Policy
	id     Identity // as which the user was admitted; whose it is may change
	user   int64
	org    int64
	passed uint64 // the Wheres that held
	cancel context.CancelCauseFunc
}

// watches are the requests under way that want to be ended.
type watches struct {
	store *store

	mu     sync.Mutex
	all    map[*watch]struct{}
	expiry *time.Timer
	ending bool // EndStreams was called
}

// holdsStill decides about a watch by a generation.
func (w *watch) holdsStill(gen *snapshot.Generation) bool {
	at, reason := lookUp(gen, w.policy.store.cfg.indexed, w.id)
	if reason != ReasonGranted || gen.ID(at) != w.user {
		return false
	}
	if gen.Held != nil && gen.KnownFor(w.user).Age(w.policy.store.clock()) > w.policy.store.cfg.Refresh.ExpireAfter {
		return false
	}
	if w.policy.shadow {
		return true // it would be let pass
	}
	user := User{s: gen.Snapshot, at: at}
	verdict, _ := w.policy.program.Run(user.subject(), w.org, func(i int) bool { return w.passed&(1<<i) != 0 })
	return verdict == policy.Passes
}

// begin returns a context that ends with the access. The watch must be ended
// when the request is over.
func (ws *watches) begin(p *Policy, id Identity, d *Decision, ctx context.Context) (*watch, context.Context) {
	ended, cancel := context.WithCancelCause(ctx)
	w := &watch{policy: p, id: id, user: d.User.ID(), org: d.Org, passed: d.conditions, cancel: cancel}
	ws.mu.Lock()
	if ws.all == nil {
		ws.all = map[*watch]struct{}{}
	}
	ws.all[w] = struct{}{}
	ws.arm()
	if ws.ending {
		cancel(http.ErrServerClosed)
	}
	ws.mu.Unlock()
	// A list may have been published between the decision and the registration.
	if gen, _, reason := ws.store.current(); reason != ReasonGranted || !w.holdsStill(gen) {
		cancel(ErrRevoked)
	}
	return w, ended
}

// end takes the watch away and ends its context. Ending again is harmless.
func (w *watch) end() {
	ws := w.policy.gate.watches
	ws.mu.Lock()
	delete(ws.all, w)
	if len(ws.all) == 0 && ws.expiry != nil {
		ws.expiry.Stop()
		ws.expiry = nil
	}
	ws.mu.Unlock()
	w.cancel(nil)
}

// EndStreams ends the requests under way that have [EndOnRevoke], and from now on
// each as it begins; the cause is [http.ErrServerClosed]. Everything else is decided
// as before. It is for http.Server.RegisterOnShutdown: without it, Shutdown waits for
// event streams until its context ends, and leaves WebSockets open. It does not
// block, and calling it again is harmless.
func (g *Gate) EndStreams() {
	if g == nil || g.watches == nil {
		return
	}
	ws := g.watches
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.ending = true
	for w := range ws.all {
		w.cancel(http.ErrServerClosed)
	}
}

// arm sets the timer that ends everything when the list expires. It looks once
// a minute, since no timer counts the time that a machine sleeps. It needs mu.
func (ws *watches) arm() {
	if ws.expiry != nil || len(ws.all) == 0 {
		return
	}
	gen := ws.store.now.Load()
	if gen == nil {
		return
	}
	left := ws.store.cfg.Refresh.ExpireAfter - gen.Refreshed.Age(ws.store.clock())
	ws.expiry = time.AfterFunc(min(max(left, 0), time.Minute)+time.Millisecond, func() { ws.check() })
}

// check ends the watches whose access is gone. It is called after each publish,
// on expiry, and by Close.
func (ws *watches) check() {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	gen, _, reason := ws.store.current()
	for w := range ws.all {
		if reason != ReasonGranted || !w.holdsStill(gen) {
			w.cancel(ErrRevoked)
		}
	}
	if ws.expiry != nil {
		ws.expiry.Stop()
		ws.expiry = nil
	}
	if reason == ReasonGranted {
		ws.arm()
	}
}
