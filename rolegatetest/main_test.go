package rolegatetest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/rolegate/rolegate/rolegatetest"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// reader asks a marketplace for pages, as a client would.
type reader struct {
	*http.Client
	base, app, token string
}

func newReader(m *rolegatetest.Marketplace) *reader {
	return &reader{Client: m.Client(), base: rolegatetest.BaseURL, app: m.AppID(), token: m.Token()}
}

// reply is an answer, complete as far as err allows.
type reply struct {
	status int
	header http.Header
	body   string
	err    error
}

func (c *reader) get(ctx context.Context, after int64, limit int) reply {
	q := url.Values{"accessToken": {c.token}, "lastSequence": {strconv.FormatInt(after, 10)}, "limit": {strconv.Itoa(limit)}}
	return c.do(ctx, http.MethodGet, "/app/user/list?"+q.Encode(), http.Header{"X-App-Id": {c.app}})
}

func (c *reader) do(ctx context.Context, method, target string, header http.Header) reply {
	r, err := http.NewRequestWithContext(ctx, method, c.base+target, nil)
	if err != nil {
		return reply{err: err}
	}
	r.Header = header
	resp, err := c.Do(r)
	if err != nil {
		return reply{err: err}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header, string(body), err}
}

// id is an id in either spelling.
type id int64

func (i *id) UnmarshalJSON(b []byte) error {
	n, err := strconv.ParseInt(strings.Trim(string(b), `"`), 10, 64)
	*i = id(n)
	return err
}

type page struct {
	Code    int
	Status  string
	Message string
	Data    []record
}

type record struct {
	UserID       id
	Account      string
	LastSequence id
	RoleList     []struct {
		OrgID    id
		RoleCode string
		RoleID   id
		UserID   id
	}
}

// page reads a page that must be a good one.
func (c *reader) page(t *testing.T, after int64, limit int) []record {
	t.Helper()
	got := c.get(t.Context(), after, limit)
	require.NoError(t, got.err)
	require.Equal(t, http.StatusOK, got.status, got.body)
	var p page
	require.NoError(t, json.Unmarshal([]byte(got.body), &p))
	require.Equal(t, 200, p.Code, got.body)
	return p.Data
}

var errStuck = errors.New("a full page does not move on")

// full reads from after to the end of the list: an empty page, or a short one
// that does not move on.
func (c *reader) full(t *testing.T, after int64, limit int) (records []record, err error) {
	t.Helper()
	for {
		rows := c.page(t, after, limit)
		last := after
		for _, r := range rows {
			last = max(last, int64(r.LastSequence))
		}
		records = append(records, rows...)
		switch {
		case last == after && len(rows) == limit:
			return records, errStuck
		case last == after:
			return records, nil
		}
		after = last
	}
}

func ids(records []record) []int64 {
	got := make([]int64, 0, len(records))
	for _, r := range records {
		got = append(got, int64(r.UserID))
	}
	return got
}

func users(from, to int64) []rolegatetest.User {
	var list []rolegatetest.User
	for n := from; n <= to; n++ {
		list = append(list, rolegatetest.User{ID: n, Account: fmt.Sprintf("user%d", n)})
	}
	return list
}
