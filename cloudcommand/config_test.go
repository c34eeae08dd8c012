package cloudcommand_test

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/cloudcommand"
	"github.com/rolegate/rolegate/rolegatetest"
)

func TestValidate(t *testing.T) {
	t.Parallel()
	interpret := func(cloudcommand.Data) rolegate.SyncState { return rolegate.SyncDone }
	cases := []struct {
		name string
		edit func(*cloudcommand.Config)
		says string // "" if it is valid
	}{
		{"good", func(*cloudcommand.Config) {}, ""},
		{"client credentials", noUser, ""},
		{"limits at their ends", func(c *cloudcommand.Config) { c.MaxBytes = 64 << 20 }, ""},
		{"Interpret alone", func(c *cloudcommand.Config) { c.Done, c.Interpret = nil, interpret }, ""},
		{"no BaseURL", func(c *cloudcommand.Config) { c.BaseURL = "" }, "BaseURL: it is empty"},
		{"a password in BaseURL", func(c *cloudcommand.Config) { c.BaseURL = "https://u:hunter2@h" }, "BaseURL: it has a user name"},
		{"a query in BaseURL", func(c *cloudcommand.Config) { c.BaseURL = "https://h?hunter2" }, "BaseURL: it has a query"},
		{"no ClientID", func(c *cloudcommand.Config) { c.ClientID = "" }, "ClientID: it is empty"},
		{"a ClientID with a colon", func(c *cloudcommand.Config) { c.ClientID = "a:hunter2" }, "ClientID"},
		{"a ClientID with a line break", func(c *cloudcommand.Config) { c.ClientID = "hunter2\n" }, "ClientID"},
		{"no ClientSecret", func(c *cloudcommand.Config) { c.ClientSecret = "" }, "ClientSecret: it is empty"},
		{"a ClientSecret with its line break", func(c *cloudcommand.Config) { c.ClientSecret = "hunter2\n" }, "ClientSecret: it has blanks"},
		{"a ClientSecret with a tab", func(c *cloudcommand.Config) { c.ClientSecret = "hunter2\tx" }, "ClientSecret"},
		{"a Username alone", func(c *cloudcommand.Config) { c.Password = "" }, "Password: it is empty"},
		{"a Password alone", func(c *cloudcommand.Config) { c.Username = "" }, "Username: it is empty"},
		{"a Username with a line break", func(c *cloudcommand.Config) { c.Username = "hunter2\n" }, "Username"},
		{"a Password with its line break", func(c *cloudcommand.Config) { c.Password = "hunter2\n" }, "Password: it has blanks"},
		{"a TenantID with a blank", func(c *cloudcommand.Config) { c.TenantID = "a b" }, "TenantID"},
		{"a Path that climbs", func(c *cloudcommand.Config) { c.Path = "../x" }, "Config.Path"},
		{"a TokenPath with a query", func(c *cloudcommand.Config) { c.TokenPath = "oauth/token?hunter2" }, "Config.TokenPath"},
		{"SyncID -1", func(c *cloudcommand.Config) { c.SyncID = -1 }, "SyncID: it is below 0"},
		{"two SyncIDs", func(c *cloudcommand.Config) { c.SyncID, c.CurrentSyncID = 1, func() int64 { return 2 } }, "SyncID: there is a CurrentSyncID"},
		{"no Running", func(c *cloudcommand.Config) { c.Running = []string{} }, "Running"},
		{"an empty Running", func(c *cloudcommand.Config) { c.Running = []string{"a", " "} }, "Running"},
		{"an empty Done", func(c *cloudcommand.Config) { c.Done = []string{""} }, "Done"},
		{"Interpret and texts", func(c *cloudcommand.Config) { c.Interpret = interpret }, "Interpret"},
		{"Timeout -1", func(c *cloudcommand.Config) { c.Timeout = -time.Second }, "Timeout"},
		{"MaxBytes -1", func(c *cloudcommand.Config) { c.MaxBytes = -1 }, "MaxBytes"},
		{"MaxBytes of 1 GiB", func(c *cloudcommand.Config) { c.MaxBytes = 1 << 30 }, "MaxBytes"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := client(transport(func(*http.Request) (*http.Response, error) {
				t.Error("a request was sent")
				return nil, nil
			}), tc.edit)
			err := c.Validate()
			if tc.says == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tc.says)
			require.ErrorContains(t, err, "expected")
			assert.NotContains(t, err.Error(), "hunter2")
			_, checkErr := c.CheckSync(t.Context())
			assert.Equal(t, err, checkErr)
			assert.Equal(t, err, c.WaitForSync(t.Context(), 7))
			assert.NotContains(t, c.String()+c.LogValue().String(), "hunter2")
		})
	}
}

func TestValidateTellsAllAtOnce(t *testing.T) {
	t.Parallel()
	err := cloudcommand.New(cloudcommand.Config{
		Username: "u", TenantID: "\n", TokenPath: "?", Path: "?", SyncID: -1, Timeout: -1, MaxBytes: -1,
		Running: []string{}, Done: []string{""}, Interpret: func(cloudcommand.Data) rolegate.SyncState { return 0 },
	}).Validate()
	for _, field := range []string{
		"BaseURL", "ClientID", "ClientSecret", "Password", "TenantID", "TokenPath", "Path", "SyncID",
		"Running", "Done", "Interpret", "Timeout", "MaxBytes",
	} {
		assert.ErrorContains(t, err, "Config."+field+":")
	}
	for _, c := range []*cloudcommand.Client{nil, {}} {
		require.ErrorContains(t, c.Validate(), "cloudcommand.New")
		_, err := c.CheckSync(t.Context())
		require.ErrorContains(t, err, "cloudcommand.New")
		require.ErrorContains(t, c.WaitForSync(t.Context(), 1), "cloudcommand.New")
		c.CloseIdleConnections()
	}
}

func TestNothingSecretIsPrinted(t *testing.T) {
	t.Parallel()
	cloud := rolegatetest.NewCloudCommand(rolegatetest.CloudCommandConfig{})
	c := of(cloud)
	requireState(t, rolegate.SyncUnknown, c) // it has a token now
	cfg := config(nil)
	cfg.Username = "" // a plain field: what is in a Config can be printed
	secret := cloudcommand.Secret(rolegatetest.DefaultClientSecret)
	var out strings.Builder
	for _, v := range []any{secret, &secret, cfg, &cfg, c, []any{secret}, map[string]any{"t": secret}, struct{ C *cloudcommand.Client }{c}, struct{ c *cloudcommand.Client }{c}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "v", v)
	}
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "secret", secret, "client", c)
	j, err := json.Marshal(map[string]any{"t": secret})
	require.NoError(t, err)
	x, err := xml.Marshal(secret)
	require.NoError(t, err)
	out.WriteString(string(j) + string(x))
	requireClean(t, out.String())
	assert.NotContains(t, out.String(), fmt.Sprintf("%x", rolegatetest.DefaultClientSecret))
	assert.Contains(t, out.String(), "[redacted]")
	assert.Equal(t, "[redacted]", secret.String())
	assert.Equal(t, "cloudcommand.Client(https://marketplace.test/api/blade-external/checkSyncData as test-client)", c.String())
}
