package faults_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/marketplace"
	"github.com/rolegate/rolegate/rolegatetest"
)

// keepAll keeps every string of a user.
var keepAll = rolegate.Keep{Account: true, Email: true, ThirdAccount: true, ThirdUserID: true, Nickname: true, ThirdUserName: true}

// This file is what the catalogue calls KEEP, as far as the wire is concerned: a
// gate whose list is in step, a fault, and what must not have come of it.

// The users of a keepWorld.
const (
	keepAdmin    = 1 // admin and teacher in organisation 7
	keepTeacher  = 2 // teacher in organisation 7
	keepPlain    = 3 // listed, without roles
	keepStranger = 4 // not listed
)

// keepToken has in it what the escapings of URLs, JSON and Go differ about.
const keepToken = `AT-3-s3cr3t/+"é token`

// keepLeak stands in the replies of faults: nothing of it may be repeated.
const keepLeak = `accessToken=AT-3-s3cr3t/+ Authorization: Basic a2VlcGVyOnMzY3IzdA== wang.alice@school.example keepsBody`

// keepSecrets are the texts that no error, log line or Status may have.
var keepSecrets = []string{
	keepToken, url.QueryEscape(keepToken), url.PathEscape(keepToken), strings.Trim(strconv.Quote(keepToken), `"`),
	"AT-3-s3cr3t", "a2VlcGVyOnMzY3IzdA", // of the Basic credential
	"wang.alice", "school.example", "王爱丽", "13800001111", // of alice
	"keepsBody", "lastSequence=", // of the reply and of the query
}

// A keepWorld is a gate whose list is in step with a marketplace.
type keepWorld struct {
	*testing.T
	m      *rolegatetest.Marketplace
	source marketplace.Config
	gate   *rolegate.Gate
	log    *logBook
	bubble bool // whether time is that of a synctest bubble
	guests int  // how many newcomers there have been

	// onlyLater says that the fault cannot be known by a gate that has just
	// started.
	onlyLater bool
}

func keepMarketplace(cfg rolegatetest.MarketplaceConfig) *rolegatetest.Marketplace {
	cfg.Token = keepToken
	m := rolegatetest.NewMarketplace(cfg)
	m.Put(
		rolegatetest.User{ID: keepAdmin, Account: "wang.alice", Email: "wang.alice@school.example", Nickname: "王爱丽", ThirdUserID: "13800001111",
			Grants: []rolegate.Grant{{OrgID: 7, RoleCode: "admin"}, {OrgID: 7, RoleCode: "teacher"}}},
		rolegatetest.User{ID: keepTeacher, Account: "bob", Grants: []rolegate.Grant{{OrgID: 7, RoleCode: "teacher"}}},
		rolegatetest.User{ID: keepPlain, Account: "carol"},
	)
	return m
}

// openKeepWorld opens a gate on m, which source says how to reach. It is closed
// with the test.
func openKeepWorld(t *testing.T, m *rolegatetest.Marketplace, source marketplace.Config) *keepWorld {
	t.Helper()
	source.AppID, source.Token = m.AppID(), marketplace.StaticToken(m.Token())
	w := &keepWorld{T: t, m: m, source: source, log: new(logBook)}
	w.gate = w.open(false)
	return w
}

// open opens a gate on the same source; async, if it need not have a list.
func (w *keepWorld) open(async bool) *rolegate.Gate {
	w.Helper()
	gate, err := rolegate.Open(w.Context(), rolegate.Config{
		Source: marketplace.New(w.source),
		Identify: rolegate.ByUserID(func(r *http.Request) (int64, error) {
			return strconv.ParseInt(r.Header.Get("X-Test-User"), 10, 64)
		}),
		Aliases:    []rolegate.Kind{rolegate.KindAccount},
		Keep:       keepAll,
		OnDeny:     rolegate.OnDeny{Off: true}, // no refresh but those of the test and the loop
		StartEmpty: async,
		Logger:     slog.New(slog.NewJSONHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug - 100})),
	})
	require.NoError(w, err)
	w.Cleanup(func() { assert.NoError(w, gate.Close()) })
	return gate
}

// keepStatus is the answer of a handler behind a guard to a user. It is 200
// exactly if the handler was called.
func keepStatus(t *testing.T, guard func(http.Handler) http.Handler, user int64) int {
	t.Helper()
	called := false
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("X-Test-User", strconv.FormatInt(user, 10))
	w := httptest.NewRecorder()
	guard(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { called = true })).ServeHTTP(w, r)
	assert.Equal(t, called, w.Code == http.StatusOK, "the handler is called exactly if the answer is 200")
	return w.Code
}

