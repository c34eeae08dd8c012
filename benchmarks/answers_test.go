package benchmarks

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rolegatetest"
)

func TestWorkload(t *testing.T) {
	t.Parallel()
	w := newWorkload(5000)
	seen := map[int64]bool{}
	for i := range w.size {
		id := w.userID(i)
		assert.Greater(t, id, int64(1)<<40)
		assert.False(t, seen[id], "an id is there twice")
		seen[id] = true
	}
	for i := range organisations {
		assert.Greater(t, orgID(i), int64(1)<<32)
	}
	require.Len(t, w.change(300), 300)

	qs, allowed, strangers := w.questions(1000), 0, 0
	for _, q := range qs {
		if q.allowed {
			allowed++
		}
		if !seen[q.user] {
			strangers++
		}
	}
	assert.Equal(t, 500, allowed)
	assert.Equal(t, 100, strangers)
	assert.Equal(t, qs, w.questions(1000), "the same list gives the same questions")
}

func TestPull(t *testing.T) {
	t.Parallel()
	w := newWorkload(100)
	pull := func(after int64) (records []rolegate.Record) {
		require.NoError(t, w.Pull(t.Context(), after, func(r rolegate.Record) {
			r.Grants = slices.Clone(r.Grants)
			records = append(records, r)
		}))
		last := after
		for _, r := range records {
			require.Greater(t, r.Sequence, last, "sequences ascend")
			require.NotEmpty(t, r.Grants)
			last = r.Sequence
		}
		return records
	}
	assert.Len(t, pull(0), 100)
	assert.Empty(t, pull(100))
	changed := slices.Clone(w.change(20))
	slices.Sort(changed)
	assert.Len(t, pull(0), 100)
	assert.Len(t, pull(100), len(slices.Compact(changed)))
	assert.Empty(t, pull(120))

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, w.Pull(ctx, 0, func(rolegate.Record) {}), context.Canceled)
}

// Everybody answers every question right, before and after changes.
func TestAnswers(t *testing.T) {
	t.Parallel()
	w := newWorkload(1000)
	gate := open(t, w)
	p, m := policy(gate), newRawMap(w)
	for round := range 3 {
		if round > 0 {
			for _, i := range w.change(100) {
				m.put(w, int(i))
			}
			require.NoError(t, gate.Refresh(t.Context()))
		}
		qs := w.questions(4000)
		requireGate(t, p, qs)
		requireMap(t, m, qs)
		for _, peer := range peers {
			decide, err := peer.load(w)
			require.NoError(t, err)
			requirePeer(t, peer, decide, named(qs))
		}
	}
	require.NoError(t, gate.RefreshAll(t.Context()))
	requireGate(t, p, w.questions(4000))
}

// Counts that do not depend on the machine.
func TestAllocations(t *testing.T) {
	w := newWorkload(1000)
	gate := open(t, w)
	p := policy(gate)
	requireNoAllocs(t, p, w.questions(4000))
	w.change(100)
	require.NoError(t, gate.Refresh(t.Context()))
	requireNoAllocs(t, p, w.questions(4000))

	grades, reports := w.requests(100)
	anywhere, inOrg := guards(gate)
	assert.LessOrEqual(t, extraAllocs(mux(anywhere), mux(bare), grades), 3.0, "AnyRole")
	assert.LessOrEqual(t, extraAllocs(mux(inOrg), mux(bare), reports), 3.0, "AnyRole and InOrg")
}

// The guards of the middleware benchmark refuse a user without the roles.
func TestGuardsRefuse(t *testing.T) {
	t.Parallel()
	w := newWorkload(1000)
	anywhere, inOrg := guards(open(t, w))
	e, err := newRouteEnforcer(w, casbinRoutes, 20)
	require.NoError(t, err)

	var buf [3]grant
	pupil := 0
	for slices.ContainsFunc(w.grants(buf[:], pupil), grant.opens) {
		pupil++
	}
	id, org := w.userID(pupil), w.grants(buf[:], pupil)[0].org
	ctx := context.WithValue(t.Context(), sessionKey{}, &session{id, strconv.FormatInt(id, 10)})
	grades := newRequest(ctx, "/grades")
	reports := newRequest(ctx, "/orgs/"+strconv.FormatInt(org, 10)+"/reports")
	for name, refused := range map[string]struct {
		by http.Handler
		r  *http.Request
	}{
		"anywhere":        {mux(anywhere), grades},
		"in org":          {mux(inOrg), reports},
		"anywhere on chi": {chiRouter(anywhere), grades},
		"casbin":          {chiRouter(enforce(e)), grades},
	} {
		answer := &sink{header: http.Header{}}
		refused.by.ServeHTTP(answer, refused.r)
		assert.Equal(t, http.StatusForbidden, answer.status, name)
	}
}

// The pages are what the fake marketplace sends for the same list, and both
// clients read them.
func TestPages(t *testing.T) {
	t.Parallel()
	w := newWorkload(2500)
	w.change(200)
	p, url := serve(t, w)

	market := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{})
	for i := range w.users(0) {
		names := w.profile(i)
		user := rolegatetest.User{
			ID: w.userID(i), Account: names.account, Email: names.email, Nickname: names.nickname, Gender: 1 + i%2,
			ThirdAccount: names.thirdAccount, ThirdUserID: names.thirdUserID, ThirdUserName: names.thirdUserName,
		}
		var buf [3]grant
		for _, g := range w.grants(buf[:], i) {
			user.Grants = append(user.Grants, rolegate.Grant{OrgID: g.org, RoleCode: roleCodes[g.role]})
		}
		market.Put(user)
	}
	r := httptest.NewRequestWithContext(t.Context(), "GET", "/app/user/list?accessToken="+market.Token(), nil)
	r.Header.Set("X-App-Id", market.AppID())
	answer := httptest.NewRecorder()
	market.ServeHTTP(answer, r)
	got := pageHead + string(p.page(0, pageSize)) + pageTail
	// Sequences differ: those of the workload have gaps where users changed.
	strip := func(s string) string {
		parts := strings.Split(s, `"lastSequence":`)
		for i, part := range parts[1:] {
			parts[i+1] = part[strings.IndexByte(part, '}'):]
		}
		return strings.Join(parts, "")
	}
	assert.Equal(t, strip(answer.Body.String()), strip(got))

	gate := openAt(t, url)
	defer gate.Close()
	client := plainAt(url)
	defer client.http.CloseIdleConnections()
	grants, err := client.readAll(t.Context())
	require.NoError(t, err)
	assert.Len(t, grants, 2500)
	qs := w.questions(2000)
	requireGate(t, policy(gate), qs)
	requirePlain(t, client, grants, qs)
}
