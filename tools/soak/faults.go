package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rolegate/rolegate/rolegatetest"
)

// A kind is one way in which the marketplace can fail.
type kind struct {
	name string
	make func(w *weather) rolegatetest.Fault

	// lies says that a pull may take the answer for a whole and true list.
	lies bool

	// often makes it come more: what a gate that took it for a list would do
	// wrong shows only sometimes.
	often bool
}

// longest is how long one page is held up at most.
const longest = 700 * time.Millisecond

var kinds = []kind{
	{name: "empty", make: just(rolegatetest.EmptyBody())},
	{name: "garbage", make: just(rolegatetest.Garbage())},
	{name: "html", make: just(rolegatetest.HTMLPage())},
	{name: "empty data", make: just(rolegatetest.EmptyData())},
	{name: "null data", make: just(rolegatetest.Body(`{"code":200,"status":"success","message":"","data":null}`))},
	{name: "no code", make: just(rolegatetest.Body(`{"status":"success","message":"","data":[]}`))},
	{name: "deep JSON", make: just(rolegatetest.Body(`{"code":200,"data":` + strings.Repeat("[", 100_000)))},
	{name: "truncated", often: true, make: just(rolegatetest.Truncated())},
	{name: "unterminated", often: true, make: just(rolegatetest.Unterminated())},
	{name: "trailing", make: just(rolegatetest.Trailing(`{"code":200}`))},
	{name: "reset", make: just(rolegatetest.Reset())},
	{name: "hang", make: just(bounded(rolegatetest.Hang()))},
	{name: "drip", make: just(bounded(rolegatetest.Drip(2 * time.Millisecond)))},
	{name: "slow", make: func(w *weather) rolegatetest.Fault {
		return rolegatetest.Slow(time.Duration(10+w.rnd.IntN(190)) * time.Millisecond)
	}},

	{name: "error envelope", make: func(w *weather) rolegatetest.Fault {
		code := []int{-1, 0, 201, 400, 403, 500, 503}[w.rnd.IntN(7)]
		return rolegatetest.ErrorEnvelope(code, "服务异常")
	}},
	{name: "error with a list", make: just(edited(`"code":200,"status":"success"`, `"code":500,"status":"fail"`))},
	{name: "error with nobody", often: true, make: just(rolegatetest.Body(`{"code":500,"status":"success","message":"","data":[]}`))},
	{name: "fail under 200", often: true, make: just(rolegatetest.Body(`{"code":200,"status":"fail","message":"","data":[]}`))},
	{name: "doubled key", make: just(edited(`"code":200,`, `"code":200,"code":200,`))},
	{name: "doubled data", make: just(rolegatetest.Body(`{"code":200,"data":[],"status":"success","data":[]}`))},
	{name: "key in another case", make: just(edited(`"data":`, `"Data":`))},
	{name: "token told", make: func(w *weather) rolegatetest.Fault {
		return rolegatetest.ErrorEnvelope(500, "accessToken="+w.market.Token()+" \n"+w.market.Token())
	}},
	{name: "token refused", make: just(rolegatetest.RefuseToken())},
	{name: "HTTP error", make: func(w *weather) rolegatetest.Fault {
		return rolegatetest.HTTPStatus([]int{204, 304, 400, 403, 404, 500, 502, 504}[w.rnd.IntN(8)])
	}},
	{name: "429", make: just(rolegatetest.HTTPStatus(429, "Retry-After", "1"))},
	{name: "503", make: func(*weather) rolegatetest.Fault {
		return rolegatetest.HTTPStatus(503, "Retry-After", time.Now().Add(time.Second).UTC().Format(http.TimeFormat))
	}},
	{name: "redirect", make: func(w *weather) rolegatetest.Fault {
		return rolegatetest.HTTPStatus([]int{301, 302, 307, 308}[w.rnd.IntN(4)], "Location", w.trapURL)
	}},
	{name: "cached", make: func(w *weather) rolegatetest.Fault {
		return rolegatetest.CachedReply(time.Duration(1+w.rnd.IntN(60)) * time.Second)
	}},

	{name: "rows dropped", lies: true, make: func(w *weather) rolegatetest.Fault {
		n := w.market.Len()
		return rolegatetest.DropRows(n - w.rnd.IntN(n/2))
	}},
	{name: "nobody", lies: true, make: just(rolegatetest.Body(`{"code":200,"status":"success","message":"","data":[]}`))},
	{name: "stuck page", lies: true, make: just(rolegatetest.StuckPage())},
	{name: "no progress", lies: true, make: just(rolegatetest.NoProgress())},
	{name: "endless", lies: true, make: func(*weather) rolegatetest.Fault {
		var pages atomic.Int32
		return func(rw http.ResponseWriter, r *http.Request, normal http.Handler) {
			if pages.Add(1) > 10 { // or the gate would fill its memory with them, as it should
				panic(http.ErrAbortHandler)
			}
			rolegatetest.Endless()(rw, r, normal)
		}
	}},
	{name: "cached, and old", often: true, make: func(w *weather) rolegatetest.Fault { return w.replay }},
}

