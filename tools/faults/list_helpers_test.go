package faults_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/marketplace"
	"github.com/rolegate/rolegate/rolegatetest"
)

// listHouse is a house with users from 1 to n, all teachers of organisation 7,
// whose pages have 1,000 rows.
func listHouse(n int64, more ...func(*tickSetup)) tickSetup {
	s := tickSetup{
		list: func(m *rolegatetest.Marketplace) {
			for id := int64(3); id <= n; id++ {
				m.Put(tickUser(id, "teacher"))
			}
		},
		client: func(c *marketplace.Config) { c.PageSize = 1000 },
	}
	for _, change := range more {
		change(&s)
	}
	return s
}

// pagesOf has pages of that many rows asked for.
func pagesOf(rows int) func(*tickSetup) {
	return func(s *tickSetup) { s.alsoClient(func(c *marketplace.Config) { c.PageSize = rows }) }
}

// refreshed sets how often is refreshed.
func refreshed(r rolegate.Refresh) func(*tickSetup) {
	return func(s *tickSetup) { s.gate = func(c *rolegate.Config) { c.Refresh = r } }
}

// alsoClient changes the client as well.
func (s *tickSetup) alsoClient(change func(*marketplace.Config)) {
	before := s.client
	s.client = func(c *marketplace.Config) {
		if before != nil {
			before(c)
		}
		change(c)
	}
}

// rarely has no refresh come by itself within a test.
var rarely = rolegate.Refresh{Every: 100 * time.Hour, ResyncEvery: 100 * time.Hour, ExpireAfter: 300 * time.Hour}

// calm has every user of the list but those enter, and the gate serve.
func (h *tickHouse) calm(t *testing.T, but ...int64) {
	t.Helper()
	for _, u := range h.m.Users() {
		if !slices.Contains(but, u.ID) {
			require.True(t, h.allowed(t, u.ID), "user %d", u.ID)
		}
	}
}

// rewritten answers as the marketplace would, with another body.
func rewritten(rewrite func(after int64, body string) string) rolegatetest.Fault {
	return func(w http.ResponseWriter, r *http.Request, normal http.Handler) {
		page := httptest.NewRecorder()
		normal.ServeHTTP(page, r)
		after, _ := strconv.ParseInt(r.URL.Query().Get("lastSequence"), 10, 64)
		body := rewrite(after, page.Body.String())
		maps.Copy(w.Header(), page.Header())
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.WriteHeader(page.Code)
		_, _ = w.Write([]byte(body))
	}
}

// rows has the rows of a page changed.
func rowsRewritten(change func(rows []json.RawMessage) []json.RawMessage) rolegatetest.Fault {
	return rewritten(func(_ int64, body string) string {
		var page struct {
			Code    int               `json:"code"`
			Status  string            `json:"status"`
			Message string            `json:"message"`
			Data    []json.RawMessage `json:"data"`
		}
		if json.Unmarshal([]byte(body), &page) != nil {
			return body
		}
		page.Data = append([]json.RawMessage{}, change(page.Data)...)
		changed, _ := json.Marshal(page)
		return string(changed)
	})
}

// A rowServer is a marketplace whose rows have any sequence at all.
type rowServer struct {
	mu        sync.Mutex
	rows      map[int64]int64 // sequences by user id
	cap       int
	inclusive bool
	requests  atomic.Int64
}

func (s *rowServer) put(id, sequence int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rows == nil {
		s.rows = map[int64]int64{}
	}
	s.rows[id] = sequence
}

func (s *rowServer) remove(id int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.rows, id)
}

func (s *rowServer) RoundTrip(r *http.Request) (*http.Response, error) {
	s.requests.Add(1)
	after, _ := strconv.ParseInt(r.URL.Query().Get("lastSequence"), 10, 64)
	limit, _ := strconv.Atoi(r.URL.Query().Get("limit"))
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids []int64
	for id, sequence := range s.rows {
		if after == 0 || sequence > after || s.inclusive && sequence == after {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b int64) int { return cmp.Or(cmp.Compare(s.rows[a], s.rows[b]), cmp.Compare(a, b)) })
	if s.cap > 0 {
		limit = min(limit, s.cap)
	}
	var rows []string
	for _, id := range ids[:min(limit, len(ids))] {
		rows = append(rows, fmt.Sprintf(`{"userId":%d,"lastSequence":%d,"roleList":[{"orgId":7,"roleCode":"teacher"}]}`, id, s.rows[id]))
	}
	w := httptest.NewRecorder()
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Date", time.Now().UTC().Format(http.TimeFormat))
	_, _ = w.Write(bytes.NewBufferString(tickPage200(rows...)).Bytes())
	return w.Result(), nil
}

// openOn opens a gate on a rowServer.
func openOn(t *testing.T, s *rowServer, pageSize int, r rolegate.Refresh) (*rolegate.Gate, *logBook) {
	t.Helper()
	return tickGate(t, rolegate.Config{Refresh: r, Source: marketplace.New(marketplace.Config{
		BaseURL: rolegatetest.BaseURL, AppID: "app", Token: marketplace.StaticToken("a-token"), Transport: s, PageSize: pageSize,
	})})
}

// inBubble runs a subtest on the clock of a bubble.
func inBubble(t *testing.T, name string, f func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, f)
	})
}

// within says that something comes about, and how long it may take.
func within(t *testing.T, limit time.Duration, what string, cond func() bool) {
	t.Helper()
	began := time.Now()
	for !cond() {
		if time.Since(began) > limit {
			require.FailNow(t, "it did not come about: "+what, "within %v", limit)
		}
		tickAfter(250 * time.Millisecond)
	}
}

// warnings are the log lines of level WARN and above whose message says so.
func (b *logBook) warnings(says string) (found []map[string]any) {
	for line := range strings.Lines(b.String()) {
		var entry map[string]any
		if json.Unmarshal([]byte(line), &entry) == nil && strings.Contains(fmt.Sprint(entry["msg"]), says) &&
			(entry["level"] == "WARN" || entry["level"] == "ERROR") {
			found = append(found, entry)
		}
	}
	return found
}

// refuses checks why a refresh failed.
func refuses(t *testing.T, err error, want rolegate.Failure, says ...string) {
	t.Helper()
	var failed *rolegate.PullError
	require.ErrorAs(t, err, &failed)
	require.Equal(t, want, failed.Failure, "%v", err)
	for _, text := range says {
		assert.ErrorContains(t, err, text)
	}
}
