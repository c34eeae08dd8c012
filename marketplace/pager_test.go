package marketplace_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/marketplace"
)

// rows is a page of users, each a number that is the sequence too, or user:sequence,
// or user:? if it has none, or from-to.
func rows(list string) string {
	var records []string
	for _, one := range strings.Fields(list) {
		var id, seq, to int64
		switch {
		case strings.HasSuffix(one, ":?"):
			_, _ = fmt.Sscanf(one, "%d", &id)
			records = append(records, strings.Replace(user(id, 0), `"lastSequence":0`, `"lastSequence":"?"`, 1))
		case strings.Contains(one, ":"):
			_, _ = fmt.Sscanf(one, "%d:%d", &id, &seq)
			records = append(records, user(id, seq))
		case strings.Contains(one, "-"):
			_, _ = fmt.Sscanf(one, "%d-%d", &id, &to)
			for ; id <= to; id++ {
				records = append(records, user(id, id))
			}
		default:
			_, _ = fmt.Sscanf(one, "%d", &id)
			records = append(records, user(id, id))
		}
	}
	return ok(records...)
}

// How a list is read that has nothing but its cursor: what is asked for after each
// page, when it has ended, and when it cannot be believed.
func TestTheWayThroughAList(t *testing.T) {
	t.Parallel()
	const all = 0
	for _, c := range []struct {
		name  string
		after int64
		limit int
		pages []string // the last of them comes again and again
		asks  string
		fails rolegate.Failure
	}{
		{"nobody", all, 20, []string{""}, "0", ""},
		{"a page, and its last one again", all, 20, []string{"1-3", "3"}, "0 2", ""},
		{"a page, and nothing behind it", all, 20, []string{"1-3", ""}, "0 2", ""},
		{"full pages", all, 20, []string{"1-20", "20-39", "39-45", "45"}, "0 19 38 44", ""},
		{"news", 7, 20, []string{"8-9", "9"}, "7 8", ""},
		{"no news", 7, 20, []string{""}, "7", ""},
		{"no news, of a server that answers from the cursor on", 7, 20, []string{"7"}, "7", ""},

		{"who has sequence 0", all, 20, []string{"1:0 2:0 3:0", ""}, "0 1", ""},
		{"others behind who has sequence 0", all, 20, []string{"1:0 2:0", "3:1 4:2", "4:2"}, "0 1 2", ""},
		{"one whose sequence is what was asked for", all, 20, []string{"1:0", "1:1"}, "0 1", ""},
		{"two whose sequences are what was asked for", all, 20, []string{"1:0 2:0", "1:1 2:1"}, "0 1", marketplace.FailureCursorLoop},
		{"two others whose sequences are what was asked for", all, 20, []string{"1:0 2:0", "3:1 4:1"}, "0 1", marketplace.FailureCursorTie},
		{"the same two with sequences of their own", all, 20, []string{"1:0 2:0", "1:1 2:2"}, "0 1", ""},

		{"one sequence for a page as full as pages get", all, 20, []string{"1:5 2:5 3:5 4:5 5:5 6:5 7:5 8:5 9:5 10:5 11:5 12:5 13:5 14:5 15:5 16:5 17:5 18:5 19:5 20:5"}, "0", marketplace.FailureCursorTie},
		{"one sequence for ten", all, 20, []string{"1:5 2:5 3:5 4:5 5:5 6:5 7:5 8:5 9:5 10:5"}, "0", marketplace.FailureCursorTie},
		{"one sequence for nine, which may be all", all, 20, []string{"1:5 2:5 3:5 4:5 5:5 6:5 7:5 8:5 9:5", ""}, "0 4", ""},
		{"a page from the highest to the lowest", all, 20, []string{"20 19 18 17 16 15 14 13 12 11 10 9 8 7 6 5 4 3 2 1"}, "0", marketplace.FailureDescending},
		{"a few from the highest to the lowest", all, 20, []string{"3 2 1", ""}, "0 2", ""},
		{"a server that repeats a full page", all, 2, []string{"1 2"}, "0 1 2", rolegate.FailureCursorRegressed},
		{"users with sequence 0 that fill a page", all, 12, []string{"1:0 2:0 3:0 4:0 5:0 6:0 7:0 8:0 9:0 10:0 11:1 12:1", "1:0 2:0 3:0 4:0 5:0 6:0 7:0 8:0 9:0 10:0 11:1 12:1", "13:2"}, "0 0 1", marketplace.FailureCursorTie},
		{"users with sequence 0 that fill a page of ten", all, 10, []string{"1:0 2:0 3:0 4:0 5:0 6:0 7:0 8:0 9:0 10:1", "1:0 2:0 3:0 4:0 5:0 6:0 7:0 8:0 9:0 10:1", "13:2"}, "0 0 1", marketplace.FailureCursorTie},
		{"users with sequence 0 that fill a page of nine", all, 9, []string{"1:0 2:0 3:0 4:0 5:0 6:0 7:0 8:0 9:1", "1:0 2:0 3:0 4:0 5:0 6:0 7:0 8:0 9:1", "13:2", "13:2"}, "0 0 1 1", ""},
		{"users with sequence 0 that fill a page, of a server that answers from the cursor on", all, 12, []string{"1:0 2:0 3:0 4:0 5:0 6:0 7:0 8:0 9:0 10:0 11:1 12:1", "1:0 2:0 3:0 4:0 5:0 6:0 7:0 8:0 9:0 10:0 11:1 12:1", "11:1 12:1 13:1"}, "0 0 1", ""},
		{"who has sequence 0, whatever is asked for", all, 20, []string{"1:0 2:0"}, "0 1", ""},
		{"users without an id whose sequences are what was asked for", all, 20, []string{"0:0 0:0", "0:1 0:1"}, "0 1", marketplace.FailureCursorTie},
		{"users without a sequence", all, 20, []string{"1:? 2:?"}, "0", ""},
		{"a page of news without a sequence", 7, 2, []string{"1:? 2:?"}, "7", marketplace.FailureCursorLoop},

		{"a list that ends while it grows", all, 20, []string{"1-10", "10-14", "14-16", "10-16"}, "0 9 13 9", ""},
		{"a short page among others", all, 20, []string{"1-10", "10-14", "14-16", "10-14", "16"}, "0 9 13 9 15", ""},
		{"a short page before one that is longer", all, 20, []string{"1-10", "10-14", "14-25", "10-14", "25"}, "0 9 13 9 24", ""},
		{"a short page before a full one", all, 20, []string{"1-10", "10-14", "14-33", "33"}, "0 9 13 32", ""},
		{"pages of uneven size", all, 20, []string{"1-10", "10-14", "14-16", "10-14", "16-19", "19-21", "16-19", "21-22", "22", ""}, "0 9 13 9 15 18 15 20 21 22", ""},
		{"pages of uneven size, and nothing behind", all, 20, []string{"1-10", "10-14", "14-16", "10-14", "16-19", "19-21", "16-19", "21-22", ""}, "0 9 13 9 15 18 15 20 21 22", ""},
		{"two pages of one size, as a server gives them", all, 20, []string{"1-5", "5-9", "1-5", "9"}, "0 4 0 8", ""},
		{"two pages of one size, of a list that grew", all, 20, []string{"1-5", "5-9", "1-9"}, "0 4 0", ""},
		{"two short pages of news", 7, 20, []string{"8-12", "12-14"}, "7 11", ""},
		{"nothing behind a full page, whichever server is asked", all, 20, []string{"1-20", ""}, "0 19 19 19", ""},
		{"nothing behind a full page, of a server that lags behind", all, 20, []string{"1-20", "", "20-22", "22"}, "0 19 19 21", ""},
		{"nothing behind a full page, of a server that repeats users", all, 20, []string{"1-20", "20-39", ""}, "0 19 38 38 38", rolegate.FailureCursorRegressed},
		{"nothing behind two full pages, each once", all, 20, []string{"1-20", "", "20-39", "", "39"}, "0 19 19 38 38", ""},
		{"nothing behind a full page, of a server that answers from the cursor on", all, 20, []string{"1-20", "19-38", ""}, "0 19 38 38 38", rolegate.FailureCursorRegressed},
		{"others with the last sequence behind nothing", all, 20, []string{"1-20", "19-36 37:37 38:37", "", "37:37 38:37 39:37"}, "0 19 37 37", ""},
		{"nothing behind a full page of news, of a server that repeats users", 7, 20, []string{"8-27", "27-46", ""}, "7 26 45 45 45", rolegate.FailureCursorRegressed},
		{"nothing behind a full page so short that it may be the list", all, 9, []string{"1-9", ""}, "0 8", ""},
		{"nothing behind a full page of news", 7, 20, []string{"8-27", ""}, "7 26", ""},
		{"a full page of news", 7, 5, []string{"8-12", "12-14", "14"}, "7 11 13", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var asks []string
				answer := transport(func(r *http.Request) (*http.Response, error) {
					asks = append(asks, r.URL.Query().Get("lastSequence"))
					return reply(200, rows(c.pages[min(len(asks), len(c.pages))-1])), nil
				})
				_, err := pull(t, client(answer, func(cfg *marketplace.Config) { cfg.PageSize = c.limit }), c.after)
				if c.fails == "" {
					require.NoError(t, err)
				} else {
					requireFailure(t, c.fails, err)
				}
				assert.Equal(t, c.asks, strings.Join(asks, " "))
			})
		})
	}
}

