package cloudcommand_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/cloudcommand"
	"github.com/rolegate/rolegate/internal/wiretest"
	"github.com/rolegate/rolegate/rolegatetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A transport answers requests without a network.
type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// reply makes a reply; header are names and values by turns.
func reply(status int, body string, header ...string) *http.Response {
	h := http.Header{}
	for i := 0; i < len(header); i += 2 {
		h.Add(header[i], header[i+1])
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body))}
}

const tokenAnswer = `{"access_token":"fake-access-token-0","token_type":"bearer","refresh_token":"fake-refresh-token-0"}`

// states answers requests for tokens well, and all others with f.
func states(f func(*http.Request) (*http.Response, error)) transport {
	return func(r *http.Request) (*http.Response, error) {
		if strings.HasSuffix(r.URL.Path, "/oauth/token") {
			return reply(200, tokenAnswer), nil
		}
		return f(r)
	}
}

// always answers each request but those for tokens with the same.
func always(status int, body string, header ...string) transport {
	return states(func(*http.Request) (*http.Response, error) { return reply(status, body, header...), nil })
}

// said is an answer with this message.
func said(message string) string {
	return fmt.Sprintf(`{"code":0,"data":{"name":"n","ak":%q,"message":%q},"msg":"","success":true}`, rolegatetest.AppKey, message)
}

// config is that of a client of tr that uses the password grant.
func config(tr http.RoundTripper) cloudcommand.Config {
	return cloudcommand.Config{
		BaseURL:      "https://command.test/x/",
		ClientID:     rolegatetest.DefaultClientID,
		ClientSecret: rolegatetest.DefaultClientSecret,
		Username:     rolegatetest.DefaultUsername,
		Password:     rolegatetest.DefaultPassword,
		Done:         []string{rolegatetest.DoneMessage},
		Transport:    tr,
	}
}

// client is a client of config, with the changes of edit.
func client(tr http.RoundTripper, edit ...func(*cloudcommand.Config)) *cloudcommand.Client {
	cfg := config(tr)
	for _, f := range edit {
		f(&cfg)
	}
	return cloudcommand.New(cfg)
}

// of is a client of a fake.
func of(c *rolegatetest.CloudCommand, edit ...func(*cloudcommand.Config)) *cloudcommand.Client {
	edit = append([]func(*cloudcommand.Config){func(cfg *cloudcommand.Config) { cfg.BaseURL = rolegatetest.BaseURL }}, edit...)
	return client(c.Transport(), edit...)
}

// requireState requires that a check succeeds with this state.
func requireState(t *testing.T, want rolegate.SyncState, c *cloudcommand.Client) rolegate.SyncReport {
	t.Helper()
	report, err := c.CheckSync(t.Context())
	require.NoError(t, err)
	require.Equal(t, want, report.State, report.Text)
	requireClean(t, report.Text)
	return report
}

// requireFailure requires that err is a PullError of this kind, and that
// nothing in it tells a secret.
func requireFailure(t *testing.T, want rolegate.Failure, err error) *rolegate.PullError {
	t.Helper()
	var pe *rolegate.PullError
	require.ErrorAs(t, err, &pe)
	require.Equal(t, want, pe.Failure, "%v", err)
	assert.Equal(t, want == rolegate.FailureRefused, errors.Is(err, rolegate.ErrRefused))
	requireClean(t, wiretest.Printed(err))
	var u *url.Error
	require.False(t, errors.As(err, &u), "a URL")
	return pe
}

// secrets are all that these tests know.
func secrets() []string {
	s := []string{
		rolegatetest.DefaultClientSecret, rolegatetest.DefaultPassword, rolegatetest.DefaultUsername, rolegatetest.AppKey,
		base64.StdEncoding.EncodeToString([]byte(rolegatetest.DefaultClientID + ":" + rolegatetest.DefaultClientSecret)),
	}
	for n := range 10 {
		s = append(s, fmt.Sprintf("fake-access-token-%d", n), fmt.Sprintf("fake-refresh-token-%d", n))
	}
	return s
}

func requireClean(t *testing.T, text string) {
	t.Helper()
	for _, s := range secrets() {
		require.NotContains(t, text, s)
	}
}
