// A school app whose sessions are kept by alexedwards/scs. It takes the
// marketplace from ROLEGATE_BASE_URL, ROLEGATE_APP_ID and ROLEGATE_ACCESS_TOKEN.
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"

	"github.com/alexedwards/scs/v2"
	"github.com/go-chi/chi/v5"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/marketplace"
)

const userIDKey = "marketplace user id"

// bySession identifies by the session. One without a user has the number 0.
func bySession(sessions *scs.SessionManager) rolegate.Identifier {
	return rolegate.ByUserID(func(r *http.Request) (int64, error) {
		id := sessions.GetInt64(r.Context(), userIDKey)
		if id == 0 {
			return 0, rolegate.ErrNobody
		}
		return id, nil
	})
}

// logIn is what your login calls once it knows who is there. A new token keeps
// out whoever knew the old one.
func logIn(ctx context.Context, sessions *scs.SessionManager, userID int64) error {
	if err := sessions.RenewToken(ctx); err != nil {
		return err
	}
	sessions.Put(ctx, userIDKey, userID)
	return nil
}

// routes loads the session first: the gate asks it who is there. In front of
// LoadAndSave there is no session, scs panics, and the gate answers 500.
func routes(gate *rolegate.Gate, sessions *scs.SessionManager, login http.HandlerFunc) http.Handler {
	r := chi.NewRouter()
	r.Use(sessions.LoadAndSave)
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

func main() {
	sessions := scs.New()
	gate, err := rolegate.Open(context.Background(), rolegate.Config{
		Source: marketplace.New(marketplace.Config{
			BaseURL: os.Getenv("ROLEGATE_BASE_URL"), AppID: os.Getenv("ROLEGATE_APP_ID"),
			Token: marketplace.TokenFunc(func(context.Context) (string, error) { return os.Getenv("ROLEGATE_ACCESS_TOKEN"), nil }),
		}),
		Identify: bySession(sessions),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer gate.Close()
	login := func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "check a password here, and call logIn", http.StatusNotImplemented)
	}
	log.Println(http.ListenAndServe("127.0.0.1:8080", routes(gate, sessions, login)))
}
