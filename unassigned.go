package rolegate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rolegate/rolegate/internal/clock"
	"github.com/rolegate/rolegate/internal/index"
	"github.com/rolegate/rolegate/internal/panics"
	"github.com/rolegate/rolegate/internal/typo"
)

// This file finds role codes that checks name and nobody has: mostly typos.

// An UnheldRole is a role code that a check names and no listed user holds, nor
// a role that includes it.
type UnassignedRole struct {
	Code string `json:"code"`

	// Nearest is the code most like it that somebody holds or the platform
	// knows, "" if none is like it.
	Nearest string `json:"nearest,omitempty"`

	// Known says that the platform knows the code (see Config.RoleCodes): then
	// it is no typo, only that nobody has it yet.
	Known bool `json:"known"`
}

// unheldRoles finds the codes that checks name and nobody holds, and logs them.
type unheldRoles struct {
	*store
	f *refresher // which runs what is asked of the platform

	naming chan struct{} // held (it has room for one) while they are logged
	asking chan struct{} // likewise while Config.RoleCodes is asked

	mu       sync.Mutex
	platform []string      // what Config.RoleCodes said
	fetched  clock.Instant // when it was asked, if asked
	asked    bool
}

func newUnheldRoles(f *refresher) *unheldRoles {
	return &unheldRoles{store: f.store, f: f, naming: make(chan struct{}, 1), asking: make(chan struct{}, 1)}
}

// list returns those that nobody in the snapshot holds, by code.
func (u *unheldRoles) list(s *index.Snapshot) []UnassignedRole {
	codes := u.roles.NamedCodes()
	platform := u.platformRoles()
	var unheld []UnassignedRole
	for _, code := range codes {
		if s.Assigns(code) {
			continue
		}
		role := UnassignedRole{Code: code, Known: slices.Contains(platform, code)}
		if !role.Known {
			role.Nearest = typo.Nearest(code, slices.Values(slices.Concat(platform, s.AssignedCodes())))
		}
		unheld = append(unheld, role)
	}
	return unheld
}

// namedWait is how long the log waits for an app to name all its roles.
const namedWait = time.Second

// watch warns of codes that are named while there is a list: an app makes its
// guards when Open has returned, after the first walk.
func (u *unheldRoles) watch() {
	timer := time.NewTimer(namedWait)
	defer timer.Stop()
	for {
		select {
		case <-u.f.tasks.Context().Done():
			return
		case <-u.roles.NewNames():
		}
		timer.Reset(namedWait)
		select {
		case <-u.f.tasks.Context().Done():
			return
		case <-timer.C:
		}
		select {
		case <-u.roles.NewNames(): // for those, now is late enough
		default:
		}
		if gen := u.now.Load(); gen != nil {
			u.warn(gen.Snapshot)
		}
	}
}

// warn logs each such code once, after a full refresh or when it was named. It asks
// the platform for its roles first, at most once an hour. Who comes while it is
// asked waits for its answer: without, all that it knows would look like typos.
func (u *unheldRoles) warn(s *index.Snapshot) {
	if len(u.list(s)) == 0 {
		return
	}
	select {
	case u.naming <- struct{}{}:
		defer func() { <-u.naming }()
	case <-u.f.tasks.Context().Done():
		return
	}
	u.fetchPlatformRoles()
	for _, role := range u.list(s) {
		switch {
		case !u.roles.FirstReport(role.Code):
		case role.Known:
			u.log.Info("rolegate: a check names a role that nobody holds yet", "role", role.Code)
		default:
			u.log.Warn("rolegate: a check names a role that nobody holds: is it a typo?", "role", role.Code, "nearest", role.Nearest)
		}
	}
}

// roleCodesTimeout bounds one call of Config.RoleCodes.
const roleCodesTimeout = 15 * time.Second

func (u *unheldRoles) fetchPlatformRoles() {
	fetch := u.cfg.RoleCodes
	now := u.clock()
	u.mu.Lock()
	due := fetch != nil && (!u.asked || u.fetched.Age(now) >= time.Hour)
	if due {
		u.asked, u.fetched = true, now
	}
	u.mu.Unlock()
	if !due {
		return
	}
	ctx, cancel := context.WithTimeout(u.f.tasks.Context(), roleCodesTimeout)
	defer cancel()
	codes, err := u.ask(ctx, fetch)
	if err != nil {
		u.log.Warn("rolegate: the platform's role codes could not be had", "err", err)
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.platform = slices.Clone(codes)
}

// ask asks in a goroutine: one that does not heed its ctx is left behind, for
// refreshes must go on. There is never more than one.
func (u *unheldRoles) ask(ctx context.Context, fetch func(context.Context) ([]string, error)) (codes []string, err error) {
	select {
	case u.asking <- struct{}{}:
	default:
		return nil, errors.New("Config.RoleCodes has not returned since it was asked last")
	}
	type answer struct {
		codes []string
		err   error
	}
	answered := make(chan answer, 1)
	if !u.f.tasks.Go(func() {
		var a answer
		a.err = panics.Call("Config.RoleCodes", func() (err error) {
			a.codes, err = fetch(ctx)
			return err
		})
		<-u.asking
		answered <- a
	}) {
		<-u.asking
		return nil, ErrClosed
	}
	select {
	case a := <-answered:
		return a.codes, a.err
	case <-ctx.Done():
		return nil, fmt.Errorf("Config.RoleCodes did not answer: %w", context.Cause(ctx))
	}
}

func (u *unheldRoles) platformRoles() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.platform
}
