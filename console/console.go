// Package console is a page that shows how a [rolegate.Gate] is: how old its
// list is, what the last pulls changed, whose removal is held back, who holds
// which role, what guards the routes, and why a user may or may not pass. It finds
// users by an account or an id of the app's, tells what a user may do on every
// route, and what the last refusals were, by their decision ids.
//
//	r.With(gate.Require(rolegate.AnyRole("admin"))).
//		Handle("/console", console.New(gate, console.Config{Routes: chiroutes.Lister(r)}))
//
// It is one page under one path, without files of its own to serve: everything
// else is in its query. It speaks English and Chinese, by Accept-Language, is
// light or dark as the browser wishes, and updates itself; without JavaScript it
// has to be loaded again.
//
// # Who may see it
//
// Everybody that the guard in front of it admits. Mounted without one of this
// gate's guards, it answers 403 to everybody. Use a Require: behind Admit alone,
// or behind one with Shadow, every listed user sees it and may press its button.
// Since the gate refuses everybody while it has no list, or one that has
// expired, the console cannot be seen then: the log and Gate.Status tell what is
// wrong.
//
// The page has user ids and role codes in it, but no names, accounts or e-mail
// addresses; an account that is typed into it is neither shown nor logged.
package console

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	_ "embed"
	"encoding/base64"
	"encoding/hex"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/chiroutes"
)

// Config says what a console is to show. The zero Config is ready for use.
type Config struct {
	_ struct{}

	// Routes lists the app's routes, each time that the page is shown. For chi it
	// is chiroutes.Lister(router): the router may be the one that the console is
	// mounted on. Nil lists none. It must be safe for concurrent use.
	Routes func() ([]chiroutes.Route, error)

	// Name is what the app is called on the page, "" for nothing.
	Name string

	// TrustedOrigins are where forms may come from besides the console's own site:
	// "https://school.example". A proxy that rewrites Host needs its own address
	// here, if browsers reach it over plain HTTP.
	TrustedOrigins []string

	// Path is where browsers find the console, if a proxy rewrites paths: "/school/console".
	// "" is the path of the request.
	Path string

	// Logger gets a line for each time that somebody accepts held removals, with
	// their user id and what came of it; nil is slog.Default().
	Logger *slog.Logger
}

// New returns the page about that gate. The handler is safe for concurrent use.
// It panics if gate is nil, and on a Path or TrustedOrigins that are none: when
// the route is registered, not when it is asked for.
//
// From New until the gate is closed, it looks at Gate.Status every two seconds,
// and remembers the last hour and the last 20 pulls. It does no other work by
// itself, and starts no goroutine that waits.
func New(gate *rolegate.Gate, cfg Config) http.Handler {
	if gate == nil {
		panic("rolegate/console: New: the gate is nil")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	c := &console{gate: gate, cfg: cfg, history: newHistory()}
	for _, origin := range cfg.TrustedOrigins {
		if err := c.cross.AddTrustedOrigin(origin); err != nil {
			panic("rolegate/console: New: TrustedOrigins: expected origins such as https://school.example: " + err.Error())
		}
	}
	if cfg.Path != "" && (cfg.Path[0] != '/' || strings.ContainsFunc(cfg.Path, func(r rune) bool { return r <= ' ' || r == ';' || r >= 0x7f })) {
		panic("rolegate/console: New: Path: expected a path such as /school/console")
	}
	c.watch()
	return c
}

type console struct {
	gate    *rolegate.Gate
	cfg     Config
	history *history
	cross   http.CrossOriginProtection
	bare    sync.Once
}

// lookEvery is how often the console looks at the gate by itself.
const lookEvery = 2 * time.Second

// watch looks at the gate now, and again and again until it is closed. A timer
// that waits is no goroutine; it lets go of the gate at the first look after its
// end.
func (c *console) watch() {
	if c.look().State != rolegate.StateClosed {
		time.AfterFunc(lookEvery, c.watch)
	}
}

func (c *console) look() rolegate.Status {
	s := c.gate.Status()
	c.history.observe(s, time.Now())
	return s
}

// ServeHTTP implements http.Handler.
func (c *console) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	setHeaders(w.Header())
	// Only a guard can have put the user there: no header and no parameter of
	// the request says who it is.
	user, ok := c.gate.UserFrom(r.Context())
	if !ok {
		c.bare.Do(func() {
			c.cfg.Logger.ErrorContext(r.Context(), "rolegate console: no guard of its gate is in front of it: mount it behind a Require; until then it answers 403")
		})
		refuse(w, http.StatusForbidden, "This page must be mounted behind a Require of its gate.")
		return
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		v := c.newView(r, user, c.look())
		if r.URL.Query().Get("part") == "live" {
			v.write(w, http.StatusOK, "live")
			return
		}
		v.Token = c.token(w, r)
		v.write(w, http.StatusOK, "page")
	case http.MethodPost:
		c.post(w, r, user)
	default:
		w.Header().Set("Allow", "GET, HEAD, POST")
		refuse(w, http.StatusMethodNotAllowed, "GET, HEAD or POST.")
	}
}

