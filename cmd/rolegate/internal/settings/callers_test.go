package settings_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/internal/logbook"
	"github.com/rolegate/rolegate/rolegatetest"
)

// The log says which program asks, of two with the same token the last one.
func TestCallersAreLogged(t *testing.T) {
	t.Parallel()
	gate, err := rolegate.Open(t.Context(), rolegate.Config{Source: rolegatetest.NewStatic(), Aliases: []rolegate.Kind{rolegate.KindUserID}})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, gate.Close()) })
	one, two := strings.Repeat("1", 20), strings.Repeat("2", 20)
	file := func(token string) string { return `token: {file: "` + secretFile(t, token) + `"}}` }
	f := parse(t, least+"authzen:\n  listen: ':1'\n  callers: [{name: app, "+file(one)+", {name: gateway, "+file(two)+", {name: twin, "+file(two)+
		"]\n  subjects: {user: user_id}\n  rules: [{resource: r, action: a, admit: true}]\n")
	var log logbook.Book
	h, _, err := f.AuthZEN.Handler(gate, slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	require.NoError(t, err)
	for _, token := range []string{one, two, strings.Repeat("3", 20)} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/access/v1/evaluation", strings.NewReader("{}"))
		r.Header.Set("Authorization", "Bearer "+token)
		r.Header.Set("Content-Type", "application/json")
		h.ServeHTTP(httptest.NewRecorder(), r)
	}
	assert.Equal(t, 2, strings.Count(log.String(), "a caller of AuthZEN asks"))
	assert.Contains(t, log.String(), "caller=app")
	assert.Contains(t, log.String(), "caller=twin")
	assert.NotContains(t, log.String(), one)
}
