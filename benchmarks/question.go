package benchmarks

import (
	"math/rand/v2"
	"strconv"
)

// A question is "may this user, in this organisation, pass a route that asks
// for any of teacher, admin?", with its answer.
type question struct {
	user, org int64
	allowed   bool
}

// questions makes up count questions about the list as it is now, in random
// order. Of ten,
//
//   - five are to be allowed: the user has one of the roles there,
//   - two name an organisation in which the user has no role at all,
//   - two name one in which they have roles, but neither of these,
//   - one is about somebody who is not on the list.
//
// The users are chosen at random from all that such a question can be about.
func (w *workload) questions(count int) []question {
	rng := rand.New(rand.NewPCG(w.seed^3, uint64(len(w.changes))))
	qs := make([]question, count)
	for k := range qs {
		qs[k] = w.question(rng, k%10)
	}
	rng.Shuffle(count, func(a, b int) { qs[a], qs[b] = qs[b], qs[a] })
	return qs
}

// question makes up one question of the kind that is number k in ten.
func (w *workload) question(rng *rand.Rand, k int) question {
	var buf [3]grant
	for {
		i := rng.IntN(w.size)
		q := question{user: w.userID(i)}
		switch gs := w.grants(buf[:], i); {
		case k < 5: // allowed
			g := gs[rng.IntN(len(gs))]
			q.org, q.allowed = g.org, true
			if g.opens() {
				return q
			}
		case k < 7: // nothing in that organisation
			q.org = orgID(rng.IntN(organisations))
			if !has(gs, q.org) {
				return q
			}
		case k < 9: // something else in that organisation
			q.org = gs[rng.IntN(len(gs))].org
			if !w.allowed(i, q.org) {
				return q
			}
		default: // a stranger
			q.user, q.org = w.strangerID(i), orgID(rng.IntN(organisations))
			return q
		}
	}
}

// has reports whether one of the grants is for that organisation.
func has(gs []grant, org int64) bool {
	for _, g := range gs {
		if g.org == org {
			return true
		}
	}
	return false
}

// A namedQuestion is a question with its ids as text too, for libraries that
// know nothing else. They get it ready made: spelling a number takes longer
// than some of them take for the answer.
type namedQuestion struct {
	question
	userName, orgName string
}

// named spells the ids of questions.
func named(qs []question) []namedQuestion {
	out := make([]namedQuestion, len(qs))
	for k, q := range qs {
		out[k] = namedQuestion{q, strconv.FormatInt(q.user, 10), strconv.FormatInt(q.org, 10)}
	}
	return out
}