// maxForm is how long a form may be.
const maxForm = 16 << 10

// post does what a form of the page asks for.
func (c *console) post(w http.ResponseWriter, r *http.Request, user rolegate.User) {
	if err := c.cross.Check(r); err != nil {
		c.logRefused(r.Context(), user, "it comes from another site")
		refuse(w, http.StatusForbidden, "This form was sent from another site.")
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		refuse(w, http.StatusBadRequest, "This form cannot be read.")
		return
	}
	if !c.hasToken(r) {
		c.logRefused(r.Context(), user, "it does not have the token of its session")
		refuse(w, http.StatusForbidden, "This form is out of date. Go back, load the page again, and send it once more.")
		return
	}
	v := c.newView(r, user, c.look())
	v.Token = c.token(w, r)
	status := http.StatusOK
	switch r.PostForm.Get("action") {
	case "why":
		status = v.explain(r)
	case "refusal":
		status = v.findRefusal(r)
	case "review":
		v.review()
	case "accept":
		status = c.accept(v, r, user)
	default:
		refuse(w, http.StatusBadRequest, "This form asks for nothing that the page can do.")
		return
	}
	v.write(w, status, "page")
}

func (c *console) logRefused(ctx context.Context, user rolegate.User, why string) {
	c.cfg.Logger.WarnContext(ctx, "rolegate console: a form was refused", "user_id", user.LogValue(), "why", why)
}

// A form has a token that its page got with a cookie: another site cannot read
// either. It belongs to the browser's session, and so holds with any replica of
// the app. It is the second lock: the first is the browser's word on which site
// a form comes from.
const tokenCookie = "rolegate_console_"

// cookie is the name and path of the console's own cookie. A browser sends the
// cookies of a path to what is below it too: of two consoles on one host, each has
// a name of its own.
func (c *console) cookie(r *http.Request) (name, path string) {
	if path = c.cfg.Path; path == "" {
		// Not r.URL.Path, which http.StripPrefix and others change.
		path, _, _ = strings.Cut(r.RequestURI, "?")
	}
	if path == "" || path[0] != '/' || strings.Contains(path, ";") {
		path = "/"
	}
	sum := sha256.Sum256([]byte(c.cfg.Name + "\x00" + path))
	return tokenCookie + hex.EncodeToString(sum[:6]), path
}

// token returns the token of the browser's session, and begins one if there is
// none.
func (c *console) token(w http.ResponseWriter, r *http.Request) string {
	name, path := c.cookie(r)
	if cookie, err := r.Cookie(name); err == nil && len(cookie.Value) == len(rand.Text()) {
		return cookie.Value
	}
	token := rand.Text()
	http.SetCookie(w, &http.Cookie{
		Name: name, Path: path, Value: token, HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteStrictMode,
	})
	return token
}

// hasToken reports whether a form has the token of the session that sends it.
func (c *console) hasToken(r *http.Request) bool {
	name, _ := c.cookie(r)
	cookies := r.CookiesNamed(name)
	if len(cookies) != 1 || len(cookies[0].Value) != len(rand.Text()) {
		return false // two cookies of that name: another host has set one of them
	}
	return subtle.ConstantTimeCompare([]byte(cookies[0].Value), []byte(r.PostForm.Get("token"))) == 1
}

var (
	//go:embed style.css
	style string
	//go:embed script.js
	script string

	// The page has its style and its script within it. Their hashes are all that
	// a browser may apply or run.
	contentSecurityPolicy = "default-src 'none'; style-src '" + hashOf(style) + "'; script-src '" + hashOf(script) +
		"'; img-src data:; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)

func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// setHeaders sets what every answer of the console has.
func setHeaders(h http.Header) {
	h.Set("Content-Security-Policy", contentSecurityPolicy)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin") // with no-referrer, forms have the Origin null
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
}

func refuse(w http.ResponseWriter, status int, why string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(why + "\n")) // a client that has gone away is no concern of ours
}