// admits says whether a user is admitted.
func (w *keepWorld) admits(user int64) bool {
	return keepStatus(w.T, w.gate.Admit, user) == http.StatusOK
}

// has says whether a user passes a guard that asks for a role.
func (w *keepWorld) has(user int64, role string) bool {
	return keepStatus(w.T, w.gate.Require(rolegate.AnyRole(role)), user) == http.StatusOK
}

// decisions are the answers to everybody at every guard.
func (w *keepWorld) decisions() map[string]int {
	all := map[string]int{}
	for user := int64(keepAdmin); user <= keepStranger; user++ {
		all[fmt.Sprint(user, " at home")] = keepStatus(w.T, w.gate.Admit, user)
		for _, role := range []string{"teacher", "admin"} {
			all[fmt.Sprint(user, " as ", role)] = keepStatus(w.T, w.gate.Require(rolegate.AnyRole(role)), user)
		}
	}
	return all
}

// keeps lets pulls of both kinds meet with a fault that lasts from begin to end,
// and requires that they fail in that way and that the list stays. The error
// has all of says in it.
func (w *keepWorld) keeps(want rolegate.Failure, begin, end func(), says ...string) {
	w.Helper()
	decisions := w.decisions()
	w.allowed(decisions)
	before, now := w.gate.Status(), time.Now()
	begin()
	w.fails(w.gate.Refresh, want, says)
	w.fails(func(ctx context.Context) error { return w.gate.RefreshAll(ctx) }, want, says)
	instant := w.bubble && time.Now().Equal(now)
	w.stays(want, before)
	if instant {
		// The loop goes on without us: after 1, 2 and 4 seconds, give or take.
		<-time.After(10 * time.Second)
		w.stays(want, before)
		after := w.gate.Status()
		assert.Equal(w, 4, after.Incremental.Consecutive, "the loop backs off")
		assert.Equal(w, 4, after.Full.Consecutive, "the loop backs off")
	}
	assert.Equal(w, decisions, w.decisions(), "everybody is answered as before")
	if w.bubble && !w.onlyLater {
		w.startsWithout(want)
	}
	end()
	w.goesOn()
	w.tellsNothing(nil)
}

// allowed requires that decisions are those of the list as it is.
func (w *keepWorld) allowed(decisions map[string]int) {
	w.Helper()
	require.Equal(w, map[string]int{
		"1 at home": 200, "1 as teacher": 200, "1 as admin": 200,
		"2 at home": 200, "2 as teacher": 200, "2 as admin": 403,
		"3 at home": 200, "3 as teacher": 403, "3 as admin": 403,
		"4 at home": 403, "4 as teacher": 403, "4 as admin": 403,
	}, decisions)
}

// fails requires that a refresh fails in that way.
func (w *keepWorld) fails(pull func(context.Context) error, want rolegate.Failure, says []string) {
	w.Helper()
	err := pull(w.Context())
	var failed *rolegate.PullError
	require.ErrorAs(w, err, &failed)
	require.Equal(w, want, failed.Failure, "%v", err)
	for _, text := range says {
		assert.ErrorContains(w, err, text)
	}
	assert.ErrorContains(w, err, w.source.BaseURL+"/app/user/list", "host and path are named")
	assert.NotContains(w, err.Error(), "?", "the query is not")
	w.tellsNothing(err)
}

// stays requires that index, cursor and ages are as before, and that the
// failures are counted.
func (w *keepWorld) stays(want rolegate.Failure, before rolegate.Status) {
	w.Helper()
	after := w.gate.Status()
	assert.Equal(w, rolegate.StateReady, after.State)
	assert.Equal(w, before.Users, after.Users)
	assert.Equal(w, before.Grants, after.Grants)
	assert.Equal(w, before.Roles, after.Roles)
	assert.Equal(w, before.Generation, after.Generation)
	assert.Equal(w, before.Cursor, after.Cursor)
	assert.Equal(w, before.Held, after.Held)
	assert.Equal(w, before.Contact, after.Contact)
	assert.Equal(w, before.Verified, after.Verified)
	assert.GreaterOrEqual(w, after.ContactAge, before.ContactAge)
	assert.GreaterOrEqual(w, after.VerifiedAge, before.VerifiedAge)
	assert.Equal(w, before.Decisions, after.Decisions)
	assert.Equal(w, before.Incremental.Succeeded, after.Incremental.Succeeded)
	assert.Equal(w, before.Full.Succeeded, after.Full.Succeeded)

	var others uint64
	for failure, n := range after.Failures {
		if failure != want {
			others += n - before.Failures[failure]
		}
	}
	assert.Zero(w, others, "no other failure is counted: %v", after.Failures)
	assert.GreaterOrEqual(w, after.Failures[want], before.Failures[want]+2)
	assert.Equal(w, after.Failures[want]-before.Failures[want],
		after.Incremental.Failed-before.Incremental.Failed+after.Full.Failed-before.Full.Failed, "each is counted once")
	for _, p := range []rolegate.RefreshStatus{after.Incremental, after.Full} {
		assert.Equal(w, want, p.Failure)
		assert.NotEmpty(w, p.Error)
		assert.Positive(w, p.Consecutive)
		if !p.Running && w.bubble {
			assert.Positive(w, p.NextIn)
		}
	}
	assert.True(w, strings.Contains(w.log.String(), `"failure":"`+string(want)+`"`), "the failure is logged")
}