func just(f rolegatetest.Fault) func(*weather) rolegatetest.Fault {
	return func(*weather) rolegatetest.Fault { return f }
}

// bounded breaks the connection when f has taken too long.
func bounded(f rolegatetest.Fault) rolegatetest.Fault {
	return func(w http.ResponseWriter, r *http.Request, normal http.Handler) {
		ctx, cancel := context.WithTimeout(r.Context(), longest)
		defer cancel()
		f(w, r.WithContext(ctx), normal)
		if ctx.Err() != nil {
			panic(http.ErrAbortHandler)
		}
	}
}

// edited answers as usual, with the first old in the page replaced.
func edited(from, to string) rolegatetest.Fault {
	return func(w http.ResponseWriter, r *http.Request, normal http.Handler) {
		p := take(r, normal)
		p.body = bytes.Replace(p.body, []byte(from), []byte(to), 1)
		p.send(w)
	}
}

// A page is an answer that was taken down.
type page struct {
	header http.Header
	status int
	body   []byte
}

func take(r *http.Request, normal http.Handler) *page {
	p := &page{header: http.Header{}, status: http.StatusOK}
	normal.ServeHTTP(p, r)
	return p
}

func (p *page) Header() http.Header { return p.header }
func (p *page) WriteHeader(status int) {
	p.status = status
}
func (p *page) Write(b []byte) (int, error) {
	p.body = append(p.body, b...)
	return len(b), nil
}

func (p *page) send(w http.ResponseWriter) {
	for name, values := range p.header {
		w.Header()[name] = values
	}
	if p.status != http.StatusNoContent && p.status != http.StatusNotModified {
		w.Header().Set("Content-Length", strconv.Itoa(len(p.body)))
	}
	w.WriteHeader(p.status)
	_, _ = w.Write(p.body) // the gate may have given up
}

// weather switches faults on and off.
type weather struct {
	market  *rolegatetest.Marketplace
	truth   *truth
	keep    func() int64 // what is still asked about
	trapURL string       // where redirects lead, and nobody may follow
	rnd     *rand.Rand   // of the schedule
	deck    []int        // the kinds whose turn it is, before any comes again

	now   atomic.Pointer[phase]
	cache cache

	mu      sync.Mutex
	count   map[string]uint64 // how often each fault was met with
	calm    time.Duration
	history []string // of the last phases
	dice    *rand.Rand
}

// A phase is a time in which the same faults are on.
type phase struct {
	names  []string
	fault  rolegatetest.Fault // nil when it is calm
	chance float64            // that a request meets with it
	which  string             // "full refreshes", "increments" or "all" requests
	met    atomic.Bool        // whether one has
}

func newWeather(seed uint64, m *rolegatetest.Marketplace, t *truth, keep func() int64, trapURL string) *weather {
	w := &weather{
		market: m, truth: t, keep: keep, trapURL: trapURL, count: map[string]uint64{},
		rnd: rand.New(rand.NewPCG(seed, 2)), dice: rand.New(rand.NewPCG(seed, 3)),
	}
	m.Fail(w.meet)
	return w
}

// meet is the one fault that the marketplace has.
func (w *weather) meet(rw http.ResponseWriter, r *http.Request, normal http.Handler) {
	p := w.now.Load()
	first := r.URL.Query().Get("lastSequence") == "0"
	if p == nil || p.fault == nil || p.which == "full refreshes" && !first || p.which == "increments" && first || !w.hits(p) {
		w.record(rw, r, normal)
		return
	}
	p.fault(rw, r, normal)
}

// hits throws the dice for one request.
func (w *weather) hits(p *phase) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dice.Float64() >= p.chance {
		return false
	}
	for _, name := range p.names {
		w.count[name]++
	}
	p.met.Store(true)
	return true
}

// A cache keeps pages by the sequence that was asked for.
type cache struct {
	mu    sync.Mutex
	young map[string]*page // being kept
	old   map[string]*page
	since time.Time // since when young is
}

// cacheFor is how old the pages are at least that a cache answers with.
const cacheFor = 1500 * time.Millisecond

