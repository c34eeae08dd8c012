package faults_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/marketplace"
	"github.com/rolegate/rolegate/rolegatetest"
)

// A tickHouse is a marketplace and a gate that reads from it, on the clock of a
// testing/synctest bubble.
type tickHouse struct {
	m      *rolegatetest.Marketplace
	line   *tickLine
	tokens *tickTokens
	gate   *rolegate.Gate
	admin  *rolegate.Policy
	book   *logBook
}

// A tickSetup is how a house differs from the usual one, in which alice (1) is
// teacher, and bob (2) teacher and admin of organisation 7, and which asks for
// pages of four.
type tickSetup struct {
	marketplace rolegatetest.MarketplaceConfig
	list        func(m *rolegatetest.Marketplace)
	client      func(c *marketplace.Config)
	gate        func(c *rolegate.Config)
}

const (
	tickAlice  = 1
	tickBob    = 2
	tickNewcom = 3  // the user that tests put on the list
	tickIDs    = 12 // the users whose decisions are compared

	tickEvery  = time.Minute
	tickResync = 10 * time.Minute

	// tickBackOff is how long the longest back-off lasts at most, and
	// tickPage the deadline of a page.
	tickBackOff = 72 * time.Second
	tickPage    = 15 * time.Second
)

// tickRun runs a subtest in a house of its own.
func tickRun(t *testing.T, name string, s tickSetup, f func(t *testing.T, h *tickHouse)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) { f(t, tickOpen(t, s)) })
	})
}

// tickOpen builds a house. It belongs into a bubble.
func tickOpen(t *testing.T, s tickSetup) *tickHouse {
	t.Helper()
	h := &tickHouse{m: rolegatetest.NewMarketplace(s.marketplace), book: &logBook{}}
	h.m.Put(tickUser(tickAlice, "teacher"), tickUser(tickBob, "teacher", "admin"))
	if s.list != nil {
		s.list(h.m)
	}
	h.tokens = &tickTokens{answer: func(context.Context) (string, error) { return h.m.Token(), nil }}
	h.line = &tickLine{to: h.m.Transport()}
	client := marketplace.Config{
		BaseURL: rolegatetest.BaseURL, AppID: h.m.AppID(), Token: h.tokens, Transport: h.line, PageSize: 4,
	}
	if s.client != nil {
		s.client(&client)
	}
	cfg := rolegate.Config{Source: marketplace.New(client), Identify: tickByHeader, Logger: h.book.logger()}
	if s.gate != nil {
		s.gate(&cfg)
	}
	h.gate = tickOpenGate(t, cfg)
	h.admin = h.gate.Policy(rolegate.AnyRole("admin"))
	return h
}

// tickOpenGate opens a gate that is closed with the test.
func tickOpenGate(t *testing.T, cfg rolegate.Config) *rolegate.Gate {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour) // of a bubble
	defer cancel()
	gate, err := rolegate.Open(ctx, cfg)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, gate.Close()) })
	return gate
}

// tickUser is a user with personal data that must not turn up anywhere.
func tickUser(id int64, roles ...string) rolegatetest.User {
	u := rolegatetest.User{
		ID: id, Account: fmt.Sprintf("%s%d", tickPersonal[0], id), Email: fmt.Sprintf("%s%d@example.com", tickPersonal[1], id),
		Nickname: tickPersonal[2], ThirdAccount: fmt.Sprintf("%s%d", tickPersonal[3], id), ThirdUserName: tickPersonal[4],
	}
	for _, role := range roles {
		u.Grants = append(u.Grants, rolegate.Grant{OrgID: 7, RoleCode: role})
	}
	return u
}

var tickPersonal = []string{"account-of-", "mail-of-", "阿丽丝", "third-account-of-", "third-name-of-somebody"}

// tickByHeader identifies by a header without asking who has sent it: only
// tests may.
var tickByHeader = rolegate.ByUserID(func(r *http.Request) (int64, error) {
	text := r.Header.Get("X-User-Id")
	if text == "" {
		return 0, rolegate.ErrNobody
	}
	return strconv.ParseInt(text, 10, 64)
})

// A tickPull is one of the two ways to ask for a pull.
type tickPull struct {
	name string
	pull func(ctx context.Context, gate *rolegate.Gate) error
}

var tickPulls = []tickPull{
	{"full refresh", func(ctx context.Context, gate *rolegate.Gate) error { return gate.RefreshAll(ctx) }},
	{"incremental", func(ctx context.Context, gate *rolegate.Gate) error { return gate.Refresh(ctx) }},
}

func (p tickPull) status(s rolegate.Status) rolegate.RefreshStatus {
	if p.name == "full refresh" {
		return s.Full
	}
	return s.Incremental
}

// keeps makes a refresh, which is to fail for that reason, and checks that nothing
// came of it but a counted failure and a back-off. It returns the refresh's error.
func (h *tickHouse) keeps(t *testing.T, p tickPull, want rolegate.Failure) error {
	t.Helper()
	before, decided := h.gate.Status(), h.decisions(t)
	err := p.pull(t.Context(), h.gate)
	h.failed(t, p, want, err, before, decided)
	return err
}

