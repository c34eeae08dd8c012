package rediscache

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/rolegate/rolegate"
)

const (
	// blockFor is for how long Redis may keep a call waiting for what is new. It
	// bounds how long it goes unnoticed that what there was is there no more.
	blockFor = 2 * time.Second

	// atOnce is how many entries of the log are read at once.
	atOnce = 16
)

// An entry of the log leads to a version: from another one by a change, or by
// the whole index.
type entry struct {
	to, from version // from is zero if it is by the whole index
	change   string  // sealed
}

func parseEntries(messages []redis.XMessage) ([]entry, error) {
	entries := make([]entry, len(messages))
	for i, m := range messages {
		var err error
		if entries[i], err = parseEntry(m); err != nil {
			return nil, err
		}
	}
	return entries, nil
}

func parseEntry(m redis.XMessage) (e entry, err error) {
	to, ok := parseVersion(m.ID)
	if !ok {
		return entry{}, errForged
	}
	e.to = to
	if from, ok := m.Values["from"].(string); ok {
		if e.from, ok = parseVersion(from); !ok {
			return entry{}, errForged
		}
		e.change, _ = m.Values["change"].(string)
	}
	return e, nil
}

func (e entry) open(g *group) ([]byte, error) {
	packed, err := g.open(changePlace(e.from, e.to), e.change)
	if err != nil {
		return nil, err
	}
	return unpack(packed)
}

// A given is the whole index that was last read to its end by somebody who asked
// for what comes after a version. As long as nothing is newer, he has no use for
// it if he asks again.
type given struct {
	after, newest version
	snap          string
}

