package digest_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate/internal/digest"
)

func TestOf(t *testing.T) {
	t.Parallel()
	a, b := digest.Key(strings.Repeat("a", 32)), digest.Key(strings.Repeat("b", 32))
	mac := hmac.New(sha256.New, a)
	mac.Write([]byte("account\x00wang"))
	assert.Equal(t, hex.EncodeToString(mac.Sum(nil))[:16], a.Of("account", "wang"), "HMAC-SHA256, its first 8 bytes")

	seen := map[string]string{}
	for _, k := range []digest.Key{a, b, nil} {
		for _, c := range [][2]string{{"account", "wang"}, {"account", "Wang"}, {"account", "wang "}, {"email", "wang"}, {"third_user_id", "wang"}} {
			got := k.Of(c[0], c[1])
			assert.Regexp(t, "^[0-9a-f]{16}$", got)
			assert.Equal(t, got, k.Of(c[0], c[1]))
			assert.Empty(t, seen[got], c)
			seen[got] = c[1]
		}
	}
	assert.Equal(t, digest.Key(nil).Of("account", "wang"), digest.Key{}.Of("account", "wang"), "the process's own")
	assert.Empty(t, a.Of("account", ""))
}

func TestKeyIsWithheld(t *testing.T) {
	t.Parallel()
	k := digest.Key("very secret, and long enough too")
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("key", "key", k)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("key", "of", struct{ Key digest.Key }{k})
	text, err := json.Marshal(k)
	require.NoError(t, err)
	all := log.String() + string(text)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d"} {
		all += fmt.Sprintf(verb, k) + fmt.Sprintf(verb, struct{ Key digest.Key }{k})
	}
	for _, told := range []string{"very", "76657279", "118 101", "0x76"} {
		assert.NotContains(t, all, told)
	}
	assert.Contains(t, all, "(withheld)")
}
