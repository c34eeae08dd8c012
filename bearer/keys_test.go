package bearer_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/bearer"
)

// away is how an issuer answers that is not well.
func away(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }

// A new key counts as soon as a token names it, and an old one until it is
// withdrawn.
func TestRotation(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		login := &issuer{}
		client := login.inMemory()
		old, fresh := newKey("old"), newKey("fresh")
		login.publish(old)
		a := newApp(t, bearer.Config{Issuer: login.url, Client: client}, nil)
		by := func(k key) int { return a.ask("Bearer " + k.sign(t, login.claims(nil), nil)).Code }
		assert.Equal(t, 200, by(old))
		pass(10 * time.Second)
		assert.Equal(t, 401, by(fresh), "not published yet")
		login.publish(old, fresh)
		pass(10 * time.Second)
		assert.Equal(t, 200, by(fresh))
		assert.Equal(t, 200, by(old))
		login.publish(fresh)
		pass(10*time.Minute + time.Second)
		assert.Equal(t, 200, by(old), "this token begins the fetch")
		synctest.Wait()
		assert.Equal(t, 401, by(old), "withdrawn")
		assert.Equal(t, 200, by(fresh))
	})
}

// Tokens with invented key ids cost the issuer one fetch in ten seconds.
func TestFlood(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		login := &issuer{}
		client := login.inMemory()
		k := newKey("1")
		login.publish(k)
		a := newApp(t, bearer.Config{Issuer: login.url, Client: client}, nil)
		claims := login.claims(map[string]any{"exp": in(time.Hour)})
		good, unnamed := k.sign(t, claims, nil), key{"", k.algorithm, newKey("").signer}.sign(t, claims, nil)
		for i := range 600 {
			invented := key{rand.Text(), k.algorithm, k.signer}.sign(t, claims, nil)
			require.Equal(t, 401, a.ask("Bearer "+invented).Code)
			require.Equal(t, 401, a.ask("Bearer "+unnamed).Code)
			require.Equal(t, 200, a.ask("Bearer "+good).Code, "after %d", i)
			pass(100 * time.Millisecond)
		}
		discovers, fetches := login.asked()
		assert.LessOrEqual(t, fetches, 7, "in a minute")
		assert.GreaterOrEqual(t, fetches, 5, "a new key must be found")
		assert.Equal(t, discovers, fetches)

		// A bad signature under a known name is bad: nothing is fetched for it.
		_, before := login.asked()
		for range 20 {
			require.Equal(t, 401, a.ask("Bearer "+key{"1", k.algorithm, newKey("").signer}.sign(t, claims, nil)).Code)
			pass(10 * time.Second)
		}
		_, after := login.asked()
		assert.Equal(t, before, after)
	})
}

// Without keys nothing can be told, which is an error; with keys that are young
// enough, what they have signed is good.
func TestIssuerAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		login := &issuer{fault: away}
		client := login.inMemory()
		k, fresh := newKey("1"), newKey("2")
		login.publish(k)
		a := newApp(t, bearer.Config{Issuer: login.url, Client: client}, nil)
		ask := func(k key) int { return a.ask("Bearer " + k.sign(t, login.claims(nil), nil)).Code }
		w := a.ask("Bearer " + k.sign(t, login.claims(nil), nil))
		assert.Equal(t, 503, w.Code, "not known is not refused")
		assert.Equal(t, "10", w.Header().Get("Retry-After"), "when keys are fetched next")
		assert.Empty(t, w.Header().Get("WWW-Authenticate"), "the token is not to blame")
		assert.Empty(t, a.why())
		assert.Contains(t, a.log.last("rolegate: refused", "err"), "the issuer's keys cannot be had")
		assert.Equal(t, 401, a.ask().Code, "who sends no token is nobody all the same")
		assert.Equal(t, 401, a.ask("Bearer x").Code)
		require.ErrorContains(t, a.verifier.Ready(t.Context()), "cannot be had")
		discovers, _ := login.asked()
		assert.Equal(t, 1, discovers, "not again at once")

		login.change(func(i *issuer) { i.fault = nil })
		pass(3 * time.Second)
		w = a.ask("Bearer " + k.sign(t, login.claims(nil), nil))
		assert.Equal(t, 503, w.Code)
		assert.Equal(t, "7", w.Header().Get("Retry-After"))
		pass(7 * time.Second)
		assert.Equal(t, 200, ask(k))
		require.NoError(t, a.verifier.Ready(t.Context()))

		login.change(func(i *issuer) { i.fault = away })
		for range 50 {
			pass(time.Minute)
			require.Equal(t, 200, ask(k))
			synctest.Wait()
		}
		assert.Equal(t, 503, ask(fresh), "a key that might be new")
		pass(10*time.Minute + 11*time.Second)
		assert.Equal(t, 503, ask(k), "the keys are an hour old")
		login.change(func(i *issuer) { i.fault = nil })
		pass(10 * time.Second)
		assert.Equal(t, 200, ask(k))
	})
}

