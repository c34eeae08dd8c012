package chiroutes_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/chiroutes"
	"github.com/rolegate/rolegate/rolegatetest"
)

// The listing of random routers is compared with what real requests meet: which
// handler runs, and which guards have let the request through before.
func TestListingIsWhatTheRouterDispatches(t *testing.T) {
	t.Parallel()
	gate, err := rolegate.Open(t.Context(), rolegate.Config{
		Source:   rolegatetest.NewStatic(rolegate.Record{UserID: 1}),
		Identify: rolegate.ByUserID(func(*http.Request) (int64, error) { return 1, nil }),
		Logger:   slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	t.Cleanup(func() { gate.Close() })
	var seen tally
	for seed := range uint64(randomRouters) {
		b := &builder{gate: gate, rand: rand.New(rand.NewPCG(seed, 0)), complete: seed%2 == 0}
		mux := b.router(0)
		if mistakes := b.compare(mux, &seen); len(mistakes) > 0 {
			t.Fatalf("router %d: %s\n\t%s\nis listed as\n\t%s", seed, strings.Join(mistakes, "\n"), strings.Join(b.built, "\n\t"),
				strings.Join(described(mux), "\n\t"))
		}
	}
	t.Logf("%+v", seen)
	require.Greater(t, seen.Hits, 5*randomRouters, "the requests hardly meet a handler")
	require.Greater(t, seen.Fallbacks, randomRouters/2)
	require.Greater(t, seen.Guarded, randomRouters)
	require.Less(t, seen.Hidden*20, seen.Listed, "most routes must be reached")
}

// A tally says what a run has met, so that it cannot pass for meeting nothing.
type tally struct{ Requests, Hits, Fallbacks, Guarded, Listed, Hidden int }

// A builder builds a random router, and says how.
type builder struct {
	gate  *rolegate.Gate
	rand  *rand.Rand
	built []string
	ids   int
	muxes []*chi.Mux // that may be mounted once more

	complete bool // every router has fallbacks: no request meets nothing
}

// A met is what a request has met on its way.
type met struct {
	guards  []string
	handler string
}

type metKey struct{}

// A named handler takes down that it has run.
type named string

func (n named) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	r.Context().Value(metKey{}).(*met).handler = string(n)
}

func (b *builder) handler(kind string) http.Handler {
	b.ids++
	return named(fmt.Sprint(kind, b.ids))
}

// guard makes a guard that takes down that it was passed.
func (b *builder) guard() *rolegate.Policy {
	b.ids++
	name := fmt.Sprint("guard", b.ids)
	return b.gate.Policy(rolegate.Where(name, func(_ rolegate.User, r *http.Request) bool {
		m := r.Context().Value(metKey{}).(*met)
		m.guards = append(m.guards, name)
		return true
	}))
}

func (b *builder) pick(n int) bool { return b.rand.IntN(n) == 0 }

var segments = []string{"a", "b", "ab", "{x$}", "{x$}", "{n$:[0-9]+}", "a-{x$}", "{x$}.b"}

func (b *builder) pattern() string {
	var p strings.Builder
	for range b.rand.IntN(3) {
		b.ids++ // a name must not be there twice
		p.WriteString("/" + strings.ReplaceAll(segments[b.rand.IntN(len(segments))], "$", fmt.Sprint(b.ids%4)))
	}
	switch {
	case p.Len() == 0 || b.pick(6):
		p.WriteString("/")
	case b.pick(4):
		p.WriteString("/*")
	}
	return p.String()
}

func (b *builder) say(depth int, format string, args ...any) {
	b.built = append(b.built, strings.Repeat("  ", depth)+fmt.Sprintf(format, args...))
}

func (b *builder) router(depth int) *chi.Mux {
	mux := chi.NewRouter()
	b.fill(mux, depth)
	return mux
}

func (b *builder) fill(r chi.Router, depth int) {
	for range b.rand.IntN(3) {
		if b.pick(2) {
			p := b.guard()
			b.say(depth, "Use %s", p)
			r.Use(p.Wrap)
		} else {
			r.Use(func(next http.Handler) http.Handler { return next })
		}
	}
	if b.complete {
		r.NotFound(b.handler("notfound").ServeHTTP)
		r.MethodNotAllowed(b.handler("notallowed").ServeHTTP)
	}
	for range b.rand.IntN(5) {
		b.step(r, depth)
	}
}

// step registers something. What chi refuses, it panics at, is not registered.
func (b *builder) step(r chi.Router, depth int) {
	defer func() {
		if v := recover(); v != nil {
			b.say(depth, "(panic: %v)", v)
		}
	}()
	if b.pick(3) {
		p := b.guard()
		b.say(depth, "With %s:", p)
		r = r.With(p.Wrap)
	}
	pattern := b.pattern()
	method := []string{"GET", "POST", "PUT"}[b.rand.IntN(3)]
	action := b.rand.IntN(12)
	if action > 6 { // Mount refuses a "*" when it has registered a half
		pattern = strings.TrimSuffix(pattern, "*")
	}
	switch action {
	case 0, 1, 2:
		h := b.handler("h")
		b.say(depth, "%s %s: %s", method, pattern, h)
		if b.pick(5) {
			p := b.guard()
			b.say(depth, "  in %s", p)
			h = p.Wrap(h)
		}
		if b.pick(4) {
			r.MethodFunc(method, pattern, h.ServeHTTP)
			return
		}
		r.Method(method, pattern, h)
	case 3:
		h := b.handler("h")
		b.say(depth, "Handle %s: %s", pattern, h)
		r.Handle(pattern, h)
	case 4:
		h := b.handler("notfound")
		b.say(depth, "NotFound: %s", h)
		r.NotFound(h.ServeHTTP)
	case 5:
		h := b.handler("notallowed")
		b.say(depth, "MethodNotAllowed: %s", h)
		r.MethodNotAllowed(h.ServeHTTP)
	case 6:
		b.say(depth, "Group:")
		r.Group(func(r chi.Router) { b.fill(r, depth+1) })
	case 7:
		h := b.handler("opaque")
		b.say(depth, "Mount %s: %s", pattern, h)
		r.Mount(pattern, h)
	case 8:
		if len(b.muxes) == 0 || depth > 2 {
			return
		}
		b.say(depth, "Mount %s, a router from before", pattern)
		r.Mount(pattern, b.muxes[b.rand.IntN(len(b.muxes))])
	default:
		if depth > 2 {
			return
		}
		var sub http.Handler
		b.say(depth, "Mount %s:", pattern)
		mux := b.router(depth + 1)
		sub = mux
		if b.pick(4) {
			inline := mux.With(b.guard().Wrap)
			b.say(depth+1, "as a router of With:")
			b.step(inline, depth+1)
			sub = inline
		}
		r.Mount(pattern, sub)
		b.muxes = append(b.muxes, mux)
		if b.pick(2) { // a route over it
			over := strings.TrimSuffix(pattern, "/") + []string{"", "/", "/*"}[b.rand.IntN(3)]
			h := b.handler("h")
			b.say(depth, "over it %s %s: %s", method, over, h)
			if b.pick(4) {
				r.Handle(over, h)
			} else {
				r.Method(method, over, h)
			}
		}
	}
}

// An entry is a route as the test looks at it.
type entry chiroutes.Entry

func entriesOf(mux *chi.Mux) (entries []entry, err error) {
	listed, err := chiroutes.Entries(mux)
	for _, e := range listed {
		entries = append(entries, entry(e))
	}
	return entries, err
}

// ask sends a request.
func ask(mux http.Handler, method, path string) met {
	m := met{}
	r := httptest.NewRequest(method, "/", nil).WithContext(context.WithValue(context.Background(), metKey{}, &m))
	r.URL.Path = path
	mux.ServeHTTP(httptest.NewRecorder(), r)
	return m
}

func names(guards []*rolegate.Policy) (names []string) {
	for _, p := range guards {
		names = append(names, strings.TrimSuffix(strings.TrimPrefix(p.String(), "Where("), ")"))
	}
	return names
}

func described(mux *chi.Mux) (lines []string) {
	entries, err := entriesOf(mux)
	if err != nil {
		return []string{err.Error()}
	}
	for _, e := range entries {
		h, _ := e.Handler.(named)
		lines = append(lines, fmt.Sprintf("%s %q %v %s", e.Method, e.Levels, names(e.Guards), h))
	}
	return lines
}

// compare says where the listing and requests differ.
func (b *builder) compare(mux *chi.Mux, seen *tally) (mistakes []string) {
	entries, err := entriesOf(mux)
	if err != nil {
		return []string{err.Error()}
	}
	wrong := func(format string, args ...any) { mistakes = append(mistakes, fmt.Sprintf(format, args...)) }
	look := func(method, path string) (hit *entry) {
		m := ask(mux, method, path)
		seen.Requests++
		if m.handler == "" {
			return nil
		}
		seen.Hits++
		if len(m.guards) > 0 {
			seen.Guarded++
		}
		for i, e := range entries {
			if e.meets(method, path, m) {
				return &entries[i]
			}
		}
		wrong("%s %s is served by %s behind %v: not listed so", method, path, m.handler, m.guards)
		return nil
	}
	parts := []string{"", "a", "b", "ab", "7", "zz", "a-zz", "zz.b"}
	for range 20 {
		path := ""
		for range 1 + b.rand.IntN(4) {
			path += "/" + parts[b.rand.IntN(len(parts))]
		}
		if e := look([]string{"GET", "POST", "PUT", "PATCH", "LINK"}[b.rand.IntN(5)], path); e != nil && e.isFallback() {
			seen.Fallbacks++
		}
	}
	for i := range entries {
		e := &entries[i]
		if e.isFallback() {
			continue
		}
		seen.Listed++
		reached := false
		var instead []string
		for _, path := range e.paths() {
			hit := look(e.Method, path)
			switch {
			case !b.complete && (hit == nil || hit.isFallback()): // perhaps another router has no route for it
			case hit == nil:
				instead = append(instead, path+" meets nothing")
			case hit == e || hit.isLike(e):
				reached = true
			case !hit.before(e):
				instead = append(instead, fmt.Sprintf("%s meets %q", path, hit.Levels))
			}
		}
		if !reached {
			seen.Hidden++
			for _, why := range instead {
				wrong("%s %q is listed, and %s", e.Method, e.Levels, why)
			}
		}
	}
	return mistakes
}

func (e *entry) isFallback() bool {
	return e.Method == chiroutes.MethodNotFound || e.Method == chiroutes.MethodNotAllowed
}

// isLike: the same under another name.
func (e *entry) isLike(of *entry) bool {
	return e.Method == of.Method && chiroutes.Same(e.Handler, of.Handler) && slices.Equal(names(e.Guards), names(of.Guards)) && slices.Equal(e.Levels, of.Levels)
}

// meets reports whether what a request has met is this entry.
func (e *entry) meets(method, path string, m met) bool {
	if e.isFallback() {
		if !strings.HasPrefix(m.handler, "not") {
			return false
		}
		method = e.Method
		path += "/"
	}
	h, isNamed := e.Handler.(named)
	if last := e.Levels[len(e.Levels)-1]; !isNamed && !strings.HasSuffix(last, "*") && len(m.guards) >= len(e.Guards) {
		// Of what another Mount has pushed aside, only the guards in front are known.
		return e.Method == method && slices.Equal(names(e.Guards), m.guards[:len(e.Guards)]) && (e.matches(path) || e.matches(path+"/"))
	}
	if !isNamed && !strings.HasPrefix(m.handler, "opaque") || isNamed && string(h) != m.handler {
		return false
	}
	// What is mounted at "/a/" has the path "/a" too.
	mounted := len(e.Levels) > 1 || !isNamed
	return e.Method == method && slices.Equal(names(e.Guards), m.guards) && (e.matches(path) || mounted && e.matches(path+"/"))
}

var wildcards = regexp.MustCompile(`\{[^}]*\}|\*`)

func (e *entry) matches(path string) bool {
	pattern, at := "", 0
	text := e.Pattern
	for _, w := range wildcards.FindAllStringIndex(text, -1) {
		pattern += regexp.QuoteMeta(text[at:w[0]])
		if text[w[0]:w[1]] == "*" {
			pattern += ".*"
		} else {
			pattern += "[^/]*" // chi takes a regular expression to match an empty segment
		}
		at = w[1]
	}
	return regexp.MustCompile("^" + pattern + regexp.QuoteMeta(text[at:]) + "$").MatchString(path)
}

// paths are requests that should meet the entry, if any does.
func (e *entry) paths() (paths []string) {
	text := e.Pattern
	for _, rest := range []string{"", "zz", "zz/zz", "zz/zz/zz/zz", "7/zz/"} {
		paths = append(paths, wildcards.ReplaceAllStringFunc(text, func(w string) string {
			switch {
			case w == "*":
				return rest
			case strings.Contains(w, ":"):
				return "7"
			default:
				return "zz"
			}
		}))
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

// before reports whether chi looks at one entry before another: in the first
// router in which they differ, static segments come before regular expressions,
// those before parameters, and all before "*".
func (e *entry) before(of *entry) bool {
	for i := range min(len(e.Levels), len(of.Levels)) {
		a, b := e.Levels[i], of.Levels[i]
		if a == b {
			continue
		}
		for a != "" && b != "" {
			sa, sb := segment(&a), segment(&b)
			if ra, rb := rank(sa), rank(sb); ra != rb {
				return ra < rb
			}
		}
		return true
	}
	return false
}

func segment(p *string) string {
	i := strings.IndexByte((*p)[1:], '/') + 1
	if i == 0 {
		i = len(*p)
	}
	s := (*p)[:i]
	*p = (*p)[i:]
	return s
}

func rank(segment string) int {
	switch {
	case segment == "/*":
		return 3
	case strings.Contains(segment, ":"):
		return 1
	case strings.Contains(segment, "{"):
		return 2
	}
	return 0
}
