package rediscache

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/rolegate/rolegate"
)

// keep is for how long what is stored outlives its last leader.
const keep = 7 * 24 * time.Hour

// A term is chosen this many bits at random above the last: after a failover
// that has lost a lease, the next one is not taken for the one that was lost.
const termStep = 1 << 20

// maxTerm is never reached: 2^42 leases come before.
const maxTerm = 1 << 62

// A standing is how the lease stood when Redis was asked.
type standing struct {
	live    bool // somebody holds it
	mine    bool // this replica
	renewed bool
	left    time.Duration
	raw     string // what is stored as the term
	term    uint64 // 0 if it has no seal
	newest  string
	snap    pointer // zero if there is none, or none that is authentic
}

// Lease implements [rolegate.SharedCache]. Every replica that knows of a higher
// term than Redis does raises it there, also if it does not want to lead.
//
// A term that is forged, or made with another Secret, is told as 0. Its lease,
// unless it is this replica's, holds for as long as it can last, which is a
// minute at most: or else two groups of replicas, while the Secret is being
// changed, would take it from each other all the time.
func (c *Cache) Lease(ctx context.Context, want bool, above uint64) (rolegate.Lease, error) {
	g, err := c.joined()
	if err != nil {
		return rolegate.Lease{}, fmt.Errorf("rediscache: lease: %w", err)
	}
	l, err := c.acquire(ctx, g, want, above)
	if err != nil {
		return rolegate.Lease{}, fmt.Errorf("rediscache: lease: %w", err)
	}
	return l, nil
}

func (c *Cache) acquire(ctx context.Context, g *group, want bool, above uint64) (rolegate.Lease, error) {
	if above > maxTerm {
		return rolegate.Lease{}, fmt.Errorf("no term is above %d", above)
	}
	if err := c.leases.take(ctx); err != nil {
		return rolegate.Lease{}, err
	}
	defer c.leases.give()
	for range 4 { // each time, another replica has been faster
		s, err := c.look(ctx, g, want, above)
		if err != nil {
			return rolegate.Lease{}, err
		}
		void := s.term > 0 && s.term < above || s.mine && s.term < c.lastTerm()
		free := void || !s.live
		switch {
		case want && free:
			step := 1 + rand.Uint64N(termStep)
			err = c.begin(ctx, g, s, max(s.term, above)+step, g.token)
		case above > s.term && free:
			err = c.begin(ctx, g, s, above, "")
		case want && s.mine && !s.renewed:
			// A call that this replica had given up has acquired it since.
			c.setTerm(s.term)
		default:
			return s.lease(void), nil
		}
		if err != nil {
			return rolegate.Lease{}, err
		}
	}
	return rolegate.Lease{}, errors.New("other replicas change it all the time")
}

func (s standing) lease(void bool) rolegate.Lease {
	l := rolegate.Lease{Taken: s.live && !void, Term: s.term}
	if v, ok := parseVersion(s.newest); ok {
		l.Newest = rolegate.Version(v)
	}
	if s.mine && !void {
		l.Held, l.For = true, s.left
	}
	return l
}

// look asks how things stand, and renews the lease if this replica is to, and
// may, hold it longer.
func (c *Cache) look(ctx context.Context, g *group, renew bool, above uint64) (standing, error) {
	c.mu.Lock()
	snap := g.state()
	var term string
	var proof []byte
	if renew && c.term > 0 && c.term >= above {
		term, proof = fmt.Sprint(c.term), g.seal(termPlace(c.term), nil)
	}
	if c.snap.name != "" {
		snap = g.snap(c.snap.name)
	}
	c.mu.Unlock()
	r, err := c.run(ctx, look, 9, []string{g.state(), g.log(), g.asks(), snap}, g.token, term, proof, c.lease.Milliseconds(), keep.Milliseconds())
	if err != nil {
		return standing{}, err
	}
	s := standing{live: r[0] == "1", mine: r[1] == "1", renewed: r[2] == "1", raw: r[4], term: g.openTerm(r[4], r[5]), newest: r[6]}
	left, _ := parseNumber(r[3])
	s.left = time.Duration(left) * time.Millisecond
	if p, err := g.openPointer(r[7]); err == nil && p.name == r[8] {
		s.snap = p
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.snap = s.snap
	c.seen = max(c.seen, s.term)
	return s, nil
}

// begin begins a term, for this replica or for nobody.
func (c *Cache) begin(ctx context.Context, g *group, was standing, term uint64, token string) error {
	if token != "" {
		c.setTerm(term) // before it is: the answer may be lost
	}
	_, err := call(ctx, func() (any, error) {
		return take.Run(ctx, c.client, []string{g.state(), g.log(), g.asks()},
			was.raw, term, g.seal(termPlace(term), nil), token, c.lease.Milliseconds(), keep.Milliseconds()).Result()
	})
	return err
}

// lastTerm is the last that was, or may have been, this replica's. An earlier
// one that Redis still has, or has again, is not gone on with: its numbers
// would be used twice. Nor is one that somebody has forged.
func (c *Cache) lastTerm() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.term
}

func (c *Cache) setTerm(term uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.term != term {
		c.term, c.tried = term, 0
	}
}

// Release implements [rolegate.SharedCache].
func (c *Cache) Release(ctx context.Context) error {
	g, err := c.joined()
	if err == nil {
		_, err = call(ctx, func() (any, error) {
			return release.Run(ctx, c.client, []string{g.state()}, g.token).Result()
		})
	}
	if err != nil {
		return fmt.Errorf("rediscache: release: %w", err)
	}
	return nil
}