// A key that was withdrawn while nobody came does not count when somebody does.
func TestKeysExpire(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		login := &issuer{}
		client := login.inMemory()
		old, fresh := newKey("old"), newKey("fresh")
		login.publish(old)
		a := newApp(t, bearer.Config{Issuer: login.url, Client: client, KeysEvery: time.Minute, KeysExpire: 2 * time.Minute}, nil)
		assert.Equal(t, 200, a.ask("Bearer "+old.sign(t, login.claims(nil), nil)).Code)
		login.publish(fresh)
		pass(2*time.Minute + time.Second)
		assert.Equal(t, 401, a.ask("Bearer "+old.sign(t, login.claims(nil), nil)).Code)
	})
}

// An issuer that hangs holds up nobody whose key is known, and nobody for longer
// than their own context.
func TestIssuerHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		login := &issuer{}
		inner := login.inMemory().Transport
		hangs := false
		var now, most atomic.Int32 // requests at once
		client := &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			if hangs {
				most.Store(max(most.Load(), now.Add(1)))
				defer now.Add(-1)
				<-r.Context().Done()
				return nil, r.Context().Err()
			}
			return inner.RoundTrip(r)
		})}
		k := newKey("1")
		login.publish(k)
		a := newApp(t, bearer.Config{Issuer: login.url, Client: client}, nil)
		assert.Equal(t, 200, a.ask("Bearer "+k.sign(t, login.claims(nil), nil)).Code)
		hangs = true
		pass(11 * time.Minute)
		began := time.Now()
		assert.Equal(t, 200, a.ask("Bearer "+k.sign(t, login.claims(nil), nil)).Code)
		assert.Equal(t, time.Duration(0), time.Since(began))
		for range 100 { // a fetch takes longer than KeysMin
			pass(time.Second)
			assert.Equal(t, 200, a.ask("Bearer "+k.sign(t, login.claims(nil), nil)).Code)
		}
		assert.Equal(t, int32(1), most.Load())
		pass(time.Hour)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began = time.Now()
		assert.ErrorIs(t, a.verifier.Ready(ctx), context.DeadlineExceeded)
		assert.Equal(t, time.Second, time.Since(began))
		assert.Error(t, a.verifier.Ready(t.Context()))
		assert.LessOrEqual(t, time.Since(began), 15*time.Second, "a fetch always ends")
	})
}

// A client that leaves while keys are fetched is no failure of the issuer's or the
// app's.
func TestClientGone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		login := &issuer{}
		login.inMemory()
		client := &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})}
		k := newKey("1")
		a := newApp(t, bearer.Config{Issuer: login.url, Client: client}, nil)
		ctx, leave := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, leave)
		r := httptest.NewRequestWithContext(ctx, "GET", "/", nil)
		r.Header.Set("Authorization", "Bearer "+k.sign(t, login.claims(nil), nil))
		w := httptest.NewRecorder()
		a.handler.ServeHTTP(w, r)
		assert.Equal(t, rolegate.ReasonClientGone.Status(), w.Code)
		pass(15 * time.Second) // the fetch ends
	})
}

// Many first requests share one fetch, over a real connection.
func TestShared(t *testing.T) {
	t.Parallel()
	login := &issuer{}
	client := login.start(t)
	k := newKey("1")
	login.publish(k)
	a := newApp(t, bearer.Config{Issuer: login.url, Client: client}, nil)
	token := k.sign(t, login.claims(nil), nil)
	var running sync.WaitGroup
	for range 32 {
		running.Go(func() { assert.Equal(t, 200, a.ask("Bearer "+token).Code) })
	}
	running.Wait()
	discovers, fetches := login.asked()
	assert.Equal(t, 1, discovers)
	assert.Equal(t, 1, fetches)
}

// Requests, rotations and failures at once.
func TestConcurrency(t *testing.T) {
	t.Parallel()
	login := &issuer{}
	client := login.start(t)
	k, other := newKey("1"), newKey("2")
	login.publish(k)
	a := newApp(t, bearer.Config{Issuer: login.url, Client: client, KeysMin: time.Millisecond, KeysEvery: 2 * time.Millisecond, KeysExpire: time.Hour}, nil)
	require.NoError(t, a.verifier.Ready(t.Context()))
	good, unknown := k.sign(t, login.claims(nil), nil), other.sign(t, login.claims(nil), nil)
	var running sync.WaitGroup
	for range 4 {
		running.Go(func() {
			for range 200 {
				assert.Equal(t, 200, a.ask("Bearer "+good).Code)
				assert.Contains(t, []int{200, 401, 503}, a.ask("Bearer "+unknown).Code)
			}
		})
	}
	running.Go(func() {
		for i := range 50 {
			login.publish(k, other)
			login.change(func(l *issuer) {
				if l.keysFault = nil; i%2 == 0 {
					l.keysFault = away
				}
			})
			login.publish(k)
		}
	})
	running.Wait()
}

