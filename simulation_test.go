package rolegate_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rolegatetest"
)

// TestSimulation lets a gate run beside a marketplace that changes, fails,
// shrinks, syncs and is restored, and asks it several times a second. What it
// answers is checked against what the marketplace meant when: see
// simulation.check. TestSimulationOfAWeek goes on for longer.
func TestSimulation(t *testing.T) {
	t.Parallel()
	t.Run("in memory", func(t *testing.T) {
		t.Parallel()
		simulate(t, simRules{seed: 1, length: 6 * time.Hour}).requireRight(t)
	})
	t.Run("over the wire", func(t *testing.T) {
		t.Parallel()
		simulate(t, simRules{seed: 1, length: time.Hour, wire: true}).requireRight(t)
	})
}

// A seed repeats a simulation exactly: the marketplace's days, the gate's jitter,
// and the turns of goroutines.
func TestSimulationRepeats(t *testing.T) {
	t.Parallel()
	for name, rules := range map[string]simRules{
		"in memory":     {seed: 5, length: 2 * time.Hour},
		"over the wire": {seed: 5, length: 30 * time.Minute, wire: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			first, second := simulate(t, rules), simulate(t, rules)
			assert.Equal(t, first.trace, second.trace, "the decisions, in their order")
			assert.Equal(t, first.world.counts, second.world.counts)
			rules.seed++
			assert.NotEqual(t, first.trace, simulate(t, rules).trace, "another seed")
		})
	}
}

// simJitter is the source of a gate's jitter.
func simJitter(seed uint64) func() float64 {
	var mu sync.Mutex
	rng := rand.New(rand.NewPCG(seed, 4))
	return func() float64 {
		mu.Lock()
		defer mu.Unlock()
		return rng.Float64()
	}
}

const (
	simDay  = 24 * time.Hour
	simWeek = 7 * simDay
)

// A simWrong is a way for a gate to break its promise.
type simWrong string

const (
	simLateRemoval simWrong = "admitted on what a full refresh should have shown to be gone"
	simLateChange  simWrong = "admitted on what an increment should have shown to be gone"
	simPastExpiry  simWrong = "admitted on what was gone for longer than ExpireAfter"
	simShutOut     simWrong = "refused in spite of a grant that should be known"
	simClosed      simWrong = "503 although a list should be there"
)

// simRules say how a simulation is run, and what of the gate is broken.
type simRules struct {
	seed   uint64
	length time.Duration
	wire   bool     // through the real client
	until  simWrong // ends with the first of these, "": with nothing

	config       func(*rolegate.Config)
	wrap         func(rolegate.Source) rolegate.Source
	acceptShrink bool                 // who refreshes by hand accepts every shrink
	each         func(*rolegate.Gate) // is called every few seconds
}

// A simGate is a gate and what is asked of it.
type simGate struct {
	gate   *rolegate.Gate
	opened moment
	may    [simThings]*rolegate.Policy
	guards [simThings]http.Handler
}

// A simulation is a gate, or replicas of one, the world beside it, and what was
// wrong.
type simulation struct {
	rules simRules
	world *simWorld
	rng   *rand.Rand // who is asked about

	cfg  rolegate.Config
	only *simGate // nil if there are replicas
	due  func(happened moment, within time.Duration, byFull bool) moment

	lastTrouble func() string

	trace uint64 // a hash of all decisions
	ended moment
	wrong map[simWrong]int
	told  []string
}

func simulate(t *testing.T, rules simRules) (s *simulation) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var mirror *rolegatetest.Marketplace
		if rules.wire {
			mirror = rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{Latency: simLatency})
		}
		s = newSimulation(rules, mirror)
		var source rolegate.Source = simSource{s.world}
		if rules.wire {
			source = simClient{client(mirror), s.world}
		}
		if rules.wrap != nil {
			source = rules.wrap(source)
		}
		s.cfg = quiet(rolegate.Config{Source: source, UpstreamSync: s.world.sync})
		s.cfg = rolegate.WithRandom(s.cfg, simJitter(rules.seed))
		if rules.config != nil {
			rules.config(&s.cfg)
		}
		s.run(t)
	})
	return s
}

func newSimulation(rules simRules, mirror *rolegatetest.Marketplace) *simulation {
	w := newSimWorld(rules.seed, mirror)
	return &simulation{rules: rules, world: w, rng: rand.New(rand.NewPCG(rules.seed, 2)), due: w.due, lastTrouble: w.lastTrouble, wrong: map[simWrong]int{}}
}

// run lets the time go by, beside one gate.
func (s *simulation) run(t *testing.T) {
	s.world.backUp()
	s.only = s.open(t, s.cfg)
	defer func() { require.NoError(t, s.only.gate.Close()) }()
	s.goOn(func() {
		if s.world.rng.IntN(7200) == 0 {
			s.restart(t)
		}
		if s.rules.each != nil && s.world.tick%(5*time.Second) == 0 {
			s.rules.each(s.only.gate)
		}
		s.ask(s.only)
	}, s.resync)
	s.countFulls(s.only)
}

