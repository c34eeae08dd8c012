package fake

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// Whens are what can be behind the @ of a fault, each with one line about it.
func Whens() [][2]string {
	return [][2]string{
		{"always", "every request, as without any @"},
		{"full", "requests for the list from its start"},
		{"increment", "requests for what came after some sequence: incremental refreshes, and a full refresh's later pages"},
		{"next=5", "the next 5 requests"},
		{"every=3", "each third request"},
		{"p=0.2", "one request of five, at random"},
		{"from=30s", "from 30 seconds after the start on"},
		{"from=30s..2m", "from 30 seconds after the start until 2 minutes after it"},
	}
}

// asked is what a condition is asked about.
type asked struct {
	full, goesOn bool
	since        time.Duration // since the start
	random       *rand.Rand
}

// A condition says whether a fault strikes a request, and whether it does so for
// the last time. One that counts, counts the requests that it is asked about.
type condition interface {
	holds(q *asked) (holds, last bool)
}

// parseWhen reads conditions with commas between them, of which all must hold.
func parseWhen(s string, cloud bool) (all []condition, err error) {
	for part := range strings.SplitSeq(s, ",") {
		c, err := parseCondition(part)
		if err != nil {
			return nil, err
		}
		if _, ok := c.(kindOfPull); ok && cloud {
			return nil, fmt.Errorf("%s: 云上指挥 is not asked for a list", part)
		}
		all = append(all, c)
	}
	return all, nil
}

func parseCondition(s string) (condition, error) {
	name, arg, given := strings.Cut(s, "=")
	switch {
	case s == "always":
		return &every{n: 1}, nil
	case s == "full":
		return kindOfPull{full: true}, nil
	case s == "increment":
		return kindOfPull{}, nil
	case name == "every" && given:
		n, err := strconv.Atoi(arg)
		if err != nil || n < 1 {
			return nil, errors.New("every: expected a whole number above 0, such as every=3")
		}
		return &every{n: n}, nil
	case name == "next" && given:
		n, err := strconv.Atoi(arg)
		if err != nil || n < 1 {
			return nil, errors.New("next: expected a whole number above 0, such as next=5")
		}
		return &next{left: n}, nil
	case name == "p" && given:
		p, err := strconv.ParseFloat(arg, 64)
		if err != nil || !(p > 0 && p <= 1) {
			return nil, errors.New("p: expected a probability above 0 and up to 1, such as p=0.2")
		}
		return chance(p), nil
	case name == "from" && given:
		return parseSpan(arg)
	}
	var forms []string
	for _, w := range Whens() {
		forms = append(forms, w[0])
	}
	return nil, fmt.Errorf("when is %q? expected behind the last @ one of %s, or several with commas; a text with an @ in it needs @always behind it", s, strings.Join(forms, ", "))
}

// kindOfPull strikes full refreshes or else what goes on from a sequence.
type kindOfPull struct{ full bool }

func (k kindOfPull) holds(q *asked) (holds, last bool) {
	if k.full {
		return q.full, false
	}
	return q.goesOn, false
}

// every strikes each nth.
type every struct{ n, seen int }

func (e *every) holds(*asked) (holds, last bool) {
	e.seen++
	return e.seen%e.n == 0, false
}

// next strikes as many as are left.
type next struct{ left int }

func (n *next) holds(*asked) (holds, last bool) {
	n.left--
	return true, n.left == 0
}

// chance strikes with that probability.
type chance float64

func (c chance) holds(q *asked) (holds, last bool) { return q.random.Float64() < float64(c), false }

// span strikes from then on, and until then unless that is 0.
type span struct{ from, until time.Duration }

func parseSpan(s string) (condition, error) {
	from, until, bounded := strings.Cut(s, "..")
	var c span
	var err error
	if c.from, err = time.ParseDuration(from); err == nil && bounded {
		c.until, err = time.ParseDuration(until)
	}
	if err != nil || c.from < 0 || bounded && c.until <= c.from {
		return nil, errors.New("from: expected times since the start, such as from=30s or from=30s..2m")
	}
	return c, nil
}

func (s span) holds(q *asked) (holds, last bool) {
	return q.since >= s.from && (s.until == 0 || q.since < s.until), s.until > 0 && q.since >= s.until
}
