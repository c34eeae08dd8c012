package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// The gate has claimed at 90 that it has verified the list at 50 and had contact
// at 80. The request was sent at 100 and answered at 110.
func TestCheck(t *testing.T) {
	t.Parallel()
	const second = int64(1e9)
	for name, c := range map[string]struct {
		route  *route
		who    *user
		org    int64
		status int
		body   string
		lie    *span
		// When a backup was restored, and when the user was taken off the list.
		restored, unlisted int64
		at                 int64 // is added to sent and got
		want               verdict
	}{
		"a user":                     {route: home, who: history(listed), status: 200, want: admitted},
		"a stranger":                 {route: home, status: 200, want: wrong},
		"a stranger is refused":      {route: home, status: 403, want: refused},
		"never listed":               {route: home, who: history(out), status: 200, want: wrong},
		"refused without a reason":   {route: home, who: history(listed), status: 403, want: wrong},
		"revoked before verified":    {route: home, who: history(listed, version{out, 40, 49}), status: 200, want: wrong},
		"about when verified":        {route: home, who: history(listed, version{out, 40, 50}), status: 200, want: admitted},
		"revoked since":              {route: home, who: history(listed, version{out, 51, 52}), status: 200, want: admitted},
		"and refused":                {route: home, who: history(listed, version{out, 51, 52}), status: 403, want: refused},
		"refused at the last moment": {route: home, who: history(listed, version{out, 109, 120}), status: 403, want: excused},
		"revoked after the answer":   {route: home, who: history(listed, version{out, 111, 120}), status: 403, want: wrong},
		"granted before contact":     {route: home, who: history(out, version{listed, 60, 79}), status: 403, want: wrong},
		"about when contacted":       {route: home, who: history(out, version{listed, 60, 80}), status: 403, want: excused},
		"granted since":              {route: home, who: history(out, version{listed, 81, 82}), status: 200, want: admitted},
		"granted after the answer":   {route: home, who: history(out, version{listed, 111, 112}), status: 200, want: wrong},
		"revoked and granted again":  {route: home, who: history(listed, version{out, 20, 21}, version{listed, 60, 61}), status: 200, want: admitted},

		"a lie since verified": {route: home, who: history(listed), status: 403, lie: &span{40, 50}, want: excused},
		"a lie before":         {route: home, who: history(listed), status: 403, lie: &span{40, 49}, want: wrong},
		"a lie admits nobody":  {route: home, who: history(out), status: 200, lie: &span{40, 99}, want: wrong},

		"gone before a restored backup": {route: home, who: history(listed), status: 403, restored: 40, unlisted: 30, want: excused},
		"gone after it":                 {route: home, who: history(listed), status: 403, restored: 40, unlisted: 45, want: wrong},
		"never gone":                    {route: home, who: history(listed), status: 403, restored: 40, want: wrong},
		"gone long ago":                 {route: home, who: history(listed), status: 403, restored: 40, unlisted: 30, at: 120 * second, want: wrong},
		"nor admitted for it":           {route: home, who: history(out), status: 200, restored: 40, unlisted: 30, want: wrong},

		"a bad record":                  {route: home, who: history(listed, version{shutOut, 30, 40}), status: 200, want: wrong},
		"a bad record of another":       {route: home, who: history(listed, version{inAnothers, 30, 40}), status: 200, want: admitted},
		"a bad record of another shuts": {route: home, who: history(listed, version{inAnothers, 30, 40}), status: 403, want: excused},
		"a bad record since verified":   {route: home, who: history(listed, version{shutOut, 30, 40}, version{listed, 50, 60}), status: 403, want: excused},
		"a bad record before":           {route: home, who: history(listed, version{shutOut, 30, 40}, version{listed, 41, 49}), status: 403, want: wrong},

		"roles in one organisation":  {route: report, who: history(homeroom5), org: 5, status: 200, want: admitted},
		"in another":                 {route: report, who: history(homeroom5), org: 6, status: 200, want: wrong},
		"in two":                     {route: report, who: history(elsewhere), org: 5, status: 200, want: wrong},
		"in two, one after another":  {route: report, who: history(teaches5, version{listed.with(5, homeroom), 60, 61}), org: 5, status: 200, want: wrong},
		"staff":                      {route: staff, who: history(listed.with(5, principal)), org: 5, status: 403, want: wrong},
		"a body of another":          {route: home, who: history(teaches5), status: 200, body: `{"orgs":[5],"user":8}` + "\n", want: wrong},
		"a body as it was":           {route: home, who: history(teaches5, version{listed, 60, 61}), status: 200, body: `{"orgs":[5],"user":7}` + "\n", want: admitted},
		"a body as it is no more":    {route: home, who: history(teaches5, version{listed, 40, 41}), status: 200, body: `{"orgs":[5],"user":7}` + "\n", want: wrong},
		"no organisations":           {route: home, who: history(listed), status: 200, body: `{"orgs":null,"user":7}` + "\n", want: admitted},
		"an admin may not edit":      {route: grades, who: history(listed.with(5, admin)), status: 200, body: `{"grades":"of all pupils","may_edit":true}` + "\n", want: wrong},
		"the organisation in a body": {route: report, who: history(homeroom5), org: 5, status: 200, body: `{"org":6,"report":"filed"}` + "\n", want: wrong},

		"unavailable":                      {route: home, who: history(listed), status: 503, want: wrong},
		"unavailable when expired":         {route: home, who: history(listed), status: 503, at: 3601 * second, want: tooOld},
		"an internal error":                {route: home, who: history(out), status: 500, want: wrong},
		"not found":                        {route: home, who: history(listed), status: 404, want: wrong},
		"too old though young":             {route: exams, who: history(teaches5), status: 503, want: wrong},
		"too old":                          {route: exams, who: history(teaches5), status: 503, at: 6 * second, want: tooOld},
		"revoked longer ago than the age":  {route: exams, who: history(teaches5, version{out, 60, 61}), status: 200, at: 6 * second, want: wrong},
		"and without an age":               {route: live, who: history(teaches5, version{out, 60, 61}), status: 200, at: 6 * second, want: admitted},
		"identified though the admin asks": {route: status, who: history(teaches5), status: 200, want: wrong},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var tr truth
			if c.lie != nil {
				tr.lies = append(tr.lies, *c.lie)
			}
			tr.restored = c.restored
			if c.who != nil {
				c.who.unlisted = c.unlisted
			}
			x := exchange{
				route: c.route, who: c.who, id: 7, org: c.org, status: c.status,
				claim: claim{read: 90, verified: 50, contact: 80}, sent: c.at + 100, got: c.at + 110,
			}
			if c.body != "" {
				x.body = []byte(c.body)
			}
			v, why := tr.check(&x)
			assert.Equal(t, c.want, v, why)
			assert.Equal(t, v == wrong, why != "")
		})
	}
}

