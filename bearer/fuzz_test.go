package bearer_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate/bearer"
)

// FuzzAuthorization sends headers made of a good token: nothing but that token
// itself admits anybody, and nothing is more than a 401.
func FuzzAuthorization(f *testing.F) {
	login := &issuer{}
	client := login.inMemory()
	k := newEd("1")
	login.publish(k)
	a := newApp(f, bearer.Config{Issuer: login.url, Client: client}, nil)
	token := k.sign(f, login.claims(nil), nil)
	parts := strings.Split(token, ".")
	// HEADER, PAYLOAD and SIGNATURE stand for those of the good token, which is
	// another in each run.
	for _, text := range []string{
		"Bearer HEADER.PAYLOAD.SIGNATURE", "bearer  HEADER.PAYLOAD.SIGNATURE", "Bearer HEADER.PAYLOAD.", "Bearer .PAYLOAD.SIGNATURE",
		"Bearer eyJhbGciOiJub25lIn0.PAYLOAD.", "Bearer HEADER..SIGNATURE", "Bearer HEADER.PAYLOAD.SIGNATURE.SIGNATURE.SIGNATURE", "Basic HEADER", "",
	} {
		f.Add(text)
	}
	fill := strings.NewReplacer("HEADER", parts[0], "PAYLOAD", parts[1], "SIGNATURE", parts[2])
	f.Fuzz(func(t *testing.T, text string) {
		header := fill.Replace(text)
		scheme, rest, _ := strings.Cut(header, " ")
		want := 401
		if strings.EqualFold(scheme, "Bearer") && strings.TrimLeft(rest, " ") == token {
			want = 200
		}
		require.Equal(t, want, a.ask(header).Code, "%q", header)
	})
}
