package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rolegate/rolegate/rolegatetest"
)

// A soak is one run.
type soak struct {
	plan
	truth   *truth
	market  *rolegatetest.Marketplace
	town    *town
	weather *weather
	child   *child
	reader  *statusReader

	said     atomic.Pointer[claim] // what the status said last
	saidOnce atomic.Pointer[claim] // what it said streamPatience ago, or before
	floor    atomic.Int64          // of what the users were before, nobody asks any more
	trapped  atomic.Uint64         // requests that followed a redirect

	mu     sync.Mutex
	wrong  []string
	stop   context.CancelFunc
	tally  tally
	prints []footprint
	begun  time.Time
	took   time.Duration
	ended  uint64 // streams that were ended
}

func newSoak(p plan) *soak {
	s := &soak{plan: p, truth: &truth{}, stop: func() {}}
	s.said.Store(&claim{verified: math.MinInt64, contact: math.MinInt64})
	s.saidOnce.Store(s.said.Load())
	s.floor.Store(math.MinInt64)
	rnd := p.random(0)
	s.market = rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{
		IDs: rolegatetest.IDs(rnd.IntN(3)), Inclusive: rnd.IntN(2) == 0, QuietRoleLoss: rnd.IntN(2) == 0, UnauthorizedHTTP: rnd.IntN(2) == 0,
	})
	s.town = newTown(p.seed, s.market, s.truth, s.floor.Load, p.users)
	return s
}

// mostReports is how many things that are wrong are told.
const mostReports = 5

// report notes something that is wrong, and ends the run.
func (s *soak) report(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.wrong) < mostReports {
		s.wrong = append(s.wrong, clock(now())+": "+fmt.Sprintf(format, args...))
	}
	s.stop()
}

// verdict checks an exchange and counts it.
func (s *soak) verdict(t *tally, x *exchange) {
	v, why := s.truth.check(x)
	t.add(x, v)
	if v != wrong {
		return
	}
	path := x.route.path
	if strings.Contains(path, "%d") {
		path = fmt.Sprintf(path, x.org)
	}
	c := x.claim
	text := fmt.Sprintf("%s\n    %s %s as user %d, sent %s, answered %d at %s\n    the status had said at %s: verified %s, contact %s, generation %d, held %d\n",
		why, x.route.method, path, x.id, clock(x.sent), x.status, clock(x.got), clock(c.read), clock(c.verified), clock(c.contact), c.generation, c.held)
	if x.who != nil {
		text += "    the marketplace had said of the user\n" + x.who.tell(min(c.verified, c.contact))
	}
	s.report("%s", text)
}

// run is the whole soak. What is wrong with answers is reported; what it
// returns is wrong with all of it.
func (s *soak) run(ctx context.Context) error {
	folder, err := os.MkdirTemp("", "soak")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	trap := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { s.trapped.Add(1) }))
	defer trap.Close()
	s.weather = newWeather(s.seed, s.market, s.truth, s.floor.Load, trap.URL+"/app/user/list")
	url, stopMarket, err := s.market.Listen()
	if err != nil {
		return err
	}
	defer stopMarket()

	alive, kill := context.WithCancel(ctx)
	defer kill()
	s.child, err = startChild(alive, folder, s.race, s.market.Token(),
		"ROLEGATE_BASE_URL="+url, "ROLEGATE_APP_ID="+s.market.AppID(), "ROLEGATE_ACCESS_TOKEN="+s.market.Token(),
		"ROLEGATE_REFRESH=100ms", "ROLEGATE_RESYNC=250ms")
	if err != nil {
		return err
	}
	defer s.child.kill()

	transport := &http.Transport{}
	s.reader = &statusReader{soak: s, client: &http.Client{Transport: transport, Timeout: patience}}
	if err := s.awaitList(ctx); err != nil {
		return err
	}
	transport.CloseIdleConnections()
	before, beforeErr := s.settledFootprint(math.MaxInt)
	err = s.load(ctx)
	transport.CloseIdleConnections()
	if err != nil || s.failed() {
		return err
	}
	if beforeErr == nil {
		s.checkFootprints(before)
	}
	if err := s.child.interrupt(); err != nil {
		return err
	}
	if said := s.child.wrong(); said != "" {
		return errors.New(said)
	}
	if n := s.trapped.Load(); n > 0 {
		return fmt.Errorf("%d redirects of the marketplace were followed", n)
	}
	return nil
}

