package marketplace_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"

	"github.com/rolegate/rolegate"
	_ "github.com/rolegate/rolegate/internal/rapidseed"
	"github.com/rolegate/rolegate/marketplace"
)

// A movingList is a marketplace that is written to while it is read: some
// changes come before each reply.
type movingList struct {
	rng       *rand.Rand
	cap       int // rows a page
	inclusive bool
	order     string // "ascending", "shuffled" within a page, "descending"
	perReply  int    // changes before each reply
	adds      bool   // they are new users
	errors    float64
	lag       int // replies may be as old as so many requests

	rows     []listed
	next     int64
	versions [][]listed
	requests int
	changes  int
	failed   int
	largest  int // page
}

func (l *movingList) change() {
	for range l.perReply {
		l.changes++
		l.next++
		if l.adds || len(l.rows) == 0 {
			l.rows = append(l.rows, listed{id: 1_000_000 + l.next, seq: l.next})
			continue
		}
		l.rows[l.rng.IntN(len(l.rows))].seq = l.next
	}
	slices.SortStableFunc(l.rows, func(a, b listed) int { return cmp.Compare(a.seq, b.seq) })
	l.versions = append(l.versions, slices.Clone(l.rows))
}

func (l *movingList) RoundTrip(r *http.Request) (*http.Response, error) {
	if l.requests++; l.requests > 500 { // more changes than it can read
		return reply(500, ""), nil
	}
	if l.rng.Float64() < l.errors {
		l.failed++
		return reply([]int{502, 503, 504, 429}[l.rng.IntN(4)], ""), nil
	}
	l.change()
	rows := l.versions[max(0, len(l.versions)-1-l.rng.IntN(l.lag+1))]
	q := r.URL.Query()
	after, _ := strconv.ParseInt(q.Get("lastSequence"), 10, 64)
	limit, _ := strconv.Atoi(q.Get("limit"))
	var page []listed
	for _, row := range rows {
		if row.seq > after || l.inclusive && row.seq == after || after == 0 {
			page = append(page, row)
		}
	}
	if l.order == "descending" {
		slices.Reverse(page)
	}
	page = page[:min(limit, l.cap, len(page))]
	if l.order == "shuffled" {
		page = slices.Clone(page)
		l.rng.Shuffle(len(page), func(i, j int) { page[i], page[j] = page[j], page[i] })
	}
	l.largest = max(l.largest, len(page))
	var out []string
	for _, row := range page {
		out = append(out, user(row.id, row.seq))
	}
	return reply(200, ok(out...)), nil
}

// A full refresh of any marketplace ends within the number of requests that it
// takes to read the list and what changes meanwhile, and three more; and it is
// never believed when somebody is missing.
func TestFullRefreshEndsAndIsWhole(t *testing.T) {
	t.Parallel()
	outer := t
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.Uint64().Draw(t, "seed")
		n := rapid.IntRange(0, 400).Draw(t, "users")
		l := &movingList{
			rng:       rand.New(rand.NewPCG(seed, 1)),
			cap:       rapid.SampledFrom([]int{10, 11, 25, 37, 100, 1000}).Draw(t, "cap"),
			inclusive: rapid.Bool().Draw(t, "inclusive"),
			order:     rapid.SampledFrom([]string{"ascending", "ascending", "shuffled", "descending"}).Draw(t, "order"),
			perReply:  rapid.SampledFrom([]int{0, 0, 1, 3, 9, 30}).Draw(t, "changes for each reply"),
			adds:      rapid.Bool().Draw(t, "new users"),
			errors:    rapid.SampledFrom([]float64{0, 0, 0.01, 0.1}).Draw(t, "errors"),
			lag:       rapid.SampledFrom([]int{0, 0, 1, 5}).Draw(t, "lag"),
		}
		tie := rapid.SampledFrom([]int{1, 1, 2, 5, 9, 60}).Draw(t, "users with one sequence")
		base := rapid.SampledFrom([]int64{0, 1, 1 << 50}).Draw(t, "first sequence")
		for i := range n {
			l.rows = append(l.rows, listed{id: int64(i + 1), seq: base + int64(i/tie)})
		}
		l.next = base + int64(n)
		l.versions = [][]listed{slices.Clone(l.rows)}
		limit := rapid.SampledFrom([]int{0, 50, 1000}).Draw(t, "page size")
		capacity := min(l.cap, cmp.Or(limit, 900))

		c := client(l, func(c *marketplace.Config) { c.PageSize = limit })
		seen := map[int64]bool{}
		var highest int64
		var err error
		synctest.Test(outer, func(t *testing.T) { // the pauses pass at once
			err = c.Pull(t.Context(), 0, func(r rolegate.Record) {
				seen[r.UserID] = true
				highest = max(highest, r.Sequence)
			})
		})
		shown := max(min(capacity, l.largest), 1) // the capacity that the client can have seen
		// Users who share a sequence, or whose number is that of the page
		// before, are read again with each page.
		again := 1
		if l.inclusive {
			again = 2
		}
		if tie > 1 {
			again += tie - 1
		}
		if shown > again {
			most := (n+l.changes+shown-again-1)/(shown-again) + 3 + l.failed
			if l.lag > 0 {
				most = 2*most + l.lag // pages that are older than those before
			}
			if l.perReply < shown-again && l.requests > most {
				t.Fatalf("%d requests for %d users and %d changes, %d a page: expected at most %d (%v)", l.requests, n, l.changes, shown, most, err)
			}
		}
		if err != nil {
			// Fewer than ten users in one page, or a sane list, are no
			// reason to fail.
			sane := l.order != "descending" && tie < capacity/2 && l.errors < 0.1 && l.perReply < capacity/2
			// Nor is one in which several users have sequence 0 and others 1: what
			// comes after 0 is all of the list, so that a full page may hide some.
			if sane && (tie == 1 || n > tie && base > 0) {
				t.Fatalf("%v", err)
			}
			return
		}
		for _, row := range l.rows {
			// A server that lags may show a user's old place in the list after the
			// cursor has passed it, and one whose list changes by a page for each
			// page may always have a user behind its last one. The next incremental
			// refresh has them.
			late := (l.lag > 0 || l.perReply >= shown) && row.seq > highest
			if row.id <= int64(n) && !seen[row.id] && !late {
				t.Fatalf("user %d of %d is missing after %d requests, and nothing says so", row.id, n, l.requests)
			}
		}
	})
}

