package main

import (
	"bytes"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// A route is one of the example's, and who may pass there.
type route struct {
	method, path string // with %d for the organisation
	needs        func(s state, org int64) bool
	body         func(b []byte, id int64, s state, org int64) []byte // of a 200
	maxAge       time.Duration                                       // 0 for none
}

var (
	home = &route{
		method: "GET", path: "/",
		needs: func(s state, _ int64) bool { return s.listed },
		body: func(b []byte, id int64, s state, _ int64) []byte {
			if len(s.orgs) == 0 {
				return append(strconv.AppendInt(append(b, `{"orgs":null,"user":`...), id, 10), "}\n"...)
			}
			b = append(b, `{"orgs":[`...)
			for i, o := range s.orgs {
				if i > 0 {
					b = append(b, ',')
				}
				b = strconv.AppendInt(b, o.org, 10)
			}
			b = append(b, `],"user":`...)
			return append(strconv.AppendInt(b, id, 10), "}\n"...)
		},
	}
	grades = &route{
		method: "GET", path: "/grades",
		needs: func(s state, _ int64) bool { return s.anywhere()&(teacher|admin) != 0 },
		body: func(b []byte, _ int64, s state, _ int64) []byte {
			b = append(b, `{"grades":"of all pupils","may_edit":`...)
			return append(strconv.AppendBool(b, s.anywhere()&teacher != 0), "}\n"...)
		},
	}
	report = &route{
		method: "POST", path: "/orgs/%d/reports",
		needs: func(s state, org int64) bool { return s.in(org)&(teacher|homeroom) == teacher|homeroom },
		body: func(b []byte, _ int64, _ state, org int64) []byte {
			return append(strconv.AppendInt(append(b, `{"org":`...), org, 10), `,"report":"filed"}`+"\n"...)
		},
	}
	staff = &route{
		method: "GET", path: "/orgs/%d/staff",
		needs: func(s state, org int64) bool { return s.in(org)&(principal|admin) != 0 },
		body: func(b []byte, _ int64, _ state, org int64) []byte {
			return append(strconv.AppendInt(append(b, `{"org":`...), org, 10), `,"staff":"list"}`+"\n"...)
		},
	}
	exams = &route{
		method: "GET", path: "/exams", maxAge: 5 * time.Second,
		needs: func(s state, _ int64) bool { return s.anywhere()&teacher != 0 },
		body:  func(b []byte, _ int64, _ state, _ int64) []byte { return append(b, `{"exams":"of this term"}`+"\n"...) },
	}
	live = &route{
		method: "GET", path: "/live",
		needs: func(s state, _ int64) bool { return s.anywhere()&teacher != 0 },
	}
	status = &route{
		method: "GET", path: "/status",
		needs: func(s state, _ int64) bool { return s.anywhere()&admin != 0 },
	}
)

// A claim is what /status said, and when it had been read.
type claim struct {
	read              int64
	verified, contact int64
	generation        uint64
	fulls, pulls      uint64 // that succeeded
	held              int
}

// An exchange is a request and its answer.
type exchange struct {
	route *route
	who   *user // nil for somebody who was never listed
	id    int64 // likewise
	org   int64

	// anonymous says that the request tells no user, or tells one in a way that
	// is not to be believed.
	anonymous bool

	claim     claim // read before it was sent
	sent, got int64
	status    int
	body      []byte // nil for a stream
}

// A verdict is what check finds of an exchange.
type verdict uint8

const (
	admitted verdict = iota
	refused
	excused // a refusal that a lie, a bad record or a late grant explains
	tooOld
	unidentified
	wrong
)

// expireAfter is the example's: from then on it may refuse everything.
const expireAfter = time.Hour

// check finds whether the answer is right, and if not, says why.
//
// The gate's list has of each user what the marketplace said at some moment
// since the start of the full refresh that the gate calls verified. So somebody is let
// in wrongly if nothing that was said since then admits them. And it knows
// at least what was granted before the pull that it calls contact. So somebody
// is refused wrongly if everything that was said since then admits them. If
// the marketplace has lied since the full refresh, or had a bad record of them, it may
// go by that. And who was found gone comes back by a restored backup only when two
// full refreshes have shown it.
func (t *truth) check(x *exchange) (verdict, string) {
	needs := func(s state) bool { return s.unsure || x.route.needs(s, x.org) }
	switch {
	case x.anonymous:
		if x.status != http.StatusUnauthorized {
			return wrong, fmt.Sprintf("answer %d: nobody in the request that may be believed", x.status)
		}
		return unidentified, ""
	case x.status == http.StatusOK && x.who == nil:
		return wrong, "admitted a stranger, who was never listed"
	case x.status == http.StatusOK:
		since := x.claim.verified
		if age := int64(x.route.maxAge); age > 0 {
			since = max(since, x.sent-age)
		}
		if !x.who.ever(since, x.got, needs) {
			return wrong, fmt.Sprintf("wrong admission: since %s, up to which every revocation is to be known, nothing admits the user", clock(since))
		}
		if x.body != nil && !x.who.ever(since, x.got, func(s state) bool {
			var buf [256]byte
			return s.unsure && bytes.HasPrefix(x.body, []byte("{")) ||
				x.route.needs(s, x.org) && bytes.Equal(x.body, x.route.body(buf[:0], x.id, s, x.org))
		}) {
			return wrong, fmt.Sprintf("wrong body for what the user was since %s: %q", clock(since), x.body)
		}
		return admitted, ""
	case x.status == http.StatusForbidden && x.who == nil:
		return refused, ""
	case x.status == http.StatusForbidden:
		if !x.who.ever(x.claim.contact, x.got, needs) {
			return refused, ""
		}
		// A bad record counts for the whole full refresh that has seen it.
		if t.lied(x.claim.verified, x.got) || t.again(x.who, x.got) || !x.who.always(x.claim.contact, x.got, needs) ||
			x.who.ever(x.claim.verified, x.got, func(s state) bool { return s.bad || s.unsure }) {
			return excused, ""
		}
		return wrong, fmt.Sprintf("wrong refusal: at every time since %s, up to which every grant is to be known, the user may enter", clock(x.claim.contact))
	case x.status == http.StatusServiceUnavailable && x.route.maxAge > 0:
		// It was young enough even when the answer had come.
		if x.got-x.claim.verified < int64(x.route.maxAge) {
			return wrong, "too_old, although the list was refreshed within the route's MaxAge"
		}
		return tooOld, ""
	case x.status == http.StatusServiceUnavailable && x.got-x.claim.verified > int64(expireAfter):
		return tooOld, ""
	}
	return wrong, fmt.Sprintf("answer %d, while there is a list and it has not expired: %q", x.status, x.body)
}

// follows returns what is wrong with a claim that was read after another.
func (c claim) follows(before claim) string {
	switch {
	case c.generation < before.generation:
		return fmt.Sprintf("the generation went back from %d to %d", before.generation, c.generation)
	case c.verified < before.verified:
		return fmt.Sprintf("verified went back from %s to %s", clock(before.verified), clock(c.verified))
	case c.contact < before.contact:
		return fmt.Sprintf("contact went back from %s to %s", clock(before.contact), clock(c.contact))
	case c.verified > c.contact:
		return fmt.Sprintf("verified %s is later than contact %s", clock(c.verified), clock(c.contact))
	case c.contact > c.read:
		return fmt.Sprintf("contact %s is later than when it was read, %s", clock(c.contact), clock(c.read))
	}
	return ""
}
