package authzen

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/internal/panics"
)

// The default paths of the specification (§10.1, §9.2).
const (
	evaluationPath  = "/access/v1/evaluation"
	evaluationsPath = "/access/v1/evaluations"
	searchPath      = "/access/v1/search/action"
	metadataPath    = "/.well-known/authzen-configuration"
)

// maxBody is how many bytes a request may have.
const maxBody = 1 << 20

// A PDP is a policy decision point: an http.Handler for all endpoints. [New]
// makes one. Its methods are safe for concurrent use. They decide from memory,
// and wait for nothing but the request's body: give the http.Server a
// ReadTimeout.
//
// The nil and the zero PDP answer nothing: ServeHTTP 404, and the single
// endpoints 500.
type PDP struct {
	caller    func(*http.Request) error
	subjects  map[string]rolegate.Kind
	rules     map[target]Rule
	types     map[string]bool     // of resources that some rule names
	actions   map[string][]string // of each type, in the order of the rules
	paths     map[string]http.HandlerFunc
	metadata  []byte // nil without a URL
	longest   int    // of the names in subjects and rules
	limit     int    // items of a batch
	challenge string
	log       *slog.Logger
}

// A target is what a rule is for.
type target struct{ resource, action string }

// ServeHTTP serves every endpoint at its default path below Config.URL, and 404
// elsewhere.
func (p *PDP) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var serve http.HandlerFunc
	if p != nil {
		serve = p.paths[r.URL.Path]
	}
	if serve == nil {
		echoRequestID(w, r)
		fail(w, http.StatusNotFound, "There is nothing here.")
		return
	}
	serve(w, r)
}

// Evaluation serves the access evaluation endpoint, at whatever path it is
// mounted: for a router, or behind a proxy that cuts paths.
func (p *PDP) Evaluation(w http.ResponseWriter, r *http.Request) {
	p.answer(w, r, func(body []byte) (any, error) {
		q, err := readRequest(body, false, 0)
		if err != nil {
			return nil, err
		}
		return p.one(r.Context(), q.question), nil
	})
}

// Evaluations serves the access evaluations endpoint, as Evaluation does the
// other.
func (p *PDP) Evaluations(w http.ResponseWriter, r *http.Request) {
	p.answer(w, r, func(body []byte) (any, error) {
		q, err := readRequest(body, true, p.limit)
		if err != nil {
			return nil, err
		}
		if len(q.items) == 0 {
			return p.one(r.Context(), q.question), nil
		}
		return p.batch(r.Context(), q)
	})
}

// Metadata serves the metadata: 404 without Config.URL. It may be read without
// being anybody, since it says nothing but where to ask.
func (p *PDP) Metadata(w http.ResponseWriter, r *http.Request) {
	echoRequestID(w, r)
	switch {
	case p == nil || p.metadata == nil:
		fail(w, http.StatusNotFound, "There is nothing here.")
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		fail(w, http.StatusMethodNotAllowed, "The metadata is read with GET.")
	default:
		w.Header().Set("Cache-Control", "public, max-age=3600")
		send(w, p.metadata)
	}
}

// answer does what the two endpoints have in common. decide returns an errBad for
// what is answered 400, and another error if there is nobody to answer any more.
func (p *PDP) answer(w http.ResponseWriter, r *http.Request, decide func(body []byte) (any, error)) {
	echoRequestID(w, r)
	w.Header().Set("Cache-Control", "no-store")
	if p == nil || p.caller == nil {
		fail(w, http.StatusInternalServerError, "The decision point is not set up.")
		return
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		fail(w, http.StatusMethodNotAllowed, "Questions are asked with POST.")
		return
	}
	if !p.admit(w, r) {
		return
	}
	if !isJSON(r.Header["Content-Type"]) {
		fail(w, http.StatusBadRequest, "The Content-Type must be application/json.")
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		message := "The body could not be read to its end."
		if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
			message = "The body is larger than 1 MiB."
		}
		fail(w, http.StatusBadRequest, message)
		return
	}
	answer, err := decide(body)
	var bad errBad
	switch {
	case errors.As(err, &bad):
		fail(w, http.StatusBadRequest, string(bad))
	case err == nil:
		send(w, mustJSON(answer))
	} // else the caller has gone, and so has what could be written
}

// admit reports whether the caller may ask, and refuses those who may not.
func (p *PDP) admit(w http.ResponseWriter, r *http.Request) bool {
	err := p.callCaller(r)
	var later interface{ RetryAfter() time.Duration }
	switch {
	case err == nil:
		return true
	case errors.Is(err, rolegate.ErrNobody):
		w.Header().Set("WWW-Authenticate", p.challenge)
		fail(w, http.StatusUnauthorized, "Say who is asking.")
	case errors.Is(err, ErrForbidden):
		fail(w, http.StatusForbidden, "You may not ask.")
	case errors.Is(r.Context().Err(), context.Canceled) && !errors.As(err, new(*panics.Error)):
		p.log.DebugContext(r.Context(), "authzen: the caller left while its identity was being determined", "err", err)
		fail(w, rolegate.ReasonClientGone.Status(), "The request was cancelled.")
	case errors.As(err, &later):
		wait := min(max(later.RetryAfter(), time.Second), 5*time.Minute)
		w.Header().Set("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
		p.log.WarnContext(r.Context(), "authzen: the identity of the caller cannot be determined at the moment", "err", err)
		fail(w, http.StatusServiceUnavailable, "The identity of the caller cannot be determined at the moment.")
	default:
		p.log.ErrorContext(r.Context(), "authzen: the identity of the caller could not be determined", "err", err)
		fail(w, http.StatusInternalServerError, "The identity of the caller could not be determined.")
	}
	return false
}

func (p *PDP) callCaller(r *http.Request) (err error) {
	defer panics.Into(&err, "Config.Caller")
	return p.caller(r)
}

// isJSON reports whether there is one Content-Type, and it is JSON in UTF-8.
func isJSON(types []string) bool {
	if len(types) != 1 {
		return false
	}
	media, params, err := mime.ParseMediaType(types[0])
	if err != nil || media != "application/json" {
		return false
	}
	charset, named := params["charset"]
	return !named || strings.EqualFold(charset, "utf-8")
}

// maxRequestID is how long a request id may be that is sent back.
const maxRequestID = 256

// echoRequestID sends X-Request-ID back as it came (§10.1.3). One that is there
// twice, is long or has other bytes in it than printable ASCII is left out: the
// same identifier or none.
func echoRequestID(w http.ResponseWriter, r *http.Request) {
	ids := r.Header["X-Request-Id"]
	if len(ids) != 1 || ids[0] == "" || len(ids[0]) > maxRequestID || strings.TrimSpace(ids[0]) != ids[0] ||
		strings.ContainsFunc(ids[0], func(c rune) bool { return c < ' ' || c > '~' }) {
		return
	}
	w.Header().Set("X-Request-Id", ids[0])
}

// fail answers with a message, as the specification's error responses have it.
func fail(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, message+"\n")
}

func send(w http.ResponseWriter, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(body)
}

func mustJSON(v any) []byte {
	body, err := json.Marshal(v)
	if err != nil {
		panic("authzen: " + err.Error()) // of types that have no way to fail
	}
	return body
}