func (s *soak) failed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.wrong) > 0
}

// awaitList waits for the first list.
func (s *soak) awaitList(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		ok, err := s.reader.read(ctx)
		if ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the example has no list: %w", ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// streams is how many streams are open at once.
const streams = 24

// load is the time in which everything happens at once.
func (s *soak) load(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.length)
	defer cancel()
	s.mu.Lock()
	s.stop = cancel
	s.mu.Unlock()
	s.begun = time.Now()

	var all sync.WaitGroup
	all.Go(func() { s.town.live(ctx) })
	all.Go(func() { s.weather.change(ctx) })
	all.Go(func() { s.sample(ctx) })
	all.Go(func() {
		if err := s.reader.run(ctx); err != nil {
			s.report("the status: %v", err)
		}
	})
	_, addr, _ := strings.Cut(s.child.url, "//")
	most := []*route{home, grades, report, staff}
	for n := range s.clients + 2 {
		c := &client{soak: s, rnd: s.random(100 + uint64(n)), bundle: s.bundle, routes: most}
		if n >= s.clients { // these may wait for a full refresh
			c.bundle, c.routes = 1, []*route{exams}
		}
		all.Go(func() {
			if err := c.run(ctx, addr); err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
				s.report("a connection: %v", err)
			}
			s.add(c.tally, 0)
		})
	}
	for n := range streams {
		transport := &http.Transport{}
		l := &listener{soak: s, rnd: s.random(50 + uint64(n)), client: &http.Client{Transport: transport}}
		all.Go(func() {
			defer transport.CloseIdleConnections()
			if err := l.run(ctx); err != nil {
				s.report("a stream: %v", err)
			}
			s.add(l.tally, l.revoked)
		})
	}
	all.Wait()
	s.took = time.Since(s.begun)
	s.add(s.reader.tally, 0)
	return nil
}

func (s *soak) add(t tally, ended uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tally.plus(t)
	s.ended += ended
}

// sample looks after the example from time to time, until ctx ends.
func (s *soak) sample(ctx context.Context) {
	tick := time.NewTicker(max(200*time.Millisecond, s.length/500))
	defer tick.Stop()
	moved := time.Now()
	floor := s.said.Load().verified
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.child.ended:
			s.report("the example has ended: %v", s.child.waitErr)
			return
		case <-tick.C:
		}
		if f, err := s.child.footprint(); err == nil {
			s.prints = append(s.prints, f)
		}
		if said := s.child.wrong(); said != "" {
			s.report("%s", said)
		}
		// What was said longer ago than any request can be under way is asked
		// about no more, if it was verified then.
		if time.Since(moved) > 2*patience {
			s.floor.Store(floor)
			moved, floor = time.Now(), s.saidOnce.Load().verified
		}
	}
}

