package promgate

import (
	"runtime"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rolegate/rolegate"
)

// A Collector is a prometheus.Collector of one gate. [New] makes one. It is safe
// for concurrent use. It does not keep the gate open, and goes on telling of one
// that was closed.
type Collector struct {
	gate    *rolegate.Gate
	metrics []metric
}

// A metric is one name, with how its values are read.
type metric struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	read func(s *rolegate.Status, set set)
}

// set tells one value of a metric, with the values of its labels.
type set func(value float64, labels ...string)

// New makes a collector of a gate. The labels are put on every metric, and tell
// several gates of one process apart; nil for none. A label that cannot be one
// is reported when the collector is registered.
//
// It panics if the gate is nil.
func New(gate *rolegate.Gate, labels prometheus.Labels) *Collector {
	if gate == nil {
		panic("promgate: New: the gate is nil")
	}
	c := &Collector{gate: gate}
	for _, d := range catalogue {
		c.metrics = append(c.metrics, metric{prometheus.NewDesc("rolegate_"+d.name, d.help, d.labels, labels), d.kind, d.read})
	}
	return c
}

// Describe implements prometheus.Collector.
func (c *Collector) Describe(descs chan<- *prometheus.Desc) {
	for i := range c.metrics {
		descs <- c.metrics[i].desc
	}
}

// Collect implements prometheus.Collector. It calls Gate.Status once, which takes
// a lock that the refreshing takes too, and waits for nothing else.
func (c *Collector) Collect(metrics chan<- prometheus.Metric) {
	s := c.gate.Status()
	for i := range c.metrics {
		m := &c.metrics[i]
		m.read(&s, func(value float64, labels ...string) {
			metrics <- prometheus.MustNewConstMetric(m.desc, m.kind, value, labels...)
		})
	}
}

// buildInfo returns the versions of rolegate and of Go, for build_info.
func buildInfo() (version, goVersion string) {
	version = "unknown"
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return version, runtime.Version()
	}
	for _, module := range append(info.Deps, &info.Main) {
		if module.Path == "github.com/rolegate/rolegate" {
			version = module.Version
			if module.Replace != nil && module.Replace.Version != "" {
				version = module.Replace.Version
			}
		}
	}
	return version, runtime.Version()
}
