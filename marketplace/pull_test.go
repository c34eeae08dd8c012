package marketplace_test

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/marketplace"
)

// numbered are n users with these sequences each.
func numbered(n int, seq func(i int) int64) (rows []listed) {
	for i := range n {
		rows = append(rows, listed{id: int64(i + 1), seq: seq(i)})
	}
	return rows
}

func unique(i int) int64 { return int64(i + 1) }

func TestPullSeesEverybody(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name   string
		list   *list
		n      int
		size   int
		unique bool
	}{
		{name: "nobody", list: &list{}},
		{name: "one", list: &list{rows: numbered(1, unique)}, n: 1},
		{name: "less than a page", list: &list{rows: numbered(9, unique)}, n: 9, size: 10},
		{name: "exactly a page", list: &list{rows: numbered(10, unique)}, n: 10, size: 10},
		{name: "several pages", list: &list{rows: numbered(95, unique)}, n: 95, size: 10},
		{name: "several pages, unique", list: &list{rows: numbered(95, unique)}, n: 95, size: 10, unique: true},
		{name: "page size 1", list: &list{rows: numbered(5, unique)}, n: 5, size: 1},
		{name: "inclusive", list: &list{rows: numbered(95, unique), inclusive: true}, n: 95, size: 10},
		{name: "inclusive, unique", list: &list{rows: numbered(95, unique), inclusive: true}, n: 95, size: 10, unique: true},
		{name: "the server caps pages", list: &list{rows: numbered(250, unique), most: 100}, n: 250},
		{name: "the server caps pages at one row", list: &list{rows: numbered(7, unique), most: 1}, n: 7},
		{name: "inclusive, the server caps pages at one row", list: &list{rows: numbered(7, unique), most: 1, inclusive: true}, n: 7},
		{name: "inclusive, the server caps pages", list: &list{rows: numbered(25, unique), most: 10, inclusive: true}, n: 25},
		{name: "ties at the end of a page", list: &list{rows: numbered(30, func(i int) int64 { return int64(i/3 + 1) })}, n: 30, size: 10},
		{name: "ties at the end of a short page", list: &list{rows: numbered(30, func(i int) int64 { return int64(i/3 + 1) }), most: 10}, n: 30},
		{name: "ties, inclusive", list: &list{rows: numbered(30, func(i int) int64 { return int64(i/3 + 1) }), inclusive: true}, n: 30, size: 10},
		{name: "ties as large as a page less one", list: &list{rows: numbered(36, func(i int) int64 { return int64(i/9 + 1) })}, n: 36, size: 10},
		{name: "all tied", list: &list{rows: numbered(9, func(int) int64 { return 7 })}, n: 9, size: 10},
		{name: "all tied at 0 of an inclusive list", list: &list{rows: numbered(9, func(int) int64 { return 0 }), inclusive: true}, n: 9, size: 10},
		{name: "one user at 0, and another", list: &list{rows: []listed{{id: 1, seq: 0}, {id: 2, seq: 4}}, inclusive: true, most: 1}, n: 2},
		{name: "gaps", list: &list{rows: numbered(30, func(i int) int64 { return int64(i+1) * 1e15 })}, n: 30, size: 7},
		{name: "up to the last sequence there is", list: &list{rows: numbered(30, func(i int) int64 { return math.MaxInt64 - 29 + int64(i) })}, n: 30, size: 7},
		{name: "up to the last sequence there is, inclusive", list: &list{rows: numbered(30, func(i int) int64 { return math.MaxInt64 - 29 + int64(i) }), inclusive: true}, n: 30, size: 7},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := client(tc.list, func(c *marketplace.Config) { c.PageSize, c.UniqueSequences = tc.size, tc.unique })
			got, err := pull(t, c, 0)
			require.NoError(t, err)
			var want []int64
			for _, row := range tc.list.rows {
				want = append(want, row.id)
			}
			require.Len(t, want, tc.n)
			assert.ElementsMatch(t, want, ids(got))
		})
	}
}

func TestRequestsOfAPull(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name   string
		list   *list
		after  int64
		size   int
		unique bool
		asks   []int64
	}{
		{"an empty list takes one request", &list{}, 0, 10, false, []int64{0}},
		{"no news take one request", &list{rows: numbered(9, unique)}, 9, 10, false, []int64{9}},
		{"the last page is asked for again from one below the cursor", &list{rows: numbered(9, unique)}, 0, 10, false, []int64{0, 8}},
		{"never from below the cursor of Pull", &list{rows: numbered(9, unique)}, 8, 10, false, []int64{8, 8}},
		{"unique sequences save the overlap", &list{rows: numbered(15, unique)}, 0, 10, true, []int64{0, 10, 15}},
		{"an advancing overlap goes on", &list{rows: numbered(15, unique)}, 0, 10, false, []int64{0, 9, 14}},
		{"a page that ends with the list", &list{rows: numbered(19, unique)}, 0, 10, false, []int64{0, 9, 18}},
		{"inclusive: the cursor itself has the overlap", &list{rows: numbered(15, unique), inclusive: true}, 3, 10, false, []int64{3, 12, 15}},
		{"inclusive: no news", &list{rows: numbered(9, unique), inclusive: true}, 9, 10, false, []int64{9}},
		{"one row a page", &list{rows: numbered(2, unique), most: 1}, 0, 10, false, []int64{0, 0, 1, 1, 2}},
		{"one row a page, inclusive", &list{rows: numbered(2, unique), most: 1, inclusive: true}, 0, 10, false, []int64{0, 0, 1, 2, 2, 3}},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := client(tc.list, func(c *marketplace.Config) { c.PageSize, c.UniqueSequences = tc.size, tc.unique })
			_, err := pull(t, c, tc.after)
			require.NoError(t, err)
			assert.Equal(t, tc.asks, tc.list.asks)
		})
	}
}

