package listing_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/cmd/rolegate/internal/listing"
)

func record(id, sequence int64, grants ...rolegate.Grant) rolegate.Record {
	return rolegate.Record{UserID: id, Sequence: sequence, Grants: grants}
}

func grant(org int64, role string) rolegate.Grant { return rolegate.Grant{OrgID: org, RoleCode: role} }

var errBad = errors.New("userId: expected an integer")

func bad(id, sequence int64) rolegate.Record {
	return rolegate.Record{UserID: id, Sequence: sequence, Bad: errBad}
}

// formless is a record without the list's form.
func formless(id int64) rolegate.Record {
	r := bad(id, 1)
	r.Structural = true
	return r
}

// written is the list of these records, one "id@sequence org:role …" a user.
func written(l *listing.List) (users []string) {
	for u := range l.Users() {
		s := fmt.Sprintf("%d@%d", u.ID, u.Sequence)
		for _, g := range u.Grants {
			s += fmt.Sprintf(" %d:%s", g.OrgID, g.RoleCode)
		}
		users = append(users, s)
	}
	return users
}

func TestCollect(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		after   int64
		records []rolegate.Record
		want    []string
		stats   listing.Stats
	}{
		"nobody": {},
		"in the order of their ids": {records: []rolegate.Record{record(3, 1), record(1, 2), record(2, 3)},
			want: []string{"1@2", "2@3", "3@1"}, stats: listing.Stats{Records: 3, Users: 3, Highest: 3}},
		"grants in order, each once": {records: []rolegate.Record{record(1, 1, grant(8, "b"), grant(7, "b"), grant(8, "b"), grant(7, "a"))},
			want: []string{"1@1 7:a 7:b 8:b"}, stats: listing.Stats{Records: 1, Users: 1, Grants: 3, Highest: 1}},
		"grants without an organisation or a role": {records: []rolegate.Record{record(1, 1, grant(0, "a"), grant(-1, "a"), grant(7, ""), grant(7, "a"))},
			want: []string{"1@1 7:a"}, stats: listing.Stats{Records: 1, Users: 1, Grants: 1, DroppedGrants: 3, Highest: 1}},
		"the higher sequence counts": {records: []rolegate.Record{record(1, 5, grant(7, "new")), record(1, 4, grant(7, "old"))},
			want: []string{"1@5 7:new"}, stats: listing.Stats{Records: 2, Users: 1, Grants: 1, Repeated: 1, Highest: 5}},
		"of equal ones the later": {records: []rolegate.Record{record(1, 4, grant(7, "a")), record(2, 4), record(1, 4, grant(7, "b"))},
			want: []string{"1@4 7:b", "2@4"}, stats: listing.Stats{Records: 3, Users: 2, Grants: 1, Repeated: 1, Highest: 4}},
		"a bad record bars before": {records: []rolegate.Record{bad(1, 1), record(1, 9, grant(7, "a")), record(2, 2)},
			want: []string{"2@2"}, stats: listing.Stats{Records: 3, Users: 1, BadRecords: 1, Highest: 9}},
		"a bad record bars after": {records: []rolegate.Record{record(1, 9), record(1, 9), bad(1, 0)},
			stats: listing.Stats{Records: 3, BadRecords: 1, Highest: 9}},
		"a bad record without a user": {records: []rolegate.Record{record(1, 1), bad(0, 7), bad(-1, 0)},
			want: []string{"1@1"}, stats: listing.Stats{Records: 3, Users: 1, BadRecords: 2, Highest: 7}},
		"a user id that is none": {records: []rolegate.Record{record(0, 1), record(-5, 2)},
			stats: listing.Stats{Records: 2, BadRecords: 2, Highest: 2}},
		"an increment": {after: 5, records: []rolegate.Record{record(1, 5), record(2, 6)},
			want: []string{"1@5", "2@6"}, stats: listing.Stats{Records: 2, Users: 2, Highest: 6}},
		"an increment without news": {after: 5, stats: listing.Stats{Highest: 5}},
		"an unreadable sequence":    {after: 5, records: []rolegate.Record{bad(1, 0)}, stats: listing.Stats{Records: 1, BadRecords: 1, Highest: 5}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := listing.New(tc.after, false)
			for _, r := range tc.records {
				c.Take(r)
			}
			require.NoError(t, c.Failed())
			l, err := c.Finish()
			require.NoError(t, err)
			assert.Equal(t, tc.want, written(l))
			assert.Equal(t, tc.stats, l.Stats())
			assert.Len(t, c.Bad(), tc.stats.BadRecords)
		})
	}
}