// advances makes an incremental refresh, which is to fail for that reason after
// some of its pages, and checks that those count, that no age moves, and that
// the failure is counted. It returns the refresh's error.
func (h *tickHouse) advances(t *testing.T, want rolegate.Failure) error {
	t.Helper()
	before := h.gate.Status()
	err := h.gate.Refresh(t.Context())
	now := h.gate.Status()
	assert.Equal(t, before.Contact, now.Contact, "contact")
	assert.Equal(t, before.Verified, now.Verified, "verified")
	assert.Greater(t, now.Cursor, before.Cursor, "cursor")
	assert.Greater(t, now.Users, before.Users, "users of the pages that were read")
	h.counted(t, tickPulls[1], want, err, before)
	return err
}

// failed checks that nothing came of a refresh that has ended with err.
func (h *tickHouse) failed(t *testing.T, p tickPull, want rolegate.Failure, err error, before rolegate.Status, decided []string) {
	t.Helper()
	h.kept(t, before, decided)
	h.counted(t, p, want, err, before)
}

// counted checks that a refresh has ended with err for that reason, that it is
// counted, and that the refresh backs off.
func (h *tickHouse) counted(t *testing.T, p tickPull, want rolegate.Failure, err error, before rolegate.Status) {
	t.Helper()
	var failed *rolegate.PullError
	require.ErrorAs(t, err, &failed)
	require.Equal(t, want, failed.Failure, "%v", err)
	now := h.gate.Status()
	assert.Greater(t, now.Failures[want], before.Failures[want], "counted by its reason")
	pull := p.status(now)
	assert.Equal(t, want, pull.Failure)
	assert.Positive(t, pull.Consecutive)
	assert.Positive(t, pull.NextIn, "it backs off")
	assert.LessOrEqual(t, pull.NextIn, tickBackOff)
	h.silent(t, err)
}

// kept checks that index, cursor and ages are what they were.
func (h *tickHouse) kept(t *testing.T, before rolegate.Status, decided []string) {
	t.Helper()
	now := h.gate.Status()
	assert.Equal(t, before.Cursor, now.Cursor, "cursor")
	assert.Equal(t, before.Contact, now.Contact, "contact")
	assert.Equal(t, before.Verified, now.Verified, "verified")
	assert.Equal(t, before.Users, now.Users, "users")
	assert.Equal(t, before.Grants, now.Grants, "grants")
	assert.Equal(t, before.Generation, now.Generation, "generation")
	assert.Equal(t, before.Held, now.Held, "held")
	assert.Equal(t, decided, h.decisions(t), "decisions")
}

// decisions are what the gate says of everybody.
func (h *tickHouse) decisions(t *testing.T) (all []string) {
	t.Helper()
	for id := range int64(tickIDs) {
		who := rolegate.UserID(id + 1)
		all = append(all, fmt.Sprint(id+1, h.gate.Decide(t.Context(), who), h.admin.Decide(t.Context(), who, 0)))
	}
	return all
}

// goesOn ends all faults and checks that the loop comes back by itself: both
// kinds of pull succeed, and what they read counts.
func (h *tickHouse) goesOn(t *testing.T) {
	t.Helper()
	h.m.Recover()
	h.m.Put(tickUser(tickNewcom, "teacher"))
	before := h.gate.Status()
	tickUntil(t, tickResync*11/10+tickBackOff+4*tickPage, func() bool {
		now := h.gate.Status()
		return now.Contact.After(before.Contact) && now.Verified.After(before.Verified) &&
			now.Incremental.Consecutive == 0 && now.Full.Consecutive == 0 && h.allowed(t, tickNewcom)
	})
	assert.Equal(t, rolegate.StateReady, h.gate.Status().State)
	h.silent(t, nil)
}

// silent checks that neither the error nor the log nor the status has a secret,
// a body or anything personal in it.
func (h *tickHouse) silent(t *testing.T, err error) {
	t.Helper()
	status, jsonErr := json.Marshal(h.gate.Status())
	require.NoError(t, jsonErr)
	told := h.book.String() + string(status)
	for e := err; e != nil; e = errors.Unwrap(e) {
		told += fmt.Sprintf("%v\n%+v\n%#v\n", e, e, e)
	}
	told = strings.ReplaceAll(told, "Basic [***]", "")
	secrets := append([]string{"Basic ", "accessToken=", "lastSequence=", `"roleList"`, `roleList\"`}, tickPersonal...)
	for _, token := range append(h.tokens.issued(), h.m.Token()) {
		secrets = append(secrets, token, url.QueryEscape(token))
	}
	for _, secret := range secrets {
		if secret != "" {
			assert.NotContains(t, told, secret)
		}
	}
}

func (h *tickHouse) allowed(t *testing.T, user int64) bool {
	t.Helper()
	return h.gate.Decide(t.Context(), rolegate.UserID(user)).Allowed()
}

func (h *tickHouse) isAdmin(t *testing.T, user int64) bool {
	t.Helper()
	return h.admin.Decide(t.Context(), rolegate.UserID(user), 0).Allowed()
}