// record answers as usual, and keeps the answer for a cache if there is room.
func (w *weather) record(rw http.ResponseWriter, r *http.Request, normal http.Handler) {
	after := r.URL.Query().Get("lastSequence")
	c := &w.cache
	c.mu.Lock()
	if after == "0" && time.Since(c.since) > cacheFor {
		c.old, c.young, c.since = c.young, map[string]*page{}, time.Now()
	}
	full := c.young == nil || len(c.young) >= 40
	c.mu.Unlock()
	if full {
		normal.ServeHTTP(rw, r)
		return
	}
	p := take(r, normal)
	c.mu.Lock()
	c.young[after] = p
	c.mu.Unlock()
	p.send(rw)
}

// replay answers with pages from some time ago, as a cache does: with a whole
// list as it was, if the first page is asked for. Nothing but the Age tells: it
// is a cache that writes the Date anew.
func (w *weather) replay(rw http.ResponseWriter, r *http.Request, normal http.Handler) {
	w.cache.mu.Lock()
	p := w.cache.old[r.URL.Query().Get("lastSequence")]
	w.cache.mu.Unlock()
	rw.Header().Set("Age", "30")
	if p == nil {
		normal.ServeHTTP(rw, r)
		return
	}
	p.send(rw)
}

// change lets the weather change until ctx ends, and then be fine.
func (w *weather) change(ctx context.Context) {
	outage := time.Now().Add(time.Duration(5+w.rnd.IntN(45)) * time.Second)
	for ctx.Err() == nil {
		p := &phase{}
		length := time.Duration(200+w.rnd.IntN(700)) * time.Millisecond
		var told func()
		switch {
		case time.Now().After(outage):
			// No full refresh for longer than a route's MaxAge, while grants go on.
			p.names, p.fault, p.chance, p.which = []string{"outage"}, rolegatetest.HTTPStatus(http.StatusBadGateway), 1, "full refreshes"
			length = exams.maxAge + time.Second
			outage = time.Now().Add(time.Duration(30+w.rnd.IntN(60)) * time.Second)
		case w.rnd.IntN(2) == 0:
			told = w.brew(p)
			length = time.Duration(100+w.rnd.IntN(500)) * time.Millisecond
		}
		w.market.SetLatency([]time.Duration{0, 0, 0, time.Millisecond, 5 * time.Millisecond}[w.rnd.IntN(5)])
		w.market.SetPageCap([]int{0, 0, 0, 700, 300}[w.rnd.IntN(5)])
		w.note(p, length)
		w.now.Store(p)
		begun := time.Now()
		for more := length; more > 0 && ctx.Err() == nil; {
			select {
			case <-ctx.Done():
			case <-time.After(more):
			}
			more = 0
			if p.fault != nil && !p.met.Load() && time.Since(begun) < length+time.Second {
				more = 10 * time.Millisecond // the gate may be backing off
			}
		}
		w.now.Store(nil)
		if told != nil {
			told()
		}
	}
	w.market.SetLatency(0)
}

// brew puts one to three faults together. It returns what ends the lie, if
// there is one.
func (w *weather) brew(p *phase) (told func()) {
	p.chance = []float64{1, 1, 1, 0.5, 0.1}[w.rnd.IntN(5)]
	p.which = []string{"all", "all", "all", "full refreshes", "increments"}[w.rnd.IntN(5)]
	lies := false
	for range 1 + w.rnd.IntN(3)*w.rnd.IntN(2) {
		if len(w.deck) == 0 {
			for i := range kinds {
				w.deck = append(w.deck, i)
				if kinds[i].often {
					w.deck = append(w.deck, i, i)
				}
			}
			w.rnd.Shuffle(len(w.deck), func(i, j int) { w.deck[i], w.deck[j] = w.deck[j], w.deck[i] })
		}
		k := &kinds[w.deck[0]]
		w.deck = w.deck[1:]
		p.names = append(p.names, k.name)
		p.fault = within(k.make(w), p.fault)
		lies = lies || k.lies
	}
	if lies {
		return w.truth.lie(w.keep())
	}
	return nil
}

// within has the answer of inner go through outer.
func within(outer, inner rolegatetest.Fault) rolegatetest.Fault {
	if inner == nil {
		return outer
	}
	return func(w http.ResponseWriter, r *http.Request, normal http.Handler) {
		outer(w, r, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { inner(w, r, normal) }))
	}
}

func (w *weather) note(p *phase, length time.Duration) {
	line := fmt.Sprintf("%s for %v: calm", clock(now()), length)
	if p.fault != nil {
		line = fmt.Sprintf("%s for %v: %s, for %.0f %% of %s requests", clock(now()), length, strings.Join(p.names, " within "), 100*p.chance, p.which)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if p.fault == nil {
		w.calm += length
	}
	w.history = append(w.history, line)
	if len(w.history) > 12 {
		w.history = w.history[1:]
	}
}