func TestCollectFails(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		after   int64
		records func(take func(rolegate.Record))
		want    rolegate.Failure
		early   bool
	}{
		"back to an earlier state": {after: 5, want: rolegate.FailureCursorRegressed, early: true, records: func(take func(rolegate.Record)) {
			take(record(1, 4))
			take(record(2, 6))
		}},
		"back, and bad too": {after: 5, want: rolegate.FailureCursorRegressed, early: true, records: func(take func(rolegate.Record)) { take(bad(1, 4)) }},
		"too many bad ones": {want: rolegate.FailureDrift, records: func(take func(rolegate.Record)) {
			for id := range int64(1099) {
				if id < 11 {
					take(formless(id))
				} else {
					take(record(id, 1))
				}
			}
		}},
		"too many roles": {want: rolegate.FailureDrift, early: true, records: func(take func(rolegate.Record)) {
			for n := range int64(1<<16 + 1) {
				take(record(n+1, 1, grant(7, fmt.Sprint("role", n))))
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := listing.New(tc.after, false)
			tc.records(c.Take)
			assert.Equal(t, tc.early, c.Failed() != nil)
			_, err := c.Finish()
			var pull *rolegate.PullError
			require.ErrorAs(t, err, &pull)
			assert.Equal(t, tc.want, pull.Failure)
		})
	}
	t.Run("but not just so many", func(t *testing.T) {
		t.Parallel()
		c := listing.New(0, false)
		for id := range int64(1100) {
			if id < 11 {
				c.Take(formless(id))
			} else {
				c.Take(record(id, 1))
			}
		}
		_, err := c.Finish()
		assert.NoError(t, err)
	})
	t.Run("nor those that are only odd", func(t *testing.T) {
		t.Parallel()
		c := listing.New(0, false)
		for id := range int64(100) {
			c.Take(bad(id+1, 1))
		}
		l, err := c.Finish()
		require.NoError(t, err)
		assert.Equal(t, 100, l.Stats().BadRecords)
	})
	t.Run("nor roles", func(t *testing.T) {
		t.Parallel()
		c := listing.New(0, false)
		for n := range int64(1 << 16) {
			c.Take(record(n+1, 1, grant(7, fmt.Sprint("role", n))))
		}
		l, err := c.Finish()
		require.NoError(t, err)
		assert.Equal(t, 1<<16, l.Stats().Grants)
	})
}

const big = 1542135022016057346

// names has every name, with what tables and pages trip over.
func names() rolegate.Record {
	return rolegate.Record{
		UserID: big, Sequence: big + 1, Grants: []rolegate.Grant{grant(7, "teacher"), grant(8, "=cmd|' /C calc'!A0")},
		Account: "+86", Email: "@sum(1)", Nickname: "小 \"明\", <b>\n", ThirdAccount: "-1+1", ThirdUserID: "007", ThirdUserName: "\tx",
	}
}

func write(t *testing.T, f listing.Format, names bool, records ...rolegate.Record) string {
	t.Helper()
	c := listing.New(0, names)
	for _, r := range records {
		c.Take(r)
	}
	l, err := c.Finish()
	require.NoError(t, err)
	var b bytes.Buffer
	require.NoError(t, l.Write(t.Context(), &b, f))
	return b.String()
}

func TestWriteJSON(t *testing.T) {
	t.Parallel()
	assert.Empty(t, write(t, listing.Format{}, false))
	assert.Equal(t, `{"user_id":"5","sequence":"9","grants":[]}
{"user_id":"1542135022016057346","sequence":"1542135022016057347","grants":[{"org_id":"7","role":"teacher"},{"org_id":"8","role":"=cmd|' /C calc'!A0"}]}
`, write(t, listing.Format{}, false, names(), record(5, 9)))
	line := write(t, listing.Format{}, true, names())
	var got map[string]any
	require.NoError(t, json.Unmarshal([]byte(line), &got))
	delete(got, "grants")
	assert.Equal(t, map[string]any{
		"user_id": "1542135022016057346", "sequence": "1542135022016057347",
		"account": "+86", "email": "@sum(1)", "nickname": "小 \"明\", <b>\n", "third_account": "-1+1", "third_user_id": "007", "third_user_name": "\tx",
	}, got)
	assert.Equal(t, 1, strings.Count(line, "\n"))
	assert.Contains(t, line, "<b>")
	two := write(t, listing.Format{}, true, names(), record(big+1, 1))
	assert.Contains(t, two, `"grants":[],"account":"","email":"","nickname":"","third_account":"","third_user_id":"","third_user_name":""}`, "nothing of the user before")
}

func TestWriteCSV(t *testing.T) {
	t.Parallel()
	assert.Equal(t, "user_id,sequence,org_id,role\n", write(t, listing.Format{CSV: true}, false))
	assert.Equal(t, `user_id,sequence,org_id,role
5,9,,
1542135022016057346,1542135022016057347,7,teacher
1542135022016057346,1542135022016057347,8,=cmd|' /C calc'!A0
`, write(t, listing.Format{CSV: true}, false, names(), record(5, 9)))
	rows, err := csv.NewReader(strings.NewReader(write(t, listing.Format{CSV: true}, true, names(), record(5, 9)))).ReadAll()
	require.NoError(t, err)
	assert.Equal(t, [][]string{
		{"user_id", "sequence", "org_id", "role", "account", "email", "nickname", "third_account", "third_user_id", "third_user_name"},
		{"5", "9", "", "", "", "", "", "", "", ""},
		{"1542135022016057346", "1542135022016057347", "7", "teacher", "+86", "@sum(1)", "小 \"明\", <b>\n", "-1+1", "007", "\tx"},
		{"1542135022016057346", "1542135022016057347", "8", "=cmd|' /C calc'!A0", "+86", "@sum(1)", "小 \"明\", <b>\n", "-1+1", "007", "\tx"},
	}, rows)
}

