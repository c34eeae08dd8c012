package rolegatetest_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rolegate/rolegate/rolegatetest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// overBoth runs test against one marketplace in the process and one behind a
// socket: no fault may look different there.
func overBoth(t *testing.T, test func(*testing.T, *rolegatetest.Marketplace, *reader)) {
	t.Helper()
	for _, where := range []string{"transport", "socket"} {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{})
			m.Put(users(1, 10)...)
			c := newReader(m)
			if where == "socket" {
				c.base = m.Start(t)
				c.Client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			}
			test(t, m, c)
		})
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	const empty = `{"code":200,"status":"success","message":"请求成功","data":[]}`
	for name, tc := range map[string]struct {
		fault  rolegatetest.Fault
		status int // of a request after sequence 10, which has no rows
		body   string
		header [2]string
		broken bool // the body breaks off
		none   bool // no answer at all
	}{
		"ErrorEnvelope":             {fault: rolegatetest.ErrorEnvelope(500, `no "way"`), status: 200, body: `{"code":500,"data":{},"message":"no \"way\"","status":"fail"}`},
		"HTTPStatus":                {fault: rolegatetest.HTTPStatus(503, "Retry-After", "7"), status: 503, header: [2]string{"Retry-After", "7"}, body: `{"code":503,"data":{},"message":"Service Unavailable","status":"fail"}`},
		"HTTPStatus without a body": {fault: rolegatetest.HTTPStatus(204), status: 204},
		"HTMLPage":                  {fault: rolegatetest.HTMLPage(), status: 200, header: [2]string{"Content-Type", "text/html; charset=utf-8"}, body: "<!DOCTYPE html>\n<html><head><title>登录</title></head><body>请先登录</body></html>\n"},
		"Body":                      {fault: rolegatetest.Body("null"), status: 200, body: "null"},
		"EmptyBody":                 {fault: rolegatetest.EmptyBody(), status: 200},
		"EmptyData":                 {fault: rolegatetest.EmptyData(), status: 200, body: `{"code":200,"status":"success","message":"请求成功","data":{}}`},
		"Garbage":                   {fault: rolegatetest.Garbage(), status: 200, body: "\x00\xff\xfe{\"code\":200\x80]]}\x1f\x8b"},
		"CachedReply":               {fault: rolegatetest.CachedReply(90 * time.Second), status: 200, header: [2]string{"Age", "90"}, body: empty},
		"RefuseToken":               {fault: rolegatetest.RefuseToken(), status: 200, body: `{"code":401,"data":{},"message":"应用或 accessToken 无效","status":"fail"}`},
		"Trailing":                  {fault: rolegatetest.Trailing("{}"), status: 200, body: empty + "{}"},
		"Truncated":                 {fault: rolegatetest.Truncated(), status: 200, body: empty[:len(empty)/2], broken: true},
		"Unterminated":              {fault: rolegatetest.Unterminated(), status: 200, body: empty[:len(empty)/2]},
		"Slow":                      {fault: rolegatetest.Slow(time.Millisecond), status: 200, body: empty},
		"Drip":                      {fault: rolegatetest.Drip(time.Microsecond), status: 200, body: empty},
		"Reset":                     {fault: rolegatetest.Reset(), none: true},
		"nil":                       {status: 200, body: empty},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			overBoth(t, func(t *testing.T, m *rolegatetest.Marketplace, c *reader) {
				m.Fail(tc.fault)
				got := c.get(t.Context(), 10, 10)
				if tc.none {
					require.ErrorIs(t, got.err, io.EOF)
					assert.Zero(t, m.Requests()[0].Status)
					return
				}
				if tc.broken {
					require.ErrorIs(t, got.err, io.ErrUnexpectedEOF)
				} else {
					require.NoError(t, got.err)
				}
				assert.Equal(t, tc.status, got.status)
				assert.Equal(t, tc.status, m.Requests()[0].Status)
				assert.Equal(t, tc.body, got.body)
				assert.Equal(t, tc.header[1], got.header.Get(tc.header[0]))
				_, err := http.ParseTime(got.header.Get("Date"))
				require.NoError(t, err)

				m.Recover()
				assert.Equal(t, empty, c.get(t.Context(), 10, 10).body)
			})
		})
	}
	odd := []string{"Retry-After"}
	assert.Panics(t, func() { rolegatetest.HTTPStatus(503, odd...) })
}

// A cut that HTTP does not show must not show in a length or a last chunk.
func TestUnterminatedOnTheWire(t *testing.T) {
	t.Parallel()
	m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{})
	m.Fail(rolegatetest.Unterminated())
	conn, err := net.Dial("tcp", m.Start(t)[len("http://"):])
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, "GET /app/user/list?accessToken="+m.Token()+" HTTP/1.1\r\nHost: x\r\nX-App-Id: "+m.AppID()+"\r\n\r\n")
	require.NoError(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	defer resp.Body.Close()
	assert.Equal(t, int64(-1), resp.ContentLength)
	assert.Empty(t, resp.TransferEncoding)
	assert.True(t, resp.Close)
}

