package benchmarks

import (
	"context"

	"github.com/rolegate/rolegate"
)

// A peer is something that answers questions about a workload, given all of it
// beforehand.
type peer struct {
	name string
	load func(w *workload) (decider, error)
	slow bool // takes milliseconds, so that fewer questions have to do
}

// A decider answers one question. It panics on an error, which no question may
// cause.
type decider func(q *namedQuestion) (allowed bool)

// peers are the libraries that rolegate is compared with. Each is modelled in
// the quickest way that comes naturally to it; casbin as its documents have it,
// and once more in the quickest way of all.
var peers = []peer{
	{name: "cedar-go", load: loadCedar},
	{name: "casbin", load: loadCasbin, slow: true},
	{name: "casbin-reduced", load: loadCasbinReduced},
	{name: "opa", load: loadOPA},
	{name: "gorbac", load: loadGorbac},
}

// gateDecider is rolegate in the form of a peer.
func gateDecider(p *rolegate.Policy) decider {
	ctx := context.Background()
	return func(q *namedQuestion) bool {
		return p.Decide(ctx, rolegate.UserID(q.user), q.org).Allowed()
	}
}

// asked is the contestant who puts questions to a decider, one after the other
// and again from the first.
func asked(decide decider, qs []namedQuestion) contestant {
	at := 0
	return func(ops int) {
		for range ops {
			q := &qs[at]
			if decide(q) != q.allowed {
				panic("a wrong answer")
			}
			if at++; at == len(qs) {
				at = 0
			}
		}
	}
}

// gateAsked is the same for a policy, without a func between.
func gateAsked(p *rolegate.Policy, qs []question) contestant {
	ctx, at := context.Background(), 0
	return func(ops int) {
		for range ops {
			q := &qs[at]
			if p.Decide(ctx, rolegate.UserID(q.user), q.org).Allowed() != q.allowed {
				panic("a wrong answer")
			}
			if at++; at == len(qs) {
				at = 0
			}
		}
	}
}

// mapAsked is the same for a map.
func mapAsked(m *rawMap, qs []question) contestant {
	at := 0
	return func(ops int) {
		for range ops {
			q := &qs[at]
			if m.allowed(q.user, q.org) != q.allowed {
				panic("a wrong answer")
			}
			if at++; at == len(qs) {
				at = 0
			}
		}
	}
}
