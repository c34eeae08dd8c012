// Package promgate tells Prometheus how a gate is.
//
//	prometheus.MustRegister(promgate.New(gate, nil))
//
// A [Collector] reads the gate's Status when it is scraped, and nothing in
// between: it has no goroutine, and a decision pays for being counted what it
// pays without it, one atomic addition. docs/metrics.md lists the metrics,
// docs/grafana.json is a dashboard of them.
//
// No label has a user, a role code or a text of a client's or an upstream's in
// it: their values are fixed words.
package promgate
