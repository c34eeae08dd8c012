package rolegatetest_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rolegate/rolegate/rolegatetest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var _ rolegatetest.TB = testing.TB(nil)

func TestListenAndStop(t *testing.T) {
	t.Parallel()
	m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{})
	first, stop, err := m.Listen()
	require.NoError(t, err)
	defer stop()
	second := m.Start(t) // one marketplace, two doors
	assert.NotEqual(t, first, second)

	c := newReader(m)
	client := &http.Client{Transport: new(http.Transport)} // keeps its connections
	c.Client = client
	for _, c.base = range []string{first, second} {
		assert.Equal(t, 200, c.get(t.Context(), 0, 10).status)
	}
	hanging := make(chan error, 1)
	arrived := make(chan struct{})
	m.Fail(func(w http.ResponseWriter, r *http.Request, normal http.Handler) {
		close(arrived)
		rolegatetest.Hang()(w, r, normal)
	})
	go func() { hanging <- (&reader{client, first, m.AppID(), m.Token()}).get(context.Background(), 0, 10).err }()
	<-arrived
	stop()
	stop()
	require.Error(t, <-hanging)
	m.Recover()
	assert.Equal(t, 200, c.get(t.Context(), 0, 10).status, "the second door is open")
	c.base = first
	require.Error(t, c.get(t.Context(), 0, 10).err)
	client.CloseIdleConnections()
}

func TestTransportIsLikeAConnection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{})
		var got http.Request
		m.Fail(func(w http.ResponseWriter, r *http.Request, normal http.Handler) {
			got = *r
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusAccepted)
			w.Header().Set("Late", "1")
			w.WriteHeader(http.StatusTeapot)
			_, _ = io.WriteString(w, "hello")
		})
		closed := false
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://any.host:8443/a%2Fb?q=1", nil)
		require.NoError(t, err)
		r.Body = closer{strings.NewReader("x"), &closed}
		resp, err := m.Transport().RoundTrip(r)
		require.NoError(t, err)
		assert.True(t, closed, "a RoundTripper closes the body")

		assert.Equal(t, "any.host:8443", got.Host)
		assert.Equal(t, "/a%2Fb?q=1", got.RequestURI)
		assert.Equal(t, "/a%2Fb?q=1", got.URL.String())
		assert.Equal(t, "https://any.host:8443/a%2Fb?q=1", r.URL.String(), "the client's request is its own")

		assert.Equal(t, "202 Accepted", resp.Status)
		assert.Empty(t, resp.Header.Get("Late"))
		date, err := http.ParseTime(resp.Header.Get("Date"))
		require.NoError(t, err)
		assert.WithinDuration(t, time.Now(), date, 0, "the bubble's clock")
		assert.Equal(t, int64(-1), resp.ContentLength)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		assert.Equal(t, "hello", string(body))
		require.NoError(t, resp.Body.Close())
		assert.Equal(t, 202, m.Requests()[0].Status)
	})
}

type closer struct {
	io.Reader
	closed *bool
}

func (c closer) Close() error { *c.closed = true; return nil }

func TestTransportEdges(t *testing.T) {
	t.Parallel()
	m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{})
	c := newReader(m)

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, c.get(ended, 0, 10).err, context.Canceled)
	assert.Zero(t, m.RequestCount(), "nothing is sent on a context that has ended")

	head := c.do(t.Context(), http.MethodHead, "/app/user/list", nil)
	assert.Equal(t, []any{405, "", "GET"}, []any{head.status, head.body, head.header.Get("Allow")})

	m.Fail(func(http.ResponseWriter, *http.Request, http.Handler) { panic("a mistake in a test") })
	assert.PanicsWithValue(t, "a mistake in a test", func() { c.get(t.Context(), 0, 10) })
	m.Fail(func(http.ResponseWriter, *http.Request, http.Handler) {})
	assert.Equal(t, 200, c.get(t.Context(), 0, 10).status, "as net/http answers for a silent handler")
}

func TestRedirectIsTheClientsToFollow(t *testing.T) {
	t.Parallel()
	m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{})
	m.FailNext(1, rolegatetest.HTTPStatus(302, "Location", "https://elsewhere.test/x"))
	c := newReader(m)
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	assert.Equal(t, 302, c.get(t.Context(), 0, 10).status)
	assert.Equal(t, 1, m.RequestCount())
}

// recordingTB is a test that ends when it is told to.
type recordingTB struct{ cleanups []func() }

func (*recordingTB) Helper()                      {}
func (*recordingTB) Errorf(f string, args ...any) { panic(fmt.Sprintf(f, args...)) }
func (*recordingTB) Fatalf(f string, args ...any) { panic(fmt.Sprintf(f, args...)) }
func (tb *recordingTB) Cleanup(f func())          { tb.cleanups = append(tb.cleanups, f) }

func TestStartEndsWithItsTest(t *testing.T) {
	t.Parallel()
	m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{})
	var tb recordingTB
	c := newReader(m)
	c.base = m.Start(&tb)
	c.Client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	assert.Equal(t, 200, c.get(t.Context(), 0, 10).status)
	require.Len(t, tb.cleanups, 1)
	tb.cleanups[0]()
	require.Error(t, c.get(t.Context(), 0, 10).err)
}
