package daemon_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate/cmd/rolegate/internal/control"
	"github.com/rolegate/rolegate/rolegatetest"
)

// waits has a teacher's request wait for a full refresh, and returns what it will be
// answered.
func (r *run) waits(full time.Duration) <-chan int {
	r.t.Helper()
	time.Sleep(2 * time.Millisecond) // the list that was read at the start is older than the rule takes
	r.market.FailNext(1, rolegatetest.Slow(full))
	before, got := r.market.RequestCount(), make(chan int, 1)
	go func() { got <- r.passes(teacher, "GET", "/exams") }()
	require.Eventually(r.t, func() bool { return r.market.RequestCount() > before }, 10*time.Second, time.Millisecond)
	return got
}

var exams = strings.Replace(base, "  rules:\n", "  rules:\n    - {route: GET /exams, any_role: [teacher], max_age: 1ms}\n", 1)

// A gate that several generations have used waits for the requests of all of
// them.
func TestReloadWaitsForRequestsOfEarlierGenerations(t *testing.T) {
	t.Parallel()
	r := start(t, exams)
	got := r.waits(2 * time.Second)
	r.edit(`{resource: news, action: read, admit: true}`, `{resource: news, action: see, admit: true}`)
	r.again()
	require.Contains(t, r.log.String(), "new_gate=false")
	r.edit("every: 1h", "every: 50m")
	r.again()
	require.Contains(t, r.log.String(), "new_gate=true")
	assert.Equal(t, http.StatusOK, <-got)
}

// Reloads that are asked for at once do not wait for each other's requests.
func TestReloadsAtOnce(t *testing.T) {
	t.Parallel()
	r := start(t, base)
	done := make(chan error, 3)
	r.edit("every: 1h", "every: 50m")
	r.market.FailNext(1, rolegatetest.Slow(500*time.Millisecond))
	for range cap(done) {
		go func() { done <- r.reloads(t.Context()) }()
	}
	for range cap(done) {
		require.NoError(t, <-done)
	}
	require.Contains(t, r.log.String(), "new_gate=true")
	assert.NotContains(t, r.log.String(), "although requests by it are under way")
}

// A gate that has no keys of the issuer yet would deny everybody who comes with a
// token: it does not take the place of one that has them.
func TestReloadWaitsForKeys(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	t.Cleanup(issuer.Close)
	r := start(t, strings.Replace(base, "trusted: loopback}\n", "trusted: loopback}\n  - {is: third_user_id, issuer: \""+issuer.URL+"\", audience: a, claim: sub}\n", 1))
	require.Zero(t, asked.Load(), "the start waits for nobody")
	r.edit("every: 1h", "every: 50m")
	require.ErrorContains(t, r.reloads(t.Context()), "the keys of an issuer cannot be had")
	assert.Positive(t, asked.Load())
	assert.NotContains(t, r.log.String(), "new_gate=true")
	assert.Equal(t, http.StatusOK, r.passes(teacher, "GET", "/grades"))
}

// That the marketplace is away is no mistake of the file.
func TestReloadWithoutAMarketplace(t *testing.T) {
	t.Parallel()
	r := start(t, base)
	r.edit("every: 1h", "every: 50m")
	r.market.FailNext(1000, rolegatetest.HTTPStatus(http.StatusServiceUnavailable))
	refused := (*control.RefusedError)(nil)
	require.ErrorAs(t, r.reloads(t.Context()), &refused)
	assert.Equal(t, http.StatusServiceUnavailable, refused.Status, refused)
	assert.Equal(t, http.StatusOK, r.passes(teacher, "GET", "/grades"))
}

// Requests that are under way at the end have the same time by a gate that has
// been replaced as by the one that is in use.
func TestShutdownWaitsForRequestsOfTheOldGate(t *testing.T) {
	t.Parallel()
	r := start(t, exams)
	got := r.waits(time.Second)
	r.edit("every: 1h", "every: 50m")
	r.again()
	require.Contains(t, r.log.String(), "new_gate=true")
	require.NoError(t, r.stop())
	assert.Equal(t, http.StatusOK, <-got)
	assert.NotContains(t, r.log.String(), "broken off")
}