// pages answers the first request with the first page, and so on. The last one
// comes again.
func pages(bodies ...string) transport {
	n := 0
	return func(*http.Request) (*http.Response, error) {
		b := bodies[min(n, len(bodies)-1)]
		n++
		return reply(200, b), nil
	}
}

func TestPullFailures(t *testing.T) {
	t.Parallel()
	endless := func() transport {
		n := int64(0)
		return func(*http.Request) (*http.Response, error) {
			n += 2
			return reply(200, ok(user(n-1, n-1), user(n, n))), nil
		}
	}
	cases := []struct {
		name  string
		tr    http.RoundTripper
		after int64
		want  rolegate.Failure // "" for none
		ids   []int64
	}{
		{"a full page that does not advance", pages(ok(user(1, 5), user(2, 5))), 5, marketplace.FailureCursorTie, nil},
		{"a short page that does not advance ends it", pages(ok(user(1, 5))), 5, "", []int64{1}},
		{"a full page of one sequence", pages(ok(user(1, 5), user(2, 5))), 0, marketplace.FailureCursorTie, nil},
		{"a server that ignores the cursor", pages(ok(user(1, 4), user(2, 5))), 0, rolegate.FailureCursorRegressed, nil},
		{"a full page of unreadable sequences", pages(ok(`{}`, `{}`)), 0, marketplace.FailureCursorLoop, nil},
		{"a short page of an unreadable sequence", pages(ok(`{"userId":7}`)), 0, "", []int64{7}},
		{"the first page may lie below", pages(ok(user(1, 3))), 5, "", []int64{1}},
		{"a later page may not", pages(ok(user(1, 7), user(2, 8)), ok(user(3, 6))), 0, rolegate.FailureCursorRegressed, nil},
		{"not even with a bad record", pages(ok(user(1, 7), user(2, 8)), ok(`{"lastSequence":6}`)), 0, rolegate.FailureCursorRegressed, nil},
		{"a sequence of 0 in a later page is one", pages(ok(user(1, 7), user(2, 8)), ok(user(3, 0))), 0, rolegate.FailureCursorRegressed, nil},
		{"a later page with an unreadable sequence", pages(ok(user(1, 7), user(2, 8)), ok(`{"userId":3}`)), 0, "", []int64{1, 2, 3}},
		{"endless pages", endless(), 0, rolegate.FailureTooLarge, nil},
		{"a bad page after a good one", pages(ok(user(1, 1)), `{}`), 0, marketplace.FailureMalformed, nil},
		{"a negative cursor", pages(ok()), -1, rolegate.FailureOther, nil},
		{"the cursor passes bad records", &list{rows: []listed{
			{seq: 1, json: `{"userId":1,"lastSequence":1}`}, {seq: 2, json: `{"userId":2,"lastSequence":"2"}`}, {id: 3, seq: 3},
		}}, 0, "", []int64{1, 2, 3}},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := client(tc.tr, func(c *marketplace.Config) { c.PageSize, c.MaxUsers = 2, 50 })
			got, err := pull(t, c, tc.after)
			if tc.want != "" {
				requireFailure(t, tc.want, err)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, tc.ids, ids(got))
		})
	}
}

func TestMaxUsersCountsNobodyTwice(t *testing.T) {
	t.Parallel()
	for _, inclusive := range []bool{false, true} {
		for _, n := range []int{1, 2, 6, 10, 11, 40} {
			for _, ties := range []int{1, 3} {
				t.Run(fmt.Sprintf("inclusive=%t/users=%d/ties=%d", inclusive, n, ties), func(t *testing.T) {
					t.Parallel()
					// With gaps, so that there is nobody at one below a cursor.
					l := &list{inclusive: inclusive, rows: numbered(n, func(i int) int64 { return int64(i/ties+1) * 10 })}
					_, err := pull(t, client(l, func(c *marketplace.Config) { c.PageSize, c.MaxUsers = 5, n }), 0)
					require.NoError(t, err)
					if n > 1 {
						_, err = pull(t, client(l, func(c *marketplace.Config) { c.PageSize, c.MaxUsers = 5, n-1 }), 0)
						pe := requireFailure(t, rolegate.FailureTooLarge, err)
						assert.ErrorContains(t, pe, fmt.Sprintf("MaxUsers, %d", n-1))
					}
				})
			}
		}
	}
}

func TestPullEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	requests := 0
	c := client(transport(func(*http.Request) (*http.Response, error) {
		requests++
		return reply(200, ok(user(int64(requests), int64(requests)))), nil
	}))
	err := c.Pull(ctx, 0, func(rolegate.Record) { cancel() })
	requireFailure(t, rolegate.FailureOther, err)
	require.ErrorIs(t, err, context.Canceled)
	assert.Equal(t, 1, requests)
}

// Some platforms write {}, null or "" for an empty list, and twice is the end of one.
// An object with something in it is no end: whoever comes behind it would be removed.
func TestWhatEndsAList(t *testing.T) {
	t.Parallel()
	for data, ends := range map[string]bool{
		`[]`: true, `null`: true, `""`: true, `{}`: true, "{ \n}": true,
		`{"list":[]}`: false, `{"error":"busy"}`: false, `"[]"`: false, `0`: false, `false`: false, `" "`: false,
	} {
		t.Run(data, func(t *testing.T) {
			t.Parallel()
			got, err := pull(t, client(pages(ok(user(1, 1), user(2, 2)), `{"code":200,"data":`+data+`}`)), 0)
			assert.Len(t, got, 2)
			if ends {
				require.NoError(t, err)
			} else {
				requireFailure(t, marketplace.FailureMalformed, err)
			}
		})
	}
}
