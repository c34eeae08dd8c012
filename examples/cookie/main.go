// A school app with a session cookie of its own. It takes the marketplace from
// ROLEGATE_BASE_URL, ROLEGATE_APP_ID and ROLEGATE_ACCESS_TOKEN.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/marketplace"
)

const cookieName = "session"

// errNoSession says that no session has this value, or that it has expired.
var errNoSession = errors.New("there is no such session")

// sessionUserID says who is asking: the user of the session that the cookie
// names. The cookie itself has no number in it, for a client can write any.
func sessionUserID(sessions *store) func(*http.Request) (int64, error) {
	return func(r *http.Request) (int64, error) {
		cookie, err := r.Cookie(cookieName)
		if err != nil { // no cookie, or none that can be read
			return 0, rolegate.ErrNobody
		}
		id, err := sessions.userID(r.Context(), cookie.Value)
		if errors.Is(err, errNoSession) {
			return 0, rolegate.ErrNobody
		}
		return id, err // a store that is away: 500, for that is no logout
	}
}

// routes has the login outside of the group: nothing guards it.
func routes(gate *rolegate.Gate, login http.HandlerFunc) chi.Router {
	r := chi.NewRouter()
	r.Get("/login", login)
	r.Post("/login", login)
	r.Group(func(r chi.Router) {
		r.Use(gate.Admit)
		r.With(gate.Require(rolegate.AnyRole("teacher"))).Get("/grades", func(w http.ResponseWriter, r *http.Request) {
			user, _ := gate.UserFrom(r.Context())
			fmt.Fprintln(w, "grades for", user.ID())
		})
	})
	return r
}

// A store has the app's sessions, by the values of their cookies. It stands for
// your table or your Redis, and like one it can fail.
type store struct {
	mu       sync.Mutex
	sessions map[string]session
	err      error // what every look-up fails with
}

type session struct {
	userID int64 // the marketplace's number, known since the login
	ends   time.Time
}

// userID is whose session it is. It returns errNoSession if it is nobody's, and
// another error if that cannot be told.
func (s *store) userID(_ context.Context, value string) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return 0, fmt.Errorf("looking for a session: %w", s.err)
	}
	found, ok := s.sessions[value]
	if !ok || !time.Now().Before(found.ends) {
		return 0, errNoSession
	}
	return found.userID, nil
}

// begin makes a session, and the cookie for it: a value that cannot be guessed.
func (s *store) begin(userID int64, lasts time.Duration) *http.Cookie {
	value := rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sessions == nil {
		s.sessions = map[string]session{}
	}
	s.sessions[value] = session{userID, time.Now().Add(lasts)}
	return &http.Cookie{Name: cookieName, Value: value, Path: "/", HttpOnly: true, Secure: true, SameSite: http.SameSiteLaxMode}
}

// config names the scheme of a 401, which is Bearer otherwise, and sends browsers
// that are not logged in to the login page.
func config(sessions *store, source rolegate.Source) rolegate.Config {
	return rolegate.Config{
		Source:    source,
		Identify:  rolegate.ByUserID(sessionUserID(sessions)),
		Challenge: `Cookie realm="school"`,
		Deny:      rolegate.DenyRedirect("/login", nil),
	}
}

func main() {
	sessions := new(store)
	gate, err := rolegate.Open(context.Background(), config(sessions, marketplace.New(marketplace.Config{
		BaseURL: os.Getenv("ROLEGATE_BASE_URL"), AppID: os.Getenv("ROLEGATE_APP_ID"),
		Token: marketplace.TokenFunc(func(context.Context) (string, error) { return os.Getenv("ROLEGATE_ACCESS_TOKEN"), nil }),
	})))
	if err != nil {
		log.Fatal(err)
	}
	defer gate.Close()
	login := func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "check a password here, and set the cookie of sessions.begin", http.StatusNotImplemented)
	}
	log.Println(http.ListenAndServe("127.0.0.1:8080", routes(gate, login)))
}
