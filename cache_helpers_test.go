package rolegate_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rolegatetest"
)

// A memoryCache is a Cache without a disk. load and store, if they are set, come
// before it.
type memoryCache struct {
	mu     sync.Mutex
	data   []byte // nil is nothing
	loads  int
	stores int
	load   func(context.Context) (io.ReadCloser, error)
	store  func(context.Context, func(io.Writer) error) error
}

func (c *memoryCache) Load(ctx context.Context) (io.ReadCloser, error) {
	c.mu.Lock()
	c.loads++
	load := c.load
	data := c.data
	c.mu.Unlock()
	if load != nil {
		return load(ctx)
	}
	if data == nil {
		return nil, fs.ErrNotExist
	}
	return io.NopCloser(bytes.NewReader(data)), nil
}

func (c *memoryCache) Store(ctx context.Context, write func(io.Writer) error) error {
	c.mu.Lock()
	c.stores++
	store := c.store
	c.mu.Unlock()
	if store != nil {
		return store(ctx, write)
	}
	return c.keep(write)
}

func (c *memoryCache) keep(write func(io.Writer) error) error {
	var b bytes.Buffer
	if err := write(&b); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.data = b.Bytes()
	return nil
}

func (c *memoryCache) set(change func(*memoryCache)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(c)
}

// stored is what the cache has, and how many times it was given something.
func (c *memoryCache) stored() (data []byte, times int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.data, c.stores
}

// another is a cache of its own with the same content.
func (c *memoryCache) another() *memoryCache {
	data, _ := c.stored()
	return &memoryCache{data: slices.Clone(data)}
}

var errAway = errors.New("the marketplace is away")

// away is a source that never answers.
func away() *rolegatetest.Static {
	s := rolegatetest.NewStatic()
	s.Fail(errAway)
	return s
}

// storedBy opens a gate, closes it, and returns what it has stored.
func storedBy(t testing.TB, cfg rolegate.Config) *memoryCache {
	t.Helper()
	cache := &memoryCache{}
	cfg.Cache = cache
	gate, err := rolegate.Open(t.Context(), quiet(cfg))
	require.NoError(t, err)
	require.NoError(t, gate.Close())
	data, _ := cache.stored()
	require.NotEmpty(t, data)
	return cache
}

// sayings is all that a gate says of these records' users, by each identity, and
// of itself as far as a restart must not change it.
func sayings(t testing.TB, gate *rolegate.Gate, records []rolegate.Record) string {
	t.Helper()
	var b strings.Builder
	said := func(id rolegate.Identity) {
		d := gate.Decide(t.Context(), id)
		u := d.User
		fmt.Fprintf(&b, "%d %v %v %d %v %q %q %q %q %q %q\n", id.Kind(), d.Reason, d.Held, u.ID(), u.Grants(),
			u.Account(), u.Email(), u.ThirdAccount(), u.ThirdUserID(), u.Nickname(), u.ThirdUserName())
	}
	for i, r := range records {
		if every := len(records)/2000 + 1; i%every > 0 { // formatting takes its time
			d := gate.Decide(t.Context(), rolegate.UserID(r.UserID))
			b.WriteString(d.Reason.String() + d.User.Nickname())
			for _, g := range d.User.Grants() {
				b.WriteString(g.RoleCode)
			}
			continue
		}
		said(rolegate.UserID(r.UserID))
		said(identityOf(rolegate.KindAccount, r.Account))
		said(identityOf(rolegate.KindEmail, r.Email))
		said(identityOf(rolegate.KindThirdAccount, r.ThirdAccount))
		said(identityOf(rolegate.KindThirdUserID, r.ThirdUserID))
	}
	s := gate.Status()
	fmt.Fprintln(&b, s.Users, s.Grants, s.Cursor, s.Contact.UnixNano(), s.Verified.UnixNano(), s.Held.Users, s.Held.Cause, s.Held.Since.UnixNano(), s.Ambiguous)
	return b.String()
}

// requireSame restarts a gate that serves by itself, with its source away, and
// compares what both say. It wants a bubble: a full refresh of a long list takes
// a slow machine so long that an incremental one follows.
func requireSame(t *testing.T, cfg rolegate.Config, records []rolegate.Record) {
	t.Helper()
	cache := &memoryCache{}
	cfg.Cache = cache
	first, err := rolegate.Open(t.Context(), quiet(cfg))
	require.NoError(t, err)
	before := sayings(t, first, records)
	require.NoError(t, first.Close())
	cfg.Source = away()
	second := openGate(t, cfg)
	require.True(t, second.Status().Cache.Loaded, second.Status().Cache.Error)
	if after := sayings(t, second, records); before != after {
		require.Equal(t, firstLines(before), firstLines(after))
		t.Fatal("a restart has changed what the gate says")
	}
}

// firstLines keeps a difference readable.
func firstLines(s string) string { return s[:min(len(s), 20_000)] }
