package doctor_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/rolegate/rolegate/cmd/rolegate/internal/doctor"
	"github.com/rolegate/rolegate/cmd/rolegate/internal/settings"
	"github.com/rolegate/rolegate/rolegatetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// secretFile writes a secret where nobody else reads it.
func secretFile(t *testing.T, secret string) settings.Secret {
	t.Helper()
	name := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(name, []byte(secret+"\n"), 0o600))
	return settings.Secret{File: name}
}

// fileFor returns settings with nothing but that marketplace.
func fileFor(t *testing.T, base, appID, token string) *settings.File {
	t.Helper()
	return &settings.File{Marketplace: settings.Marketplace{URL: base, AppID: appID, Token: secretFile(t, token)}}
}

// examine runs doctor.
func examine(t *testing.T, o doctor.Options) []doctor.Finding {
	t.Helper()
	var findings []doctor.Finding
	o.Say = func(f doctor.Finding) { findings = append(findings, f) }
	require.NoError(t, doctor.Run(context.Background(), o))
	return findings
}

// notFine are the states and names of all that is not fine.
func notFine(findings []doctor.Finding) (names []string) {
	for _, f := range findings {
		if f.State != doctor.Fine {
			names = append(names, f.State.String()+" "+f.Name)
		}
	}
	return names
}

func names(findings []doctor.Finding) (names []string) {
	for _, f := range findings {
		names = append(names, f.Name)
	}
	return names
}

// told is everything that is said of the findings, in both languages.
func told(t *testing.T, findings []doctor.Finding) string {
	t.Helper()
	var b strings.Builder
	for _, l := range []doctor.Language{doctor.English, doctor.Chinese} {
		for _, f := range findings {
			found, todo := l.Text(f)
			fmt.Fprintf(&b, "%s\n%s\n", found, todo)
		}
		report := doctor.NewReport(&b, l, func(string) string { return "C.UTF-8" })
		for _, f := range findings {
			report.Add(f)
		}
		require.NoError(t, report.End(true))
		require.NoError(t, report.JSON(&b, true))
	}
	require.NotContains(t, b.String(), "%!")
	for _, secret := range secrets {
		require.NotContains(t, b.String(), secret)
		require.NotContains(t, b.String(), url.QueryEscape(secret))
	}
	return b.String()
}

// secrets are what must never be printed, whatever happens.
var secrets = []string{
	rolegatetest.DefaultToken, "fakeMarketplaceTokenForTestsOnly", rolegatetest.DefaultClientSecret, rolegatetest.DefaultPassword,
	rolegatetest.DefaultUsername, rolegatetest.AppKey, redisPassword, redisUser, redisSecret, callerToken,
	"li.lei", "lilei@example.com", "李雷", "third.lilei",
}

const (
	redisPassword = "fakeRedisPasswordForTestsOnly"
	redisUser     = "fake-redis-user"
	redisSecret   = "fakeRedisSecretForTestsOnly-0123456789abcdef"
	callerToken   = "fakeCallerTokenForTestsOnly"
)

// requireSays wants words in what is said, without showing all of that.
func requireSays(t *testing.T, findings []doctor.Finding, words string) {
	t.Helper()
	require.True(t, strings.Contains(told(t, findings), words), "nothing says %q", words)
}
