//go:build drill

package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rolegatetest"
)

// A market is a fake marketplace that knows who asks, and who makes which full refresh when. Every
// replica has an access token of its own for that.
type market struct {
	*rolegatetest.Marketplace
	url    string
	listed int64 // the sequence of the last user of the first list: what comes after is news

	mu    sync.Mutex
	fulls []*seenFull
}

// A seenFull is a full refresh as the marketplace sees it: from the arrival of the
// request for the first page to the end of the last answer from the list.
type seenFull struct {
	who      string
	from, to time.Time
	pages    int
	open     int // requests under way
}

// The users of the tests.
const (
	firstUser = 1542135022016058000

	teacher = firstUser + 1 // always on the list
	admin   = firstUser + 2
	leaving = firstUser + 1000 // and the hundreds after: revoked one after the other
	pupils  = firstUser + 2000 // and all after: theirs are the changes

	school = 7
)

// openMarket has so many users listed.
func openMarket(t testing.TB, users int, latency time.Duration) *market {
	t.Helper()
	m := &market{Marketplace: rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{Latency: latency})}
	for i := range int64(users) {
		role := "pupil"
		switch id := firstUser + i; {
		case id == admin:
			role = "admin"
		case id < pupils:
			role = "teacher"
		}
		m.Put(marketUser(firstUser+i, role))
	}
	m.listed = m.Sequence()
	server := httptest.NewServer(m)
	t.Cleanup(server.Close)
	m.url = server.URL
	return m
}

func marketUser(id int64, role string) rolegatetest.User {
	return rolegatetest.User{ID: id, Grants: []rolegate.Grant{{OrgID: school, RoleCode: role}}}
}

// tokenOf is the access token of a replica.
func tokenOf(who string) string { return "AT-of-" + who }

// ServeHTTP notes what is asked, and has the marketplace answer.
func (m *market) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	who := strings.TrimPrefix(query.Get("accessToken"), "AT-of-")
	query.Set("accessToken", m.Token())
	r = r.Clone(r.Context())
	r.URL.RawQuery = query.Encode()
	if after, _ := strconv.ParseInt(query.Get("lastSequence"), 10, 64); after < m.listed {
		full := m.page(who, after)
		defer func() {
			m.mu.Lock()
			defer m.mu.Unlock()
			full.open--
			full.to = time.Now()
		}()
	}
	m.Marketplace.ServeHTTP(w, r)
}

// page notes that a full refresh is under way.
func (m *market) page(who string, after int64) *seenFull {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	at := -1
	for i, w := range m.fulls {
		if w.who == who {
			at = i
		}
	}
	if after == 0 || at < 0 {
		m.fulls = append(m.fulls, &seenFull{who: who, from: now})
		at = len(m.fulls) - 1
	}
	w := m.fulls[at]
	w.pages++
	w.open++
	w.to = now
	return w
}

// seen returns the full refreshes that began since then.
func (m *market) seen(since time.Time) (fulls []seenFull) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, w := range m.fulls {
		if !w.from.Before(since) {
			fulls = append(fulls, *w)
		}
	}
	return fulls
}

// refreshing reports whether that replica is in the middle of a full refresh.
func (m *market) refreshing(who string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, w := range slices.Backward(m.fulls) {
		if w.who == who {
			return w.open > 0 && w.pages > 1
		}
	}
	return false
}

// atOnce returns how many of the full refreshes were under way at the same time, and
// tells of them.
func atOnce(fulls []seenFull) (most int, tell string) {
	for _, w := range fulls {
		n := 0
		var who []string
		for _, v := range fulls {
			if !v.from.After(w.from) && v.to.After(w.from) {
				n++
				who = append(who, fmt.Sprintf("%s from %s for %v", v.who, v.from.Format("15:04:05.000"), v.to.Sub(v.from).Round(time.Millisecond)))
			}
		}
		if n > most {
			most, tell = n, strings.Join(who, "; ")
		}
	}
	return most, tell
}