func TestWriteExcel(t *testing.T) {
	t.Parallel()
	assert.Equal(t, "\ufeffuser_id,sequence,org_id,role\r\n"+
		`"=""5""","=""9""",,`+"\r\n"+
		`"=""1542135022016057346""","=""1542135022016057347""","=""7""",teacher`+"\r\n"+
		`"=""1542135022016057346""","=""1542135022016057347""","=""8""",'=cmd|' /C calc'!A0`+"\r\n",
		write(t, listing.Format{CSV: true, Excel: true}, false, names(), record(5, 9)))
	for text, want := range map[string]string{
		"":                       "",
		"小明":                     "小明",
		"a=b":                    "a=b",
		"=1+1":                   "'=1+1",
		"+1":                     "'+1",
		"-1":                     "'-1",
		"@a":                     "'@a",
		"\t=1":                   "'\t=1",
		"\r=1":                   "'=1", // package csv drops the CR
		"＝1+1":                   "'＝1+1",
		"＋1":                     "'＋1",
		"0012":                   `="0012"`,
		"9223372036854775807":    `="9223372036854775807"`,
		strings.Repeat("1", 256): strings.Repeat("1", 256),
		`1"&cmd()&"`:             `1"&cmd()&"`,
	} {
		r := record(1, 1)
		r.Nickname = text
		table := strings.TrimPrefix(write(t, listing.Format{CSV: true, Excel: true}, true, r), "\ufeff")
		reader := csv.NewReader(strings.NewReader(table))
		rows, err := reader.ReadAll()
		require.NoError(t, err)
		assert.Equal(t, want, rows[1][6], "%q", text)
	}
}

func TestWriteEnds(t *testing.T) {
	t.Parallel()
	for _, f := range []listing.Format{{}, {CSV: true}} {
		c := listing.New(0, false)
		c.Take(record(1, 1))
		l, err := c.Finish()
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, l.Write(ctx, &bytes.Buffer{}, f), context.Canceled)
		require.ErrorIs(t, l.Write(t.Context(), full{}, f), errFull)
	}
}

var errFull = errors.New("no space left")

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }

// TestLong has records that do not fit into what the collector allocates at
// once, or end just at its border.
func TestLong(t *testing.T) {
	t.Parallel()
	c := listing.New(0, true)
	for n := range int64(300) {
		r := record(300-n, 1, grant(7, "a"))
		r.Nickname = strings.Repeat("x", int(n*n*20))
		c.Take(r)
	}
	l, err := c.Finish()
	require.NoError(t, err)
	n := int64(300)
	for u := range l.Users() {
		n--
		require.Equal(t, 300-n, u.ID)
		require.Len(t, u.Names[2], int(n*n*20))
		require.Equal(t, []rolegate.Grant{grant(7, "a")}, u.Grants)
	}
	assert.Zero(t, n)
}

// TestAsTheGate compares the list with what a gate admits, on records that
// contradict each other.
func TestAsTheGate(t *testing.T) {
	t.Parallel()
	var records []rolegate.Record
	seed := uint64(1)
	random := func(n uint64) int64 {
		seed = seed*6364136223846793005 + 1442695040888963407
		return int64((seed >> 33) % n)
	}
	for range 2000 {
		r := record(1+random(700), 1+random(5))
		for range random(4) {
			r.Grants = append(r.Grants, grant(random(3), []string{"", "a", "b", "c"}[random(4)]))
		}
		if random(120) == 0 {
			r.Bad = errBad
		}
		records = append(records, r)
	}
	c := listing.New(0, false)
	for _, r := range records {
		c.Take(r)
	}
	l, err := c.Finish()
	require.NoError(t, err)
	gate, err := rolegate.Open(t.Context(), rolegate.Config{
		Source: source(records), Aliases: []rolegate.Kind{rolegate.KindAccount}, OnDeny: rolegate.OnDeny{Off: true},
		Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	defer gate.Close()
	users := map[int64][]rolegate.Grant{}
	for u := range l.Users() {
		users[u.ID] = append([]rolegate.Grant(nil), u.Grants...)
	}
	listed := gate.Policy(rolegate.Listed())
	for id := int64(1); id <= 700; id++ {
		d := listed.Decide(t.Context(), rolegate.UserID(id), 0)
		grants, written := users[id]
		require.Equal(t, d.Allowed(), written, "user %d: %v", id, d)
		assert.ElementsMatch(t, d.User.Grants(), grants, "user %d", id)
	}
	s := gate.Status()
	assert.Equal(t, s.Users, l.Stats().Users)
	o := s.Full.Outcome
	assert.Equal(t, o.BadRecords, l.Stats().BadRecords)
	assert.Equal(t, o.DroppedGrants, l.Stats().DroppedGrants)
}

type source []rolegate.Record

func (s source) Pull(_ context.Context, after int64, yield func(rolegate.Record)) error {
	if after == 0 {
		for _, r := range s {
			yield(r)
		}
	}
	return nil
}