// Follow implements [rolegate.SharedCache]. ctx lives until the Whole that it
// returns is closed. A whole index that has been read to its end is not returned
// again for the same after, unless something newer has been published.
func (c *Cache) Follow(ctx context.Context, after rolegate.Version) (rolegate.Update, error) {
	g, err := c.joined()
	if err != nil {
		return rolegate.Update{}, fmt.Errorf("rediscache: follow: %w", err)
	}
	u, err := c.follow(ctx, g, version(after))
	if err != nil {
		return rolegate.Update{}, fmt.Errorf("rediscache: follow: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen = max(c.seen, u.Version.Term)
	return u, nil
}

var errDisagree = errors.New("what Redis has does not fit together: it has lost something, or somebody has changed it; the leader's next whole index will mend it")

func (c *Cache) follow(ctx context.Context, g *group, after version) (rolegate.Update, error) {
	if e, ok := c.nextAhead(after); ok {
		return c.change(g, e)
	}
	var stood version // the newest version, if something came after it
	woken := false
	for {
		p, err := c.peek(ctx, g, after)
		if err != nil {
			return rolegate.Update{}, err
		}
		if leads(p.entries, after) {
			return c.first(g, p.entries)
		}
		if !c.idle(p, after) {
			return c.whole(ctx, g, p, after)
		}
		if woken && p.newest == stood {
			return rolegate.Update{}, errDisagree
		}
		messages, err := c.await(ctx, c.waits[0], g.log(), p.newest.String(), atOnce)
		if err != nil {
			return rolegate.Update{}, err
		}
		entries, err := parseEntries(messages)
		if err != nil {
			return rolegate.Update{}, err
		}
		if leads(entries, after) {
			return c.first(g, entries)
		}
		woken, stood = len(entries) > 0, p.newest
	}
}

// leads reports whether the first of them is the change that follows a version.
func leads(entries []entry, after version) bool {
	return len(entries) > 0 && entries[0].from == after && after != (version{})
}

// first returns the first of them, and keeps the others for the next calls.
func (c *Cache) first(g *group, entries []entry) (rolegate.Update, error) {
	c.mu.Lock()
	c.ahead = entries[1:]
	c.mu.Unlock()
	return c.change(g, entries[0])
}

// nextAhead returns the change that follows a version, if it has been read.
func (c *Cache) nextAhead(after version) (entry, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !leads(c.ahead, after) {
		c.ahead = nil
		return entry{}, false
	}
	e := c.ahead[0]
	c.ahead = c.ahead[1:]
	return e, true
}

func (c *Cache) change(g *group, e entry) (rolegate.Update, error) {
	change, err := e.open(g)
	if err != nil {
		return rolegate.Update{}, fmt.Errorf("the change from %v to %v: %w", e.from, e.to, err)
	}
	return rolegate.Update{Version: rolegate.Version(e.to), Change: change}, nil
}

// A view is what there is after a version.
type view struct {
	raw     string  // what is stored as the newest version
	newest  version // zero if there is none
	ptr     string  // what is stored as the pointer
	snap    pointer // zero if there is none
	err     error   // what is wrong with it
	entries []entry
}

func (c *Cache) peek(ctx context.Context, g *group, after version) (view, error) {
	type replies struct {
		state   []any
		streams []redis.XStream
	}
	r, err := call(ctx, func() (r replies, err error) {
		var state *redis.SliceCmd
		var log *redis.XStreamSliceCmd
		_, err = c.client.Pipelined(ctx, func(p redis.Pipeliner) error {
			state = p.HMGet(ctx, g.state(), "newest", "ptr")
			log = p.XRead(ctx, &redis.XReadArgs{Streams: []string{g.log(), after.String()}, Count: atOnce, Block: -1})
			return nil
		})
		if err != nil && !errors.Is(err, redis.Nil) {
			return r, err
		}
		return replies{state.Val(), log.Val()}, nil
	})
	if err != nil {
		return view{}, err
	}
	s, err := texts(r.state, 2)
	if err != nil {
		return view{}, err
	}
	p := view{raw: s[0], ptr: s[1]}
	if p.raw != "" {
		var ok bool
		if p.newest, ok = parseVersion(p.raw); !ok {
			return view{}, errForged
		}
	}
	p.snap, p.err = g.openPointer(p.ptr)
	for _, stream := range r.streams {
		if p.entries, err = parseEntries(stream.Messages); err != nil {
			return view{}, err
		}
	}
	return p, nil
}

// idle reports whether there is nothing to return.
func (c *Cache) idle(p view, after version) bool {
	c.mu.Lock()
	known := c.given.snap != "" && c.given == given{after, p.newest, p.snap.name}
	c.mu.Unlock()
	return known || len(p.entries) == 0 && (p.newest == after || p.raw == "" && p.ptr == "")
}

// whole returns the newest whole index, since no change leads on.
func (c *Cache) whole(ctx context.Context, g *group, p view, after version) (rolegate.Update, error) {
	switch {
	case p.err != nil:
		return rolegate.Update{}, fmt.Errorf("the whole index: %w", p.err)
	case p.snap == (pointer{}), p.snap.version == after, p.snap.version.compare(p.newest) > 0:
		return rolegate.Update{}, errDisagree
	}
	r := c.open(ctx, g, p.snap)
	r.done = func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.given = given{after, p.newest, p.snap.name}
	}
	return rolegate.Update{Version: rolegate.Version(p.snap.version), Whole: r}, nil
}

// await waits until a stream has entries behind one, for blockFor at most, and
// returns none if there are none by then.
func (c *Cache) await(ctx context.Context, t turn, stream, behind string, n int64) ([]redis.XMessage, error) {
	if err := t.take(ctx); err != nil {
		return nil, err
	}
	block := blockFor
	if end, ok := ctx.Deadline(); ok {
		block = max(time.Millisecond, min(block, time.Until(end)))
	}
	streams, err := call(ctx, func() ([]redis.XStream, error) {
		defer t.give() // not before: there is to be one connection, also if nobody waits for it any more
		return c.client.XRead(ctx, &redis.XReadArgs{Streams: []string{stream, behind}, Count: n, Block: block}).Result()
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, err
	}
	if len(streams) == 0 {
		return nil, nil
	}
	return streams[0].Messages, nil
}