func TestDropRows(t *testing.T) {
	t.Parallel()
	m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{})
	m.Put(users(1, 10)...)
	m.Revoke(1, 3)
	c := newReader(m)
	for n, want := range map[int][]int64{-1: {}, 0: {}, 3: {2, 4, 5}, 100: {2, 4, 5, 6, 7, 8, 9, 10}} {
		m.Fail(rolegatetest.DropRows(n))
		got, err := c.full(t, 0, 2)
		require.NoError(t, err)
		assert.Equal(t, want, ids(got), "DropRows(%d)", n)
	}
	assert.Equal(t, 8, m.Len())
	m.Recover()
	got, err := c.full(t, 0, 2)
	require.NoError(t, err)
	assert.Len(t, got, 8)
}

func TestStuckPage(t *testing.T) {
	t.Parallel()
	m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{})
	m.Put(users(1, 10)...)
	m.Fail(rolegatetest.StuckPage())
	c := newReader(m)
	got, err := c.full(t, 0, 5)
	require.ErrorIs(t, err, errStuck)
	assert.Equal(t, []int64{1, 2, 3, 4, 5, 1, 2, 3, 4, 5}, ids(got))
	assert.Equal(t, int64(5), m.Requests()[1].After, "as it was asked")
}

func TestEndless(t *testing.T) {
	t.Parallel()
	m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{})
	m.Fail(rolegatetest.Endless())
	c := newReader(m)
	after := int64(0)
	for range 5 {
		rows := c.page(t, after, 3)
		assert.Equal(t, []int64{after + 1, after + 2, after + 3}, ids(rows))
		after = int64(rows[2].LastSequence)
	}
}

func TestNoProgress(t *testing.T) {
	t.Parallel()
	m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{})
	m.Fail(rolegatetest.NoProgress())
	got, err := newReader(m).full(t, 0, 3)
	require.ErrorIs(t, err, errStuck)
	assert.Equal(t, []int64{1, 2, 3, 2, 3, 4}, ids(got))
	for _, r := range got {
		assert.Equal(t, int64(1), int64(r.LastSequence))
	}
}

func TestHangEndsWithTheRequest(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, m *rolegatetest.Marketplace, c *reader) {
		arrived := make(chan struct{})
		m.Fail(func(w http.ResponseWriter, r *http.Request, normal http.Handler) {
			close(arrived)
			rolegatetest.Hang()(w, r, normal)
		})
		enough := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		go func() {
			<-arrived
			cancel(enough)
		}()
		require.ErrorIs(t, c.get(ctx, 0, 10).err, enough)
		require.Len(t, m.Requests(), 1)
		assert.Zero(t, m.Requests()[0].Rows)
	})
}

func TestSlowPageIsOfTheMomentItWasAskedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{})
		m.Put(users(1, 2)...)
		m.FailNext(1, rolegatetest.Slow(time.Minute))
		time.AfterFunc(time.Second, func() { m.Revoke(1) })
		start := time.Now()
		assert.Equal(t, []int64{1, 2}, ids(newReader(m).page(t, 0, 10)))
		assert.Equal(t, time.Minute, time.Since(start))
		assert.Equal(t, []int64{2}, ids(newReader(m).page(t, 0, 10)))
	})
}

func TestDripTakesItsTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{})
		m.Fail(rolegatetest.Drip(time.Second))
		start := time.Now()
		got := newReader(m).get(t.Context(), 0, 10)
		assert.Equal(t, time.Duration(len(got.body))*time.Second, time.Since(start))

		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		require.ErrorIs(t, newReader(m).get(ctx, 0, 10).err, context.DeadlineExceeded)
	})
}

func TestWhichFaultDecides(t *testing.T) {
	t.Parallel()
	m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{})
	c := newReader(m)
	status := func(after int64) int { return c.get(t.Context(), after, 10).status }

	m.Fail(rolegatetest.HTTPStatus(500))
	m.FailWhen(rolegatetest.Request.BeginsFullRefresh, rolegatetest.HTTPStatus(501))
	m.FailWhen(func(r rolegatetest.Request) bool { return r.After == 7 && m.FullRefreshes() > 0 }, nil)
	m.FailNext(2, rolegatetest.HTTPStatus(502))
	m.FailNext(1, nil)
	m.FailNext(0, rolegatetest.HTTPStatus(599))
	m.FailNext(1, rolegatetest.HTTPStatus(503))
	assert.Equal(t, []int{502, 502, 200, 503, 501, 500, 200, 501}, []int{
		status(0), status(1), status(0), status(1), status(0), status(1), status(7), status(0),
	})
	m.FailWhen(rolegatetest.Request.BeginsFullRefresh, rolegatetest.HTTPStatus(504))
	assert.Equal(t, 504, status(0), "the last one set")
	m.Fail(rolegatetest.HTTPStatus(505))
	assert.Equal(t, 505, status(1))
	m.Recover()
	assert.Equal(t, []int{200, 200}, []int{status(0), status(1)})
}
