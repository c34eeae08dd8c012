package rediscache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/rolegate/rolegate"
)

const (
	// A change goes into the log if it has at most so many bytes, or a quarter
	// of those of the whole index.
	maxChange   = 256 << 10
	changeShare = 4

	// The log is cut short, and a new whole index written, when it has more
	// than so many bytes of changes, or more than the whole index has, or more
	// than so many changes.
	maxLogBytes   = 1 << 20
	maxLogEntries = 5000

	// keepEntries is how many changes stay before a new whole index, for those
	// who are about to read them.
	keepEntries = 32

	// keepOld is for how long a whole index may still be read when there is a
	// newer one; keepUnfinished, for how long one lasts whose writer says no
	// more.
	keepOld        = 10 * time.Minute
	keepUnfinished = 2 * time.Minute
)

// Publish implements [rolegate.SharedCache]. Numbers may be left out: one whose
// publishing ended with an error is not used again.
func (c *Cache) Publish(ctx context.Context, term uint64, from rolegate.Version, p rolegate.Publication) (rolegate.Version, error) {
	g, err := c.joined()
	if err != nil {
		return rolegate.Version{}, fmt.Errorf("rediscache: publish: %w", err)
	}
	if err := c.writes.take(ctx); err != nil {
		return rolegate.Version{}, fmt.Errorf("rediscache: publish: %w", err)
	}
	defer c.writes.give()
	to, err := c.publish(ctx, g, term, version(from), p)
	if err != nil {
		return rolegate.Version{}, fmt.Errorf("rediscache: publish: %w", err)
	}
	return rolegate.Version(to), nil
}

func (c *Cache) publish(ctx context.Context, g *group, term uint64, from version, p rolegate.Publication) (version, error) {
	to, snap, err := c.number(term)
	if err != nil {
		return version{}, err
	}
	if from != (version{}) && snap.name != "" && uint64(len(p.Change)) <= max(maxChange, snap.size/changeShare) {
		switch r, err := c.publishChange(ctx, g, from, to, snap, p.Change); {
		case err != nil:
			return version{}, err
		case r != nil && (r.bytes > max(maxLogBytes, snap.size) || r.changes > maxLogEntries):
			// The change is out. If the whole index does not come after it, that
			// must not go unheard, or the log would grow without end.
			if err := c.publishWhole(ctx, g, to, true, p.Whole); err != nil {
				return version{}, fmt.Errorf("the change is published, but the whole index is not: %w", err)
			}
			return to, nil
		case r != nil:
			return to, nil
		}
	}
	if err := c.publishWhole(ctx, g, to, false, p.Whole); err != nil {
		return version{}, err
	}
	return to, nil
}

// number returns the next version of the term, and the newest whole index.
func (c *Cache) number(term uint64) (version, pointer, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if term == 0 || c.term != term {
		return version{}, pointer{}, rolegate.ErrNotLeader
	}
	c.tried++
	return version{term, c.tried}, c.snap, nil
}

// A logged says how long the log is.
type logged struct{ bytes, changes uint64 }

// publishChange returns nil if the change is of no use, and the whole index is
// needed instead.
func (c *Cache) publishChange(ctx context.Context, g *group, from, to version, snap pointer, change []byte) (*logged, error) {
	r, err := c.run(ctx, publish, 1, []string{g.state(), g.log(), g.snap(snap.name)},
		g.token, to.Term, from.String(), to.String(), g.seal(changePlace(from, to), pack(change)), len(change), random(), snap.name, keep.Milliseconds())
	switch {
	case err != nil:
		return nil, err
	case r[0] == "lost":
		return nil, rolegate.ErrNotLeader
	case r[0] == "whole":
		return nil, nil
	case len(r) < 3:
		return nil, errors.New("less of an answer than expected")
	}
	l := &logged{}
	l.bytes, _ = parseNumber(r[1])
	l.changes, _ = parseNumber(r[2])
	return l, nil
}

// publishWhole writes the whole index. If the change that leads to the version
// is published already, those who follow do not need it; if not, it is the only
// way there.
func (c *Cache) publishWhole(ctx context.Context, g *group, to version, changed bool, write func(io.Writer) error) error {
	if write == nil {
		return errors.New("the whole index is needed, and there is no Whole in the Publication")
	}
	s, err := c.look(ctx, g, false, 0)
	if err != nil {
		return err
	}
	if !s.mine || s.term != to.Term {
		return rolegate.ErrNotLeader
	}
	p, err := c.writeSnapshot(ctx, g, to, write)
	if err != nil {
		return fmt.Errorf("the whole index: %w", err)
	}
	var notice []byte
	forget := version{to.Term, to.Number - min(to.Number, keepEntries)}
	if !changed {
		notice = g.seal(wholePlace(to), nil)
	} else {
		s.newest = to.String()
	}
	old := s.snap.name
	keys := []string{g.state(), g.log(), g.snap(p.name), g.snap(old)}
	answer, err := call(ctx, func() (string, error) {
		return commit.Run(ctx, c.client, keys,
			g.token, to.Term, s.newest, to.String(), g.seal(pointerPlace, []byte(p.String())), notice, random(), p.name,
			strconv.Itoa(p.chunks), old, keep.Milliseconds(), keepOld.Milliseconds(), forget.String()).Text()
	})
	switch {
	case err != nil:
		return err
	case answer == "lost":
		return rolegate.ErrNotLeader
	case answer != "done":
		return fmt.Errorf("somebody else has changed what this replica was about to: %s", answer)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.snap = p
	return nil
}
