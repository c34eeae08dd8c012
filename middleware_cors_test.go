package rolegate_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/stretchr/testify/assert"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rolegatetest"
)

// cors is what the middlewares for it do: it answers preflights, and lets a script of
// the app's own site read the other answers.
func cors(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Add("Vary", "Origin")
		if r.Header.Get("Origin") == "https://app.example" {
			h.Set("Access-Control-Allow-Origin", "https://app.example")
			h.Set("Access-Control-Allow-Credentials", "true")
			h.Set("Access-Control-Expose-Headers", "Retry-After")
		}
		if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
			h.Set("Access-Control-Allow-Methods", "PUT")
			w.WriteHeader(http.StatusNoContent)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// The order that docs/guide.md gives: CORS comes before the gate.
func TestCORSInFrontOfTheGate(t *testing.T) {
	t.Parallel()
	gate := openGate(t, rolegate.Config{Source: rolegatetest.NewStatic(record(1, in(7, "teacher")), record(2)), OnDeny: rolegate.OnDeny{Off: true}})
	teacher := gate.Require(rolegate.AnyRole("teacher"))
	router := chi.NewRouter()
	router.Use(cors, gate.Admit)
	router.With(teacher).Put("/grades", ok(gate).ServeHTTP)
	mux := http.NewServeMux()
	mux.Handle("PUT /grades", teacher(ok(gate)))
	behind := chi.NewRouter()
	behind.Use(gate.Admit, cors)
	behind.With(teacher).Put("/grades", ok(gate).ServeHTTP)
	for name, app := range map[string]http.Handler{"chi": router, "ServeMux": cors(gate.Admit(mux)), "behind the gate": behind} {
		readable := name != "behind the gate" // that order does not work
		for _, c := range []struct {
			name, method, origin string
			user                 int
			want                 int
			readable             bool
		}{
			{"a preflight", "OPTIONS", "https://app.example", 0, 204, true},
			{"who may", "PUT", "https://app.example", 1, 200, true},
			{"who may not", "PUT", "https://app.example", 2, 403, true},
			{"a stranger", "PUT", "https://app.example", 9, 403, true},
			{"nobody", "PUT", "https://app.example", 0, 401, true},
			{"another site", "PUT", "https://evil.example", 2, 403, false},
		} {
			t.Run(name+"/"+c.name, func(t *testing.T) {
				r := httptest.NewRequest(c.method, "/grades", nil)
				r.Header.Set("Origin", c.origin)
				if c.method == http.MethodOptions {
					r.Header.Set("Access-Control-Request-Method", "PUT")
				}
				if c.user != 0 {
					r.Header.Set("X-User-Id", string(rune('0'+c.user)))
				}
				w := httptest.NewRecorder()
				app.ServeHTTP(w, r)
				h := w.Header()
				if !readable && c.user != 1 && c.user != 2 {
					assert.Contains(t, []int{401, 403}, w.Code)
					assert.Empty(t, h.Get("Access-Control-Allow-Origin"))
					return
				}
				assert.Equal(t, c.want, w.Code)
				assert.Equal(t, c.readable, h.Get("Access-Control-Allow-Origin") == "https://app.example")
				assert.Equal(t, c.readable, h.Get("Access-Control-Allow-Credentials") == "true")
				assert.Equal(t, c.readable, h.Get("Access-Control-Expose-Headers") == "Retry-After")
				assert.Contains(t, h.Values("Vary"), "Origin")
			})
		}
	}
}
