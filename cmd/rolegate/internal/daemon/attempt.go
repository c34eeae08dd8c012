package daemon

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/cmd/rolegate/internal/settings"
)

// Why an attempt to read the settings again was given up.
var (
	errNewer        = errors.New("given up for a newer reload")
	errNobodyWaits  = errors.New("given up, since nobody waits for it any more")
	errShuttingDown = errors.New("the server is shutting down")
)

// givenUp reports whether an attempt was given up, which says nothing about the
// settings.
func givenUp(err error) bool {
	return errors.Is(err, errNewer) || errors.Is(err, errNobodyWaits) || errors.Is(err, errShuttingDown)
}

// A reloadAsk is somebody who wants the settings file read again.
type reloadAsk struct {
	ctx    context.Context // ends when who asked goes away
	answer chan<- reloaded // has room for one; nil for one who does not wait
}

// A reloaded is what has become of it.
type reloaded struct {
	unassigned []rolegate.UnassignedRole
	err        error
}

// An attempt makes a generation of the settings file, which may have to wait for
// its first list.
type attempt struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	of     [sha256.Size]byte // what it was made of
	old    *generation
	done   chan struct{} // closed when next and err are there
	next   *generation
	err    error

	mu   sync.Mutex
	asks []reloadAsk
	here int // of those, who have not gone away
}

// ask has the file read again for a. An attempt that is under way is given up for
// it. Whoever waits for that one waits for the new one, if the settings are the
// very same, or else is told.
func (d *daemon) ask(ctx context.Context, under *attempt, a reloadAsk) *attempt {
	next := &attempt{of: d.fingerprint(), done: make(chan struct{})}
	next.ctx, next.cancel = context.WithCancelCause(ctx)
	asks := []reloadAsk{a}
	if under != nil {
		under.cancel(errNewer)
		<-under.done
		if under.of == next.of && errors.Is(under.err, errNewer) {
			asks = append(asks, under.leave()...)
		}
		d.finish(ctx, under)
	}
	next.join(asks...)
	d.Notify("RELOADING=1")
	next.old = d.now.Load()
	go func() {
		defer close(next.done)
		next.next, next.err = d.next(next.ctx, next.old)
		if next.err != nil && errors.Is(next.err, context.Canceled) && next.ctx.Err() != nil {
			next.err = context.Cause(next.ctx)
		}
	}()
	return next
}

// join has them wait for the attempt, which is given up when all have gone. It is
// called once: with one after the other, a first who has gone would end it for
// the second.
func (t *attempt) join(asks ...reloadAsk) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.asks, t.here = asks, len(asks)
	for _, a := range asks {
		context.AfterFunc(a.ctx, func() {
			t.mu.Lock()
			defer t.mu.Unlock()
			if t.here--; t.here == 0 {
				t.cancel(errNobodyWaits)
			}
		})
	}
}

// leave has nobody wait any more, and returns who did.
func (t *attempt) leave() []reloadAsk {
	t.mu.Lock()
	defer t.mu.Unlock()
	asks := t.asks
	t.asks = nil
	return asks
}

// finish takes what an attempt that is done has made, and tells whoever waits.
func (d *daemon) finish(ctx context.Context, t *attempt) {
	if t.err != nil && ctx.Err() != nil {
		t.err = errShuttingDown
	} else if givenUp(t.err) { // the library says besides what it lacks
		t.err = context.Cause(t.ctx)
	}
	t.cancel(nil)
	told := reloaded{err: t.err}
	if t.err == nil {
		d.use(t.old, t.next)
		told.unassigned = t.next.gate.Status().UnassignedRoles
	} else {
		d.reloads.failed()
		if givenUp(t.err) {
			d.Logger.Warn("the new settings are not used: the old settings go on", "file", d.Path, "err", t.err)
		} else {
			d.Logger.Error("the settings file is refused: the old settings go on", "file", d.Path, "err", t.err)
		}
	}
	for _, a := range t.leave() {
		if a.answer != nil {
			a.answer <- told
		}
	}
	if t.err == nil {
		d.ends.Go(func() { t.old.end(d.over, t.next, d.Logger) })
	}
	d.Notify("READY=1")
}

// fingerprint is that of the settings file and of the files and variables that
// it names and that are read once.
func (d *daemon) fingerprint() (sum [sha256.Size]byte) {
	hash := sha256.New()
	add := func(data []byte, err error) { fmt.Fprintf(hash, "%d:%s,%v,", len(data), data, err) }
	add(os.ReadFile(d.Path))
	if f, err := settings.Load(d.Path); err == nil {
		for _, s := range f.Secrets() {
			text, err := s.Read()
			add([]byte(text), err)
		}
		for _, s := range listeners(f) {
			if s.tls != nil {
				add(os.ReadFile(s.tls.Certificate))
				add(os.ReadFile(s.tls.Key))
			}
		}
	}
	hash.Sum(sum[:0])
	return sum
}
