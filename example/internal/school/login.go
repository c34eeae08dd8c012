package school

import (
	"crypto/rand"
	"crypto/subtle"
	"net/http"

	"github.com/rolegate/rolegate"
)

// A login lets a browser in as one user of the demo: by an address with a key
// in it that nobody can guess, and that only who started the program has read.
// The browser gets a cookie for it. A real app has a login of its own.
type login struct {
	user         int64
	key, session string
}

const sessionCookie = "example_session"

func newLogin(user int64) *login {
	return &login{user: user, key: rand.Text(), session: rand.Text()}
}

// url is where a browser becomes the user.
func (l *login) url(app string) string { return app + "/login?key=" + l.key }

// begin begins the session, and leads to the console.
func (l *login) begin(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer")
	if !same(r.URL.Query().Get("key"), l.key) {
		http.Error(w, "The key is not the one that the program has printed.", http.StatusForbidden)
		return
	}
	http.SetCookie(w, &http.Cookie{Name: sessionCookie, Value: l.session, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode})
	http.Redirect(w, r, "/console", http.StatusSeeOther)
}

// userID is for rolegate.ByUserID.
func (l *login) userID(r *http.Request) (int64, error) {
	if c, err := r.Cookie(sessionCookie); err == nil && same(c.Value, l.session) {
		return l.user, nil
	}
	return 0, rolegate.ErrNobody
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