// A client that has read the list before knows how many users the server gives at a
// time, and need not find out again.
func TestTheSecondWayIsShorter(t *testing.T) {
	t.Parallel()
	pages, asks := []string{"1-5", "5-9", "1-5", "9", "1-5", "5-9", "9", "10", "10", "1-5", "5-9", "9"}, []string(nil)
	c := client(transport(func(r *http.Request) (*http.Response, error) {
		asks = append(asks, r.URL.Query().Get("lastSequence"))
		return reply(200, rows(pages[len(asks)-1])), nil
	}))
	for _, after := range []int64{0, 0, 9, 0} {
		_, err := pull(t, c, after)
		require.NoError(t, err)
	}
	assert.Equal(t, "0 4 0 8 0 4 8 9 9 0 4 8", strings.Join(asks, " "))
}

// A server that lags behind may have nobody where a page is asked for again. That says
// nothing of how many users the server gives at a time: two full pages are not short.
func TestAnEmptyPageIsNoCapacity(t *testing.T) {
	t.Parallel()
	pages, asks := []string{"1-10", "10-14", "14-16", "", "", "17-26", "26-35", "35-38", "38"}, []string(nil)
	c := client(transport(func(r *http.Request) (*http.Response, error) {
		asks = append(asks, r.URL.Query().Get("lastSequence"))
		return reply(200, rows(pages[len(asks)-1])), nil
	}))
	for _, after := range []int64{0, 16} {
		_, err := pull(t, c, after)
		require.NoError(t, err)
	}
	assert.Equal(t, "0 9 13 9 15 16 25 34 37", strings.Join(asks, " "))
}

// Who comes again in a page that is asked for again is counted once.
func TestMaxUsersAmongPagesAskedForAgain(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pages string // with commas between them
		users int
	}{
		{"1-10,10-14,14-16,10-16", 16}, {"1-10,10-14,14-16,10-18", 18}, {"1-10,10-14,14-16,10-14,16", 16}, {"1-5,5-9,1-5,9", 9}, {"1-5,5-9,1-12", 12},
	} {
		for most, fits := range map[int]bool{c.users: true, c.users - 1: false} {
			_, err := pull(t, client(paged(c.pages), func(cfg *marketplace.Config) { cfg.PageSize, cfg.MaxUsers = 20, most }), 0)
			if fits {
				require.NoError(t, err, "%s: %d", c.pages, most)
			} else {
				requireFailure(t, rolegate.FailureTooLarge, err)
			}
		}
	}
}

func paged(list string) transport {
	var bodies []string
	for page := range strings.SplitSeq(list, ",") {
		bodies = append(bodies, rows(page))
	}
	return pages(bodies...)
}
