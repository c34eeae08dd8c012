package peer_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/rolegate/rolegate/internal/peer"
)

func TestHeader(t *testing.T) {
	t.Parallel()
	nobody := errors.New("nobody")
	trusted, _ := peer.New([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")})
	read := trusted.Header("x-user-id", nobody)
	for _, c := range []struct {
		name, from string
		values     []string
		want       string
		unusable   bool
	}{
		{"one", "10.1.2.3:1", []string{"42"}, "42", false},
		{"a text with blanks in it", "10.1.2.3:1", []string{"a b"}, "a b", false},
		{"missing", "10.1.2.3:1", nil, "", false},
		{"missing, from nobody knows where", "@", nil, "", false},
		{"empty", "10.1.2.3:1", []string{""}, "", false},
		{"from elsewhere", "11.1.2.3:1", []string{"42"}, "", false},
		{"from nobody knows where", "10.1.2.3", []string{"42"}, "", true},
		{"twice", "10.1.2.3:1", []string{"42", "42"}, "", true},
		{"twice, from elsewhere", "11.1.2.3:1", []string{"42", "42"}, "", false},
		{"a blank before it", "10.1.2.3:1", []string{" 42"}, "", true},
		{"a tab behind it", "10.1.2.3:1", []string{"42\t"}, "", true},
		{"blanks alone", "10.1.2.3:1", []string{" "}, "", true},
		{"a control byte", "10.1.2.3:1", []string{"4\x002"}, "", true},
		{"a control byte before it", "10.1.2.3:1", []string{"\x0142"}, "", true},
		{"DEL", "10.1.2.3:1", []string{"4\x7f2"}, "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.RemoteAddr = c.from
			r.Header["X-User-Id"] = c.values
			got, err := read(r)
			assert.Equal(t, c.want, got)
			assert.Equal(t, c.want == "", errors.Is(err, nobody))
			assert.Equal(t, c.unusable, errors.As(err, new(*peer.UnusableError)))
			if err != nil {
				assert.NotContains(t, err.Error(), "42")
			}
		})
	}
}