// tickAsk sends a request as that user.
func tickAsk(t *testing.T, h http.Handler, user int64) *httptest.ResponseRecorder {
	t.Helper()
	return tickAskWith(t.Context(), h, user)
}

func tickAskWith(ctx context.Context, h http.Handler, user int64) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(ctx, "GET", "/grades", nil)
	if user != 0 {
		r.Header.Set("X-User-Id", strconv.FormatInt(user, 10))
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// tickOK is a handler that answers 200.
var tickOK = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "in") })

// tickNever is a handler that must not be called.
func tickNever(t *testing.T) http.Handler {
	return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the handler behind the gate was called") })
}

// tickRetryAfter checks that an answer is 503 and says when to come again.
func tickRetryAfter(t *testing.T, w *httptest.ResponseRecorder) {
	t.Helper()
	assert.Equal(t, http.StatusServiceUnavailable, w.Code)
	seconds, err := strconv.Atoi(w.Header().Get("Retry-After"))
	require.NoError(t, err, "Retry-After")
	assert.Positive(t, seconds)
	assert.LessOrEqual(t, seconds, 300)
}

// tickAfter lets the bubble's clock go on by d, and everything that is due
// happen.
func tickAfter(d time.Duration) {
	timer := time.NewTimer(d)
	<-timer.C
	synctest.Wait()
}

// tickUntil advances the bubble's clock until cond holds, and returns how long
// that took.
func tickUntil(t *testing.T, limit time.Duration, cond func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	for !cond() {
		if time.Since(began) > limit {
			require.FailNow(t, "it did not come about", "within %v", limit)
		}
		tickAfter(time.Second)
	}
	return time.Since(began)
}

// tickWait blocks for d or until ctx ends.
func tickWait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A tickLine is the way to the marketplace. It remembers what was sent.
type tickLine struct {
	to     http.RoundTripper
	before func() // each request, if set

	mu   sync.Mutex
	sent []url.Values
}

func (l *tickLine) RoundTrip(r *http.Request) (*http.Response, error) {
	l.mu.Lock()
	l.sent = append(l.sent, r.URL.Query())
	round := len(l.sent) > 10_000
	l.mu.Unlock()
	if round {
		return nil, errors.New("the client goes round and round")
	}
	if l.before != nil {
		l.before()
	}
	return l.to.RoundTrip(r)
}

// count is how many requests were sent so far.
func (l *tickLine) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.sent)
}

// values are what the requests from the nth on had for a parameter.
func (l *tickLine) values(from int, parameter string) (all []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, q := range l.sent[from:] {
		all = append(all, q.Get(parameter))
	}
	return all
}

// tickTokens is a token source that does what it is told.
type tickTokens struct {
	mu     sync.Mutex
	answer func(context.Context) (string, error)
	calls  int
	gave   []string
}

func (s *tickTokens) Token(ctx context.Context) (string, error) {
	s.mu.Lock()
	answer := s.answer
	s.calls++
	s.mu.Unlock()
	token, err := answer(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gave = append(s.gave, token)
	return token, err
}

func (s *tickTokens) set(answer func(context.Context) (string, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

func (s *tickTokens) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

func (s *tickTokens) issued() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.gave...)
}

// tickScript is a source of the test's own: pull may be replaced while the gate
// runs.
type tickScript struct {
	mu   sync.Mutex
	pull func(ctx context.Context, after int64, yield func(rolegate.Record)) error
}

func (s *tickScript) Pull(ctx context.Context, after int64, yield func(rolegate.Record)) error {
	s.mu.Lock()
	pull := s.pull
	s.mu.Unlock()
	return pull(ctx, after, yield)
}

func (s *tickScript) set(pull func(ctx context.Context, after int64, yield func(rolegate.Record)) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pull = pull
}

// tickYield is a refresh of these records.
func tickYield(records ...rolegate.Record) func(context.Context, int64, func(rolegate.Record)) error {
	return func(_ context.Context, after int64, yield func(rolegate.Record)) error {
		for _, r := range records {
			if after == 0 || r.Sequence > after {
				yield(r)
			}
		}
		return nil
	}
}

// tickRecord is a listed user.
func tickRecord(id, sequence int64, roles ...string) rolegate.Record {
	r := rolegate.Record{UserID: id, Sequence: sequence}
	for _, role := range roles {
		r.Grants = append(r.Grants, rolegate.Grant{OrgID: 7, RoleCode: role})
	}
	return r
}

// tickGate opens a gate on a source, in a bubble or out of it, that is closed
// with the test.
func tickGate(t *testing.T, cfg rolegate.Config) (*rolegate.Gate, *logBook) {
	t.Helper()
	book := &logBook{}
	if cfg.Logger == nil {
		cfg.Logger = book.logger()
	}
	if fmt.Sprint(cfg.Identify) == fmt.Sprint(rolegate.Identifier{}) {
		cfg.Identify = tickByHeader
	}
	return tickOpenGate(t, cfg), book
}

// tickAllowed asks a gate whether a user is on the list.
func tickAllowed(gate *rolegate.Gate, user int64) bool {
	return gate.Decide(context.Background(), rolegate.UserID(user)).Allowed()
}
