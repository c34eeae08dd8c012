package refresh

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/rolegate/rolegate/internal/clock"
	"github.com/rolegate/rolegate/internal/index"
	"github.com/rolegate/rolegate/internal/panics"
	"github.com/rolegate/rolegate/internal/typo"
)

// An UnassignedConfig is the configuration of [Unassigned].
type UnassignedConfig struct {
	Tasks *Tasks
	Clock func() clock.Instant
	Log   *slog.Logger
	Roles *index.RoleSpace
	Now   func() *index.Snapshot // that of the moment, nil without a list

	// Fetch fetches the role codes that the platform knows; nil if none can.
	Fetch func(context.Context) ([]string, error)
}

// An UnassignedRole is a role code that a check names and nobody has.
type UnassignedRole struct {
	Code    string
	Nearest string // the code most like it that somebody has or the platform knows, "" if none is
	Known   bool   // to the platform
}

// Unassigned finds role codes that checks name and nobody has, which mostly are
// typos, and logs them. Make it with [NewUnassigned].
type Unassigned struct {
	cfg UnassignedConfig

	naming   chan struct{} // held (it has room for one) while they are logged
	fetching chan struct{} // likewise while Fetch runs

	mu       sync.Mutex
	platform []string      // what Fetch has returned
	fetched  clock.Instant // when it was last called, if it was
	called   bool
}

// NewUnassigned returns one that has not fetched anything yet.
func NewUnassigned(cfg UnassignedConfig) *Unassigned {
	return &Unassigned{cfg: cfg, naming: make(chan struct{}, 1), fetching: make(chan struct{}, 1)}
}

// List returns those that nobody in the snapshot has, by code.
func (u *Unassigned) List(s *index.Snapshot) []UnassignedRole {
	platform := u.platformRoles()
	var roles []UnassignedRole
	for _, code := range u.cfg.Roles.NamedCodes() {
		if s.Assigns(code) {
			continue
		}
		role := UnassignedRole{Code: code, Known: slices.Contains(platform, code)}
		if !role.Known {
			role.Nearest = typo.Nearest(code, slices.Values(slices.Concat(platform, s.AssignedCodes())))
		}
		roles = append(roles, role)
	}
	return roles
}

// namedWait is how long the log waits for an app to name all its roles.
const namedWait = time.Second

// Watch warns of codes that are named while there is a list, until the tasks end:
// an app makes its guards after the first full refresh.
func (u *Unassigned) Watch() {
	timer := time.NewTimer(namedWait)
	defer timer.Stop()
	for {
		select {
		case <-u.cfg.Tasks.Context().Done():
			return
		case <-u.cfg.Roles.NewNames():
		}
		timer.Reset(namedWait)
		select {
		case <-u.cfg.Tasks.Context().Done():
			return
		case <-timer.C:
		}
		select {
		case <-u.cfg.Roles.NewNames(): // for those, now is late enough
		default:
		}
		if s := u.cfg.Now(); s != nil {
			u.Warn(s)
		}
	}
}

// Warn logs each such code once, after a full refresh or when it was named. It
// fetches the platform's roles first, at most once an hour. A call that comes
// meanwhile waits for them: without, all that the platform knows would look like
// typos.
func (u *Unassigned) Warn(s *index.Snapshot) {
	if len(u.List(s)) == 0 {
		return
	}
	select {
	case u.naming <- struct{}{}:
		defer func() { <-u.naming }()
	case <-u.cfg.Tasks.Context().Done():
		return
	}
	u.fetchPlatformRoles()
	for _, role := range u.List(s) {
		switch {
		case !u.cfg.Roles.FirstReport(role.Code):
		case role.Known:
			u.cfg.Log.Info("rolegate: a check names a role that nobody holds yet", "role", role.Code)
		default:
			near := slog.String("nearest", role.Nearest)
			if role.Nearest == "" { // perhaps a role's name in place of its code
				codes := slices.Sorted(slices.Values(s.AssignedCodes()))
				near = slog.Any("codes", codes[:min(len(codes), mostCodes)])
			}
			u.cfg.Log.Warn("rolegate: a check names a role that nobody holds: is it a typo?", "role", role.Code, near)
		}
	}
}

// mostCodes is how many of the codes that somebody has the log names, where none is
// like the one that nobody has.
const mostCodes = 10

// fetchTimeout bounds one call of Fetch.
const fetchTimeout = 15 * time.Second

func (u *Unassigned) fetchPlatformRoles() {
	now := u.cfg.Clock()
	u.mu.Lock()
	due := u.cfg.Fetch != nil && (!u.called || u.fetched.Age(now) >= time.Hour)
	if due {
		u.called, u.fetched = true, now
	}
	u.mu.Unlock()
	if !due {
		return
	}
	ctx, cancel := context.WithTimeout(u.cfg.Tasks.Context(), fetchTimeout)
	defer cancel()
	codes, err := u.fetch(ctx)
	if err != nil {
		u.cfg.Log.Warn("rolegate: the platform's role codes could not be had", "err", err)
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.platform = slices.Clone(codes)
}

// fetch calls Fetch in a goroutine: one that does not heed its ctx is left behind,
// for refreshes must go on. There is never more than one.
func (u *Unassigned) fetch(ctx context.Context) (codes []string, err error) {
	select {
	case u.fetching <- struct{}{}:
	default:
		return nil, errors.New("Config.RoleCodes has not returned since it was called last")
	}
	type answer struct {
		codes []string
		err   error
	}
	answered := make(chan answer, 1)
	if !u.cfg.Tasks.Go(func() {
		var a answer
		a.err = panics.Call("Config.RoleCodes", func() (err error) {
			a.codes, err = u.cfg.Fetch(ctx)
			return err
		})
		<-u.fetching
		answered <- a
	}) {
		<-u.fetching
		return nil, ErrEnded
	}
	select {
	case a := <-answered:
		return a.codes, a.err
	case <-ctx.Done():
		return nil, fmt.Errorf("Config.RoleCodes did not answer: %w", context.Cause(ctx))
	}
}

func (u *Unassigned) platformRoles() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.platform
}