func TestNobodyIsUnidentified(t *testing.T) {
	t.Parallel()
	var tr truth
	for status, want := range map[int]verdict{401: unidentified, 200: wrong, 403: wrong, 503: wrong} {
		v, _ := tr.check(&exchange{route: home, anonymous: true, status: status})
		assert.Equal(t, want, v, status)
	}
}

func TestClaimsFollow(t *testing.T) {
	t.Parallel()
	before := claim{read: 100, verified: 50, contact: 80, generation: 3}
	for name, c := range map[string]struct {
		claim claim
		right bool
	}{
		"the same":              {claim{read: 110, verified: 50, contact: 80, generation: 3}, true},
		"later":                 {claim{read: 110, verified: 90, contact: 95, generation: 5}, true},
		"an earlier generation": {claim{read: 110, verified: 50, contact: 80, generation: 2}, false},
		"verified earlier":      {claim{read: 110, verified: 49, contact: 80, generation: 3}, false},
		"contact earlier":       {claim{read: 110, verified: 50, contact: 79, generation: 3}, false},
		"verified after":        {claim{read: 110, verified: 90, contact: 85, generation: 3}, false},
		"from the future":       {claim{read: 110, verified: 50, contact: 111, generation: 3}, false},
	} {
		assert.Equal(t, c.right, c.claim.follows(before) == "", name)
	}
}
