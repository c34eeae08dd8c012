package forwardauth

import (
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/rolegate/rolegate"
)

// Preflight lets CORS preflights pass to what matches the pattern, which has no
// method: a browser sends them without saying who is asking. The app answers
// them. A preflight is an OPTIONS with one Origin and one
// Access-Control-Request-Method (Fetch standard §4.8), and without Authorization
// or Cookie. Other OPTIONS requests go by the other rules.
//
// A client can write these headers as well: the app must answer OPTIONS with
// headers alone. X-Rolegate-User is empty. It panics on a pattern with a method,
// and on what [Handler.Handle] panics on.
func (h *Handler) Preflight(pattern string) {
	if strings.Contains(pattern, " ") {
		panic(fmt.Sprintf("rolegate: forwardauth: Preflight(%q): expected a pattern without a method, such as /api/", pattern))
	}
	if err := checkPattern(pattern, 0); err != nil {
		panic(fmt.Sprintf("rolegate: forwardauth: the pattern %q can match no request: %v", pattern, err))
	}
	guard, fixed := http.HandlerFunc(h.allowPreflight), fixedSegments(pattern)
	h.preflights.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		*w.(*match) = match{guard: guard, request: r, fixed: fixed}
	})
	h.note(Rule{Pattern: pattern})
}

// isPreflight looks at the headers that the proxy has passed on.
func isPreflight(method string, h http.Header) bool {
	origin, asked := h["Origin"], h["Access-Control-Request-Method"]
	return method == http.MethodOptions && len(origin) == 1 && origin[0] != "" &&
		len(asked) == 1 && httpguts.ValidHeaderFieldName(asked[0]) &&
		len(h["Authorization"]) == 0 && len(h["Cookie"]) == 0
}

func (h *Handler) allowPreflight(w http.ResponseWriter, r *http.Request) {
	id := rand.Text()
	w.(*answer).allow(rolegate.User{}, 0, id)
	h.log.LogAttrs(r.Context(), slog.LevelDebug, "forwardauth: let a preflight pass",
		slog.String("decision", id), slog.String("route", r.Pattern))
}
