package daemon

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"reflect"
	"sync"
	"time"

	"github.com/rolegate/rolegate/cmd/rolegate/internal/settings"
)

// use puts next in the place of old.
func (d *daemon) use(old, next *generation) {
	d.setLevel(next.file)
	d.now.Store(next)
	next.gate.routes.set(next)
	d.reloads.succeeded(time.Now())
	d.Logger.Info("the settings file has been read again", "file", d.Path, "new_gate", next.gate != old.gate)
}

// next makes a generation of the settings file. If anything in it is wrong, the
// error says what.
func (d *daemon) next(ctx context.Context, old *generation) (*generation, error) {
	f, err := settings.Load(d.Path)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(d.sameListeners(f), Check(ctx, f)); err != nil {
		return nil, err // before the marketplace is asked for another list
	}
	return d.generation(ctx, f, old)
}

// sameListeners wants the listeners as they were at the start: a changed one
// would have to be opened before the old one can be closed, and what asks it
// would have to be changed in the same moment.
func (d *daemon) sameListeners(f *settings.File) error {
	var errs []error
	was := map[string]section{}
	for _, s := range listeners(d.start) {
		was[s.name] = s
	}
	for _, s := range listeners(f) {
		before, there := was[s.name]
		delete(was, s.name)
		switch {
		case !there:
			errs = append(errs, fmt.Errorf("%s: a listener can only be added by a restart", s.name))
		case before.address != s.address:
			errs = append(errs, fmt.Errorf("%s: the address can only be changed by a restart: it was %s", s.name, before.address))
		case (before.tls == nil) != (s.tls == nil):
			errs = append(errs, fmt.Errorf("%s: tls can only be added or taken away by a restart", s.name))
		}
	}
	for name := range was {
		errs = append(errs, fmt.Errorf("%s: a listener can only be taken away by a restart", name))
	}
	if f.Log.Format != d.start.Log.Format {
		errs = append(errs, errors.New("log.format can only be changed by a restart"))
	}
	return errors.Join(errs...)
}

// A gateKey is what a gate depends on. A gate goes on if it stays the same.
type gateKey struct {
	file    settings.File     // without rules and listeners
	aliases map[uint8]bool    // kinds that AuthZEN asks about
	secrets [sha256.Size]byte // of those that are read once
	roles   map[string]bool   // that the rules name
}

func keyOf(f *settings.File) gateKey {
	k := gateKey{file: *f, aliases: map[uint8]bool{}, roles: map[string]bool{}}
	k.file.ForwardAuth, k.file.AuthZEN, k.file.Admin, k.file.Control, k.file.Drain, k.file.Log = nil, nil, nil, "", 0, settings.Log{}
	if f.AuthZEN != nil {
		for _, kind := range f.AuthZEN.Subjects {
			k.aliases[uint8(kind)] = true
		}
	}
	for _, code := range f.Roles() {
		k.roles[code] = true
	}
	hash := sha256.New()
	for _, s := range f.GateSecrets() {
		text, err := s.Read()
		if err != nil {
			text = err.Error() // as it never was: making the gate says what is wrong
		}
		fmt.Fprintf(hash, "%d:%s,", len(text), text)
	}
	for _, name := range f.GateFiles() {
		text, err := os.ReadFile(name)
		fmt.Fprintf(hash, "%d:%s,%v", len(text), text, err != nil)
	}
	hash.Sum(k.secrets[:0])
	return k
}

// reuses reports whether a gate with the key old can go on. One whose rules have
// named roles that are named no more cannot: it would warn of them for ever.
func (k gateKey) reuses(old gateKey) bool {
	for code := range old.roles {
		if !k.roles[code] {
			return false
		}
	}
	return k.secrets == old.secrets && reflect.DeepEqual(k.file, old.file) && reflect.DeepEqual(k.aliases, old.aliases)
}

// reloads remembers how the file was read.
type reloads struct {
	mu   sync.Mutex
	ok   bool
	last time.Time // that it was read well
}

func (r *reloads) succeeded(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ok, r.last = true, now
}

func (r *reloads) failed() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ok = false
}

func (r *reloads) get() (ok bool, last time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ok, r.last
}
