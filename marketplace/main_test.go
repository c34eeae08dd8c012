package marketplace_test

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/marketplace"
)

func TestMain(m *testing.M) {
	flag.Parse()
	_ = flag.Set("test.parallel", "16") // most of what takes time waits between attempts
	goleak.VerifyTestMain(m)
}

// secret is the token of these tests. It has what escapings differ about.
const secret = `AT-3-s3cr3t/+"é token`

// A transport answers requests without a network.
type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// reply makes a reply; header are names and values by turns.
func reply(status int, body string, header ...string) *http.Response {
	h := http.Header{}
	for i := 0; i < len(header); i += 2 {
		h.Add(header[i], header[i+1])
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body))}
}

// ok is an envelope with these records.
func ok(records ...string) string {
	return `{"code":200,"status":"success","message":"","data":[` + strings.Join(records, ",") + `]}`
}

// user is a good record.
func user(id, seq int64) string {
	return fmt.Sprintf(`{"userId":%d,"lastSequence":%d,"roleList":[]}`, id, seq)
}

// always answers each request with the same.
func always(status int, body string, header ...string) transport {
	return func(*http.Request) (*http.Response, error) { return reply(status, body, header...), nil }
}

// client is a client of tr, with the changes of edit.
func client(tr http.RoundTripper, edit ...func(*marketplace.Config)) *marketplace.Client {
	cfg := marketplace.Config{
		BaseURL:   "http://market.test/api",
		AppID:     "app-1",
		Token:     marketplace.StaticToken(secret),
		Transport: tr,
	}
	if tr != nil {
		cfg.Transport = &bounded{RoundTripper: tr}
	}
	for _, f := range edit {
		f(&cfg)
	}
	return marketplace.New(cfg)
}

// A bounded transport ends a test whose client would ask for ever: the clock of
// synctest does not.
type bounded struct {
	http.RoundTripper
	asked atomic.Int64
}

func (b *bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	if b.asked.Add(1) > 20_000 {
		panic("the client asks without end")
	}
	return b.RoundTripper.RoundTrip(r)
}

// serve starts a server for h and returns a client of it.
func serve(t *testing.T, h http.HandlerFunc, edit ...func(*marketplace.Config)) *marketplace.Client {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	edit = append([]func(*marketplace.Config){func(c *marketplace.Config) { c.BaseURL = srv.URL }}, edit...)
	c := client(nil, edit...)
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// pull pulls and returns what was yielded, with grants of its own.
func pull(t *testing.T, c *marketplace.Client, after int64) ([]rolegate.Record, error) {
	t.Helper()
	var out []rolegate.Record
	err := c.Pull(t.Context(), after, func(r rolegate.Record) {
		r.Grants = slices.Clone(r.Grants)
		out = append(out, r)
	})
	return out, err
}

// requireFailure requires that err is a PullError of this kind, and that
// nothing in it tells the token.
func requireFailure(t *testing.T, want rolegate.Failure, err error) *rolegate.PullError {
	t.Helper()
	var pe *rolegate.PullError
	require.ErrorAs(t, err, &pe)
	require.Equal(t, want, pe.Failure, "%v", err)
	assert.Equal(t, want == rolegate.FailureRefused, errors.Is(err, rolegate.ErrRefused))
	requireClean(t, err, secret)
	return pe
}

// A list is a fake of the marketplace's list.
type list struct {
	inclusive bool // it answers from the cursor on
	most      int  // rows a page, 0 for as many as asked for

	mu   sync.Mutex
	rows []listed
	asks []int64 // the cursors that were asked for
}

type listed struct {
	id, seq int64
	json    string // instead of a good record
}

func (l *list) RoundTrip(r *http.Request) (*http.Response, error) {
	q := r.URL.Query()
	after, err := strconv.ParseInt(q.Get("lastSequence"), 10, 64)
	if err != nil {
		return nil, err
	}
	limit, err := strconv.Atoi(q.Get("limit"))
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asks = append(l.asks, after)
	slices.SortStableFunc(l.rows, func(a, b listed) int { return cmp.Compare(a.seq, b.seq) })
	var page []string
	for _, row := range l.rows {
		if row.seq > after || l.inclusive && row.seq == after {
			page = append(page, cmp.Or(row.json, user(row.id, row.seq)))
		}
	}
	if l.most > 0 {
		limit = min(limit, l.most)
	}
	return reply(200, ok(page[:min(limit, len(page))]...)), nil
}

// ids returns the distinct user ids of records, sorted.
func ids(records []rolegate.Record) []int64 {
	var out []int64
	for _, r := range records {
		out = append(out, r.UserID)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// blocked is a body that gives nothing until ctx ends.
type blocked struct{ ctx context.Context }

func (b blocked) Read([]byte) (int, error) {
	<-b.ctx.Done()
	return 0, b.ctx.Err()
}
func (blocked) Close() error { return nil }