// What an issuer may not answer.
func TestBadAnswers(t *testing.T) {
	t.Parallel()
	text := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }
	}
	for _, test := range []struct {
		name   string
		change func(*issuer)
		logged string
	}{
		{"discovery is a page", func(i *issuer) { i.fault = text("<html>secret") }, "not a discovery document"},
		{"discovery of another issuer", func(i *issuer) { i.document = map[string]any{"issuer": "https://evil.example.com"} }, "of another issuer"},
		{"no jwks_uri", func(i *issuer) { i.document = map[string]any{"jwks_uri": ""} }, "jwks_uri: it is empty"},
		{"keys without TLS", func(i *issuer) { i.document = map[string]any{"jwks_uri": "http://login.example.com/keys"} }, "it is not https"},
		{"keys are a page", func(i *issuer) { i.keysFault = text("<html>secret") }, "no key set"},
		{"keys are cut off", func(i *issuer) { i.keysFault = text(`{"keys":[`) }, "no key set"},
		{"no keys", func(i *issuer) { i.published = nil }, "none of them can be used"},
		{"only keys that are not understood", func(i *issuer) { i.keysFault = text(`{"keys":[{"kty":"new"},{"kty":"EC","crv":"x"},{}]}`) }, "none of them can be used"},
		{"only secret keys", func(i *issuer) { i.keysFault = text(`{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}`) }, "none of them can be used"},
		{"only private keys", func(i *issuer) { i.published = []any{jose.JSONWebKey{Key: newKey("").signer, KeyID: "1"}} }, "none of them can be used"},
		{"redirect", func(i *issuer) {
			i.keysFault = func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) }
		}, "status 302"},
		{"discovery redirects", func(i *issuer) {
			i.fault = func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) }
		}, "not a discovery document"},
		{"endless", func(i *issuer) {
			i.keysFault = text(`{"keys":[` + strings.Repeat(" ", 1<<20) + `]}`)
		}, "no key set"},
		{"transport panics", func(i *issuer) { i.fault = func(http.ResponseWriter, *http.Request) { panic("secret") } }, "panicked with a string"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			login := &issuer{}
			client := login.inMemory()
			k := newKey("1")
			login.publish(k)
			login.change(test.change)
			a := newApp(t, bearer.Config{Issuer: login.url, Client: client}, nil)
			require.Error(t, a.verifier.Ready(t.Context()))
			assert.Equal(t, 503, a.ask("Bearer "+k.sign(t, login.claims(nil), nil)).Code)
			err := a.log.last("bearer: the issuer's keys could not be fetched", "err")
			assert.Contains(t, err, test.logged)
			assert.NotContains(t, a.log.String(), "secret")
		})
	}
}

// Keys that are not understood, secret or not for signatures are passed over.
func TestOtherKeysInTheSet(t *testing.T) {
	t.Parallel()
	login := &issuer{}
	client := login.inMemory()
	k := newKey("1")
	login.publish(k)
	login.change(func(i *issuer) {
		i.published = append([]any{
			map[string]any{"kty": "new", "kid": "1"}, map[string]any{"kty": "oct", "k": "c2VjcmV0", "kid": "1"}, "text",
		}, i.published...)
	})
	a := newApp(t, bearer.Config{Issuer: login.url, Client: client}, nil)
	assert.Equal(t, 200, a.ask("Bearer "+k.sign(t, login.claims(nil), nil)).Code)
}

// A key for encryption signs nothing.
func TestEncryptionKey(t *testing.T) {
	t.Parallel()
	login := &issuer{}
	client := login.inMemory()
	k, enc := newKey("1"), newKey("2")
	login.publish(k, enc)
	login.change(func(i *issuer) {
		i.keysFault = func(w http.ResponseWriter, _ *http.Request) {
			_, _ = fmt.Fprintf(w, `{"keys":[%s,%s]}`, public(t, k, "sig"), public(t, enc, "enc"))
		}
	})
	a := newApp(t, bearer.Config{Issuer: login.url, Client: client}, nil)
	assert.Equal(t, 200, a.ask("Bearer "+k.sign(t, login.claims(nil), nil)).Code)
	assert.Equal(t, 401, a.ask("Bearer "+enc.sign(t, login.claims(nil), nil)).Code)
}

// pass lets that much time go by, on the bubble's clock.
func pass(d time.Duration) { <-time.After(d) }
