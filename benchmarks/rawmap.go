package benchmarks

import "time"

// A rawMap is what an app could do without any library: a Go map from the user
// to their grants, which are in a slice of just the capacity that it needs. It
// answers the same, refuses when the list is too old, as rolegate does, and so
// reads the clock as often. Nothing may change it while others read it.
type rawMap struct {
	grants   map[int64][]grant
	verified time.Time
	ttl      time.Duration
}

// newRawMap fills a map as people do: without saying beforehand how many there
// will be.
func newRawMap(w *workload) *rawMap {
	m := &rawMap{grants: map[int64][]grant{}, verified: time.Now(), ttl: 1000 * time.Hour}
	for i := range w.size {
		m.put(w, i)
	}
	return m
}

// put brings one user up to date.
func (m *rawMap) put(w *workload, i int) {
	var buf [3]grant
	gs := w.grants(buf[:], i)
	own := make([]grant, len(gs))
	copy(own, gs)
	m.grants[w.userID(i)] = own
}

// allowed answers a question.
func (m *rawMap) allowed(user, org int64) bool {
	now := time.Now()
	if now.Sub(m.verified) > m.ttl {
		return false
	}
	for _, g := range m.grants[user] {
		if g.org == org && g.opens() {
			return true
		}
	}
	return false
}