// goOn calls second every second, and press when an operator presses the button
// while the list is half-finished.
func (s *simulation) goOn(second, press func()) {
	w := s.world
	timer := time.NewTimer(0)
	defer timer.Stop()
	next, end := 15*time.Minute, func() {} // of the next trouble, and of this one
	inTrouble := false
	for w.tick = time.Second; w.tick <= s.rules.length; w.tick += time.Second {
		timer.Reset(w.tick - w.now())
		<-timer.C
		synctest.Wait() // what else happens at this moment has happened: the order is the same in each run
		switch {
		case w.tick < next:
		case inTrouble:
			end()
			inTrouble = false
			next = w.tick + time.Duration(4*60+w.rng.IntN(30*60))*time.Second
		default:
			var tr simTrouble
			tr, end = w.begin()
			inTrouble, next = true, w.tick+tr.planned
			if tr.kind == simHalf && w.rng.IntN(2) == 0 {
				press()
			}
		}
		w.live()
		if w.tick%(30*time.Minute) == 0 && !inTrouble {
			w.backUp()
		}
		second()
		if s.rules.until != "" && s.wrong[s.rules.until] > 0 {
			break
		}
	}
	s.ended = w.tick
}

// open opens a gate: at once while the marketplace is away, for nobody can wait
// for hours, and with its first list otherwise.
func (s *simulation) open(t *testing.T, cfg rolegate.Config) *simGate {
	cfg.StartEmpty = cfg.StartEmpty || s.world.ailing() || s.rng.IntN(2) == 0
	gate, err := rolegate.Open(t.Context(), cfg)
	require.NoError(t, err)
	g := &simGate{gate: gate, opened: s.world.now()}
	asked := rolegate.InOrg(func(r *http.Request) (int64, error) { return strconv.ParseInt(r.Header.Get("X-Org"), 10, 64) })
	g.guards[simEntry] = gate.Admit(ok(gate))
	for th := simTeacher; th < simThings; th++ {
		g.may[th] = gate.Policy(rolegate.AnyRole(simRoles[th]))
		g.guards[th] = gate.Require(rolegate.AnyRole(simRoles[th]), asked)(ok(gate))
	}
	return g
}

func (s *simulation) restart(t *testing.T) {
	s.world.counts["restarts"]++
	if s.world.ailing() {
		s.world.counts["restarts without a marketplace"]++
	}
	s.countFulls(s.only)
	require.NoError(t, s.only.gate.Close())
	s.only = s.open(t, s.cfg)
}

func (s *simulation) countFulls(g *simGate) {
	synctest.Wait() // a request goes on when the list is published, before the refresh is counted
	status := g.gate.Status()
	s.world.counts["full refreshes"] += int(status.Full.Succeeded)
	s.world.counts["increments"] += int(status.Incremental.Succeeded)
	s.world.counts["failed pulls"] += int(status.Full.Failed + status.Incremental.Failed)
}

// resync is an operator who presses the button while the list is half-finished.
func (s *simulation) resync() {
	gate := s.only.gate
	refresh := gate.RefreshAll
	if s.rules.acceptShrink {
		refresh = func(ctx context.Context) error { return acceptShrink(ctx, gate) }
	}
	go func() { _ = refresh(context.Background()) }()
	synctest.Wait()
}

// ask asks about one person who has lost something lately, one who has got
// something, and one of all; every minute one more comes by HTTP, whose
// refusal looks at what is new.
func (s *simulation) ask(g *simGate) {
	w := s.world
	for _, news := range [][]simNews{w.losses, w.gains} {
		if len(news) == 0 {
			continue
		}
		// Half of them among the last.
		from := 0
		if s.rng.IntN(2) == 0 {
			from = max(0, len(news)-20)
		}
		one := news[from+s.rng.IntN(len(news)-from)]
		s.decide(g, one.n, one.thing)
	}
	s.decide(g, s.rng.IntN(simPeople), simThing(s.rng.IntN(int(simThings))))
	if w.tick%time.Minute == 0 {
		if recent := len(w.gains); recent > 0 {
			one := w.gains[max(0, recent-1-s.rng.IntN(5))]
			s.visit(g, one.n, one.thing)
		}
	}
}

func (s *simulation) decide(g *simGate, n int, th simThing) {
	id := rolegate.UserID(simID(n))
	var d rolegate.Decision
	if th == simEntry {
		d = g.gate.Decide(context.Background(), id)
	} else {
		d = g.may[th].Decide(context.Background(), id, simOrg(n))
	}
	if d.Held && d.Allowed() {
		s.world.counts["admitted while held"]++
	}
	s.check(g, n, th, d.Reason, s.world.now(), false)
}