// settledFootprint reads the footprint as soon as no more than so many files
// are open, or in five seconds.
func (s *soak) settledFootprint(fds int) (footprint, error) {
	until := time.Now().Add(5 * time.Second)
	for {
		f, err := s.child.footprint()
		if err != nil || f.fds <= fds || time.Now().After(until) {
			return f, err
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// checkFootprints reports what has grown that should not.
func (s *soak) checkFootprints(before footprint) {
	early, late := s.footprints(0.3, 0.5), s.footprints(0.8, 1)
	if len(early) == 0 || len(late) == 0 {
		s.report("the example's footprint was not seen")
		return
	}
	most := func(all []footprint, of func(footprint) int64) int64 {
		return of(slices.MaxFunc(all, func(a, b footprint) int { return int(of(a) - of(b)) }))
	}
	rss := func(f footprint) int64 { return f.rss }
	// The race detector's own memory grows.
	if was, is := most(early, rss), median(late); !s.race && is > was+was/4+16<<20 {
		s.report("the example's memory has grown from %d MiB to %d MiB", was>>20, is>>20)
	}
	threads := func(f footprint) int64 { return int64(f.threads) }
	if was, is := most(early, threads), most(late, threads); is > was+8 {
		s.report("the example's threads have grown from %d to %d", was, is)
	}
	fds := func(f footprint) int64 { return int64(f.fds) }
	if is, limit := most(s.prints, fds), int64(before.fds+s.clients+streams+32); is > limit {
		s.report("the example had %d files open, for %d connections", is, s.clients)
	}
	after, err := s.settledFootprint(before.fds + 4)
	if err == nil && after.fds > before.fds+4 {
		s.report("the example has %d files open after the load, and had %d before", after.fds, before.fds)
	}
	s.prints = append(s.prints, after)
}

// footprints are those from one part of the run to another.
func (s *soak) footprints(from, to float64) (part []footprint) {
	for _, f := range s.prints {
		if at := float64(f.at.Sub(s.begun)) / float64(s.length); at >= from && at <= to {
			part = append(part, f)
		}
	}
	return part
}

func median(all []footprint) int64 {
	sizes := make([]int64, len(all))
	for i, f := range all {
		sizes[i] = f.rss
	}
	slices.Sort(sizes)
	return sizes[len(sizes)/2]
}

// summarize prints what was done and seen.
func (s *soak) summarize(out io.Writer) {
	n := s.tally.total()
	if n == 0 {
		return
	}
	fmt.Fprintf(out, "requests    %d, %.0f a second\n", n, float64(n)/s.took.Seconds())
	fmt.Fprint(out, "answers    ")
	for _, status := range slices.Sorted(maps.Keys(s.tally.answers)) {
		fmt.Fprintf(out, " %d: %d ", status, s.tally.answers[status])
	}
	v := s.tally.verdicts
	fmt.Fprintf(out, "\nchecked     %d admitted, %d refused, %d refused with an excuse, %d too old, %d unidentified, %d wrong; %d streams ended\n",
		v[admitted], v[refused], v[excused], v[tooOld], v[unidentified], v[wrong], s.ended)
	fmt.Fprintf(out, "changes     %d, %d bad records, %d restored backups\n", s.town.changes.Load(), s.town.bads.Load(), s.town.undone.Load())
	c := s.said.Load()
	fmt.Fprintf(out, "pulls       %d incremental, %d full refreshes succeeded; generation %d; at most %d removals held\n", c.pulls, c.fulls, c.generation, s.reader.heldMost)
	fmt.Fprintf(out, "failed     %s\n", counts(s.reader.failures))
	fmt.Fprintf(out, "verified    %v to %v ago\n", s.reader.agesMin.Round(time.Millisecond), s.reader.agesMax.Round(time.Millisecond))
	s.weather.mu.Lock()
	fmt.Fprintf(out, "faults     %s; calm for %v\n", counts(s.weather.count), s.weather.calm)
	s.weather.mu.Unlock()
	if len(s.prints) > 0 {
		early, last := s.footprints(0.3, 0.5), s.prints[len(s.prints)-1]
		if len(early) > 0 {
			fmt.Fprintf(out, "memory      %d MiB early, %d MiB at the end; threads %d, %d; files %d, %d\n",
				median(early)>>20, last.rss>>20, early[0].threads, last.threads, early[0].fds, last.fds)
		}
	} else {
		fmt.Fprintln(out, "memory      not seen: there is no /proc")
	}
}

func counts(m map[string]uint64) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(m)) {
		fmt.Fprintf(&b, " %s %d,", name, m[name])
	}
	return strings.TrimSuffix(b.String(), ",")
}

// exitCode prints what is wrong and returns the program's exit code.
func (s *soak) exitCode(out io.Writer) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.wrong) == 0 {
		fmt.Fprintln(out, "soak: nothing wrong")
		return 0
	}
	for _, what := range s.wrong {
		fmt.Fprintf(out, "\nWRONG at %s\n", what)
	}
	if s.weather != nil {
		fmt.Fprintf(out, "\nthe weather had been\n    %s\n", strings.Join(s.weather.history, "\n    "))
	}
	if s.child != nil {
		fmt.Fprintf(out, "\nthe example printed last\n%s", s.child.last())
	}
	fmt.Fprintf(out, "\nagain: go run ./tools/soak -for %v -seed %d\n", s.length, s.seed)
	return 1
}