// An incremental refresh ends as well while the list never rests, and what it
// has handed over are the first of the changes.
func TestIncrementalRefreshEndsWhileTheListMoves(t *testing.T) {
	t.Parallel()
	for _, inclusive := range []bool{false, true} {
		for _, perReply := range []int{0, 1, 20, 40} {
			t.Run(fmt.Sprintf("inclusive=%t/%d changes for each reply", inclusive, perReply), func(t *testing.T) {
				t.Parallel()
				l := &movingList{rng: rand.New(rand.NewPCG(1, 2)), cap: 100, inclusive: inclusive, order: "ascending", perReply: perReply, adds: true, rows: numbered(250, unique), next: 250}
				c := client(l, func(c *marketplace.Config) { c.PageSize = 1000 })
				if _, err := pull(t, c, 0); err != nil {
					t.Fatal(err)
				}
				full := l.requests // what changed meanwhile is to be read, too
				l.requests = 0
				var last int64
				err := c.PullPages(t.Context(), 200, func(records []rolegate.Record) error {
					last = noGap(t, last, records)
					return nil
				})
				if err != nil || l.requests > (50+perReply*(l.requests+full))/98+3 {
					t.Fatal(l.requests, err)
				}
			})
		}
	}
}

// noGap returns the highest sequence so far, and sees that a page leaves none out.
func noGap(t *testing.T, last int64, page []rolegate.Record) int64 {
	t.Helper()
	for _, r := range page {
		if r.Sequence > last+1 && last > 0 {
			t.Errorf("sequence %d comes after %d", r.Sequence, last)
		}
		last = max(last, r.Sequence)
	}
	return last
}

// A server may come to give fewer users at a time than the last full refresh has seen,
// and even while it is read: what it had when an incremental refresh began is read.
func TestIncrementalRefreshWhereTheServerGivesLess(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name           string
		before, first  int // rows a page: of the full refresh, and of the first pages
		pages, then    int // how many those are, and rows a page after them
		perReply, most int
	}{
		{"since the full refresh", 1000, 300, 0, 300, 0, 11},
		{"since the full refresh, of a list that moves", 1000, 300, 0, 300, 40, 13},
		{"by little", 1000, 900, 0, 900, 0, 7},
		{"after its first page", 1000, 700, 1, 300, 0, 12},
		{"after its first page, of a list that moves", 1000, 700, 1, 300, 40, 13},
		{"after its second page", 1000, 1000, 2, 100, 40, 20},
		{"more and more", 1000, 700, 3, 10, 0, 110},
		{"no more than there is", 300, 300, 0, 300, 40, 11},
	} {
		for _, inclusive := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/inclusive=%t", c.name, inclusive), func(t *testing.T) {
				t.Parallel()
				l := &movingList{rng: rand.New(rand.NewPCG(1, 2)), cap: c.before, inclusive: inclusive, order: "ascending", adds: true, rows: numbered(2500, unique), next: 2500}
				client := client(l, func(c *marketplace.Config) { c.PageSize = 1000 })
				if _, err := pull(t, client, 0); err != nil {
					t.Fatal(err)
				}
				l.cap, l.perReply, l.requests = c.first, c.perReply, 0
				wanted, page := l.next, 0
				var last int64
				err := client.PullPages(t.Context(), 200, func(records []rolegate.Record) error {
					last = noGap(t, last, records)
					if page++; page == c.pages {
						l.cap = c.then
					}
					return nil
				})
				if err != nil || last < wanted || l.requests > c.most {
					t.Fatalf("%v: up to %d of %d, after %d requests of at most %d", err, last, wanted, l.requests, c.most)
				}
			})
		}
	}
}