func (s *simulation) visit(g *simGate, n int, th simThing) {
	begun := s.world.now()
	r, _ := http.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("X-User-Id", strconv.FormatInt(simID(n), 10))
	r.Header.Set("X-Org", strconv.FormatInt(simOrg(n), 10))
	w := discard{h: http.Header{}}
	status := &simStatus{ResponseWriter: w, status: http.StatusOK}
	g.guards[th].ServeHTTP(status, r)
	reason := rolegate.ReasonGranted
	switch {
	case status.status == http.StatusForbidden:
		reason = rolegate.ReasonNotAuthorized
	case status.status == http.StatusServiceUnavailable && g.gate.Status().State == rolegate.StateExpired:
		reason = rolegate.ReasonExpired
	case status.status == http.StatusServiceUnavailable:
		reason = rolegate.ReasonNotReady
	}
	s.check(g, n, th, reason, begun, true)
}

// simBoundVisit is when a grant counts for whoever comes by HTTP: at once, but
// for the refresh that they have joined, and for OnDeny.TTL if they were refused before.
const simBoundVisit = 5*time.Second + 2*simPull

// well reports whether increments work at that moment and have been tried
// since they did not.
func (s *simulation) well(at moment) bool {
	soon := at + 2*time.Second
	return s.due(at, soon-at, false) == soon
}

type simStatus struct {
	http.ResponseWriter
	status int
}

func (s *simStatus) WriteHeader(status int) { s.status = status }

// check compares a decision with what the marketplace meant.
func (s *simulation) check(g *simGate, n int, th simThing, reason rolegate.Reason, at moment, visit bool) {
	w := s.world
	s.trace = s.trace*1099511628211 ^ (uint64(at)<<16 | uint64(n)<<8 | uint64(th)<<5 | uint64(reason)) // FNV-1, by decisions
	w.counts["requests"]++
	w.counts[reason.String()]++
	p := &w.people[n]
	if p.spelling == simUnreadable {
		return // the marketplace means this person, but nobody can know
	}
	switch reason {
	case rolegate.ReasonGranted:
		if p.has(th) {
			return
		}
		lost := p.lost[th]
		if at-lost > simBoundAtAll {
			s.say(g, simPastExpiry, n, th, at, lost)
		}
		switch {
		case p.quiet[th] && at > s.due(lost, simBoundQuiet, true):
			s.say(g, simLateRemoval, n, th, at, lost)
		case !p.quiet[th] && at > s.due(lost, simBoundShown, false):
			s.say(g, simLateChange, n, th, at, lost)
		}
	case rolegate.ReasonNotAuthorized, rolegate.ReasonRoleMissing:
		// A gate knows no more than it has seen itself, and a list that was put
		// back is another list.
		known := max(p.gained[th], g.opened, w.restored, p.blurred)
		switch {
		case !p.has(th):
		case at > s.due(known, simBoundShown, false),
			visit && at > known+simBoundVisit && s.well(at):
			s.say(g, simShutOut, n, th, at, p.gained[th])
		}
	case rolegate.ReasonNotReady:
		if at > s.due(g.opened, 2*simFull, true) {
			s.say(g, simClosed, n, th, at, g.opened)
		}
	case rolegate.ReasonExpired:
		// What was revoked so long ago should be known by now.
		if since := at - time.Hour; at > s.due(max(since, g.opened), simBoundQuiet, true) {
			s.say(g, simClosed, n, th, at, since)
		}
	default:
		s.say(g, "a reason that nobody expected: "+simWrong(reason.String()), n, th, at, 0)
	}
}

func (s *simulation) say(g *simGate, wrong simWrong, n int, th simThing, at, since moment) {
	s.wrong[wrong]++
	if len(s.told) >= 10 && wrong != s.rules.until {
		return
	}
	what := "authorised before the simulation began"
	if since >= 0 {
		what = fmt.Sprintf("since %v, %v ago", since, at-since)
	}
	s.told = append(s.told, fmt.Sprintf("at %v, user %d, %v: %s; %s; gate opened at %v; %s", at, n, th, wrong, what, g.opened, s.lastTrouble()))
}

// requireRight fails the test if anything was wrong, and if the week was too
// quiet to tell.
func (s *simulation) requireRight(t *testing.T) {
	t.Helper()
	var counts []string
	for what, n := range s.world.counts {
		counts = append(counts, fmt.Sprintf("%s: %d", what, n))
	}
	slices.Sort(counts)
	t.Log(strings.Join(counts, "; "))
	if s.rules.length == simWeek {
		for k := range simTroubles {
			assert.Positive(t, s.world.counts[k.String()], k)
		}
		for _, what := range []string{"restarts without a marketplace", "bad records", "admitted while held", "expired", "not_ready"} {
			assert.Positive(t, s.world.counts[what], what)
		}
	}
	assert.Empty(t, s.wrong, "to repeat it: ROLEGATE_SEED=%d\n%s", s.rules.seed, strings.Join(s.told, "\n"))
}