// startsWithout requires that a gate that starts during the fault has no list,
// which is something else than an empty one.
func (w *keepWorld) startsWithout(want rolegate.Failure) {
	w.Helper()
	late := w.open(true)
	var failed *rolegate.PullError
	require.ErrorAs(w, late.RefreshAll(w.Context()), &failed)
	assert.Equal(w, want, failed.Failure)
	status := late.Status()
	assert.Equal(w, rolegate.StateStarting, status.State)
	assert.Zero(w, status.Generation)
	assert.Equal(w, http.StatusServiceUnavailable, keepStatus(w.T, late.Admit, keepAdmin))
	require.NoError(w, late.Close())
}

// goesOn requires that the next good pulls succeed: a newcomer is admitted, and
// the one before is not any more. In a bubble the loop finds out by itself.
func (w *keepWorld) goesOn() {
	w.Helper()
	w.guests++
	guest := int64(1000 + w.guests)
	w.m.Revoke(guest - 1)
	w.m.Grant(guest, 7, "teacher")
	if w.bubble {
		<-time.After(2 * time.Minute)
	} else {
		require.NoError(w, w.gate.Refresh(w.Context()))
		require.NoError(w, w.gate.RefreshAll(w.Context()))
	}
	assert.True(w, w.has(guest, "teacher"), "the next good pull brings news")
	assert.False(w, w.admits(guest-1), "the next good full refresh takes somebody away")
	status := w.gate.Status()
	assert.Zero(w, status.Incremental.Consecutive)
	assert.Zero(w, status.Full.Consecutive)
}

// tellsNothing requires that neither err nor log and Status have a secret or
// something personal in them.
func (w *keepWorld) tellsNothing(err error) {
	w.Helper()
	status := w.gate.Status()
	asJSON, failed := json.Marshal(status)
	require.NoError(w, failed)
	texts := map[string]string{
		"the log":        w.log.String(),
		"Status":         fmt.Sprintf("%+v", status),
		"Status as JSON": string(asJSON),
	}
	for i, e := range keepChain(err) {
		var line bytes.Buffer
		slog.New(slog.NewJSONHandler(&line, nil)).Error("failed", "err", e)
		texts[fmt.Sprintf("error %d of the chain, a %T", i, e)] = fmt.Sprintf("%v\n%+v\n%#v\n%q\n%s", e, e, e, e, &line)
	}
	for where, text := range texts {
		for _, secret := range keepSecrets {
			if at := strings.Index(text, secret); at >= 0 {
				w.Errorf("%s has %q in it: …%s…", where, secret, text[max(0, at-200):min(len(text), at+200)])
			}
		}
	}
}

// keepChain returns err and everything below it.
func keepChain(err error) (chain []error) {
	if err == nil {
		return nil
	}
	chain = []error{err}
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		chain = append(chain, keepChain(e.Unwrap())...)
	case interface{ Unwrap() []error }:
		for _, below := range e.Unwrap() {
			chain = append(chain, keepChain(below)...)
		}
	}
	return chain
}

// acceptShrink makes a full refresh and accepts what that holds back.
func acceptShrink(ctx context.Context, gate *rolegate.Gate) error {
	if err := gate.RefreshAll(ctx); !errors.Is(err, rolegate.ErrHeld) {
		return err
	}
	return gate.AcceptShrink(ctx, gate.Status().Held.Digest)
}

// identityOf returns the identity of that kind.
func identityOf(kind rolegate.Kind, text string) rolegate.Identity {
	id, err := rolegate.NewIdentity(kind, text)
	if err != nil {
		panic(err)
	}
	return id
}
