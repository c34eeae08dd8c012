package bearer_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/bearer"
	"github.com/rolegate/rolegate/rolegatetest"
)

func Example() {
	login := &issuer{} // an app has its own
	client := login.inMemory()
	k := newKey("2026-11")
	login.publish(k)

	tokens, err := bearer.New(bearer.Config{
		Issuer:   login.url,
		Audience: "https://school.example.com/api",
		Client:   client, // an app leaves this out
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	gate, err := rolegate.Open(context.Background(), rolegate.Config{
		Source:   rolegatetest.NewStatic(rolegate.Record{UserID: 1, ThirdUserID: "4711"}), // an app has marketplace.New(…) here
		Identify: tokens.ByThirdUserID("sub"),
		Deny:     bearer.Deny(rolegate.DenyProblem),
		Logger:   slog.New(slog.DiscardHandler),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer gate.Close()
	handler := gate.Admit(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, _ := gate.UserFrom(r.Context())
		fmt.Fprint(w, user)
	}))

	signer, _ := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: k.signer, KeyID: k.id}}, nil)
	payload, _ := json.Marshal(map[string]any{
		"iss": login.url, "aud": "https://school.example.com/api", "sub": "4711", "exp": time.Now().Add(time.Hour).Unix(),
	})
	signed, _ := signer.Sign(payload)
	token, _ := signed.CompactSerialize()

	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	fmt.Println(w.Code, w.Body)

	w = httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	fmt.Println(w.Code, w.Header().Get("WWW-Authenticate"))
	// Output:
	// 200 user 1
	// 401 Bearer
}
