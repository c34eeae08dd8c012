package rolegate_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime/debug"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/marketplace"
	"github.com/rolegate/rolegate/rolegatetest"

	"github.com/rolegate/rolegate/internal/logbook"
)

// keepAll keeps every string of a user.
var keepAll = rolegate.Keep{Account: true, Email: true, ThirdAccount: true, ThirdUserID: true, Nickname: true, ThirdUserName: true}

// byHeader identifies by a header without asking who has sent it: only tests
// may.
var byHeader = rolegate.ByUserID(func(r *http.Request) (int64, error) {
	text := r.Header.Get("X-User-Id")
	if text == "" {
		return 0, rolegate.ErrNobody
	}
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("the session cannot be read")
	}
	return id, nil
})

// openGate opens a gate that is closed with the test. What cfg leaves out is
// set to what most tests want.
func openGate(t testing.TB, cfg rolegate.Config) *rolegate.Gate {
	t.Helper()
	gate, err := rolegate.Open(t.Context(), quiet(cfg))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, gate.Close()) })
	return gate
}

func quiet(cfg rolegate.Config) rolegate.Config {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if kinds := fmt.Sprint(cfg.Identify); kinds == fmt.Sprint(rolegate.Identifier{}) {
		cfg.Identify = byHeader
	}
	return cfg
}

// client is the real client, pulling from the fake marketplace in memory.
func client(m *rolegatetest.Marketplace) *marketplace.Client {
	return marketplace.New(marketplace.Config{
		BaseURL: rolegatetest.BaseURL, AppID: m.AppID(), Token: marketplace.StaticToken(m.Token()), Transport: m.Transport(),
	})
}

// record is one listed user.
func record(id int64, grants ...rolegate.Grant) rolegate.Record {
	return rolegate.Record{UserID: id, Grants: grants}
}

func in(org int64, role string) rolegate.Grant { return rolegate.Grant{OrgID: org, RoleCode: role} }

// ask sends a request as that user to a handler and returns the answer.
func ask(h http.Handler, method, path string, user int64) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	if user != 0 {
		r.Header.Set("X-User-Id", strconv.FormatInt(user, 10))
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// ok is a handler that tells who was admitted.
func ok(gate *rolegate.Gate) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u, _ := gate.UserFrom(r.Context())
		_, _ = io.WriteString(w, u.String())
	})
}

// never fails the test if it is called.
func never(t testing.TB) http.Handler {
	return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the handler behind the gate was called") })
}

// allowed asks the gate whether a user is on the list.
func allowed(gate *rolegate.Gate, user int64) bool {
	return gate.Decide(context.Background(), rolegate.UserID(user)).Allowed()
}

// A logBook collects log lines as JSON objects.
type logBook struct{ logbook.Book }

func (b *logBook) logger() *slog.Logger {
	return slog.New(slog.NewJSONHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// lines returns the lines with that message.
func (b *logBook) lines(msg string) (found []map[string]any) {
	for line := range bytes.Lines([]byte(b.String())) {
		var entry map[string]any
		if json.Unmarshal(line, &entry) == nil && entry["msg"] == msg {
			found = append(found, entry)
		}
	}
	return found
}

// minutes is what tests of an hour's events are written in.
const minutes = time.Minute

// simUnderRaceDetector reports whether the test was built with -race.
func simUnderRaceDetector() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// spendFullRefresh has the gate make the one full refresh in each
// Refresh.ResyncMin for an alias that an incremental one has made ambiguous. So
// none comes by itself in a test that is over by then.
func spendFullRefresh(t *testing.T, gate *rolegate.Gate, source *rolegatetest.Static) {
	t.Helper()
	before := gate.Status().Full.Succeeded
	source.Put(rolegate.Record{UserID: 1 << 61, Account: "twins"}, rolegate.Record{UserID: 1<<61 + 1, Account: "twins"})
	require.NoError(t, gate.Refresh(t.Context()))
	require.Eventually(t, func() bool { return gate.Status().Full.Succeeded > before }, time.Minute, time.Millisecond)
	source.Remove(1<<61, 1<<61+1)
	require.NoError(t, acceptShrink(t.Context(), gate))
}

// acceptShrink makes a full refresh and accepts what that holds back.
func acceptShrink(ctx context.Context, gate *rolegate.Gate) error {
	if err := gate.RefreshAll(ctx); !errors.Is(err, rolegate.ErrHeld) {
		return err
	}
	return gate.AcceptShrink(ctx, gate.Status().Held.Digest)
}

// identityOf returns the identity of that kind.
func identityOf(kind rolegate.Kind, text string) rolegate.Identity {
	id, err := rolegate.NewIdentity(kind, text)
	if err != nil {
		panic(err)
	}
	return id
}
