package deploytest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate/cmd/rolegate/internal/daemon"
)

var settingsFiles = []struct {
	name string
	text func(*testing.T) string
}{
	{"compose", func(t *testing.T) string { return read(t, "deploy", "compose", "rolegate.yaml") }},
	{"kubernetes", func(t *testing.T) string { return object(t, "ConfigMap", "rolegate").Data["rolegate.yaml"] }},
	{"systemd", func(t *testing.T) string { return read(t, "deploy", "systemd", "rolegate.yaml") }},
}

// Every settings file that is shipped is one that the server takes.
func TestSettingsAreRight(t *testing.T) {
	t.Parallel()
	for _, c := range settingsFiles {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := parse(t, c.text(t))
			require.NotNil(t, f.ForwardAuth)
			require.NotNil(t, f.Admin)
			assert.Equal(t, "/run/rolegate/control.sock", f.Control, "what the image and the documents name")
			assert.Equal(t, map[string]string{"forward_auth": "9090", "admin": "9092"}, ports(t, f))
			secrets(t, f)

			folder := t.TempDir()
			require.NoError(t, os.Chmod(folder, 0o700))
			f.Marketplace.Token.File = filepath.Join(folder, "token")
			assert.ErrorContains(t, daemon.Check(t.Context(), f), "marketplace.token", "the secret is not there")
			for name, token := range map[string]string{"empty": "", "more than one line": "a\nb\n"} {
				require.NoError(t, os.WriteFile(f.Marketplace.Token.File, []byte(token), 0o600))
				assert.ErrorContains(t, daemon.Check(t.Context(), f), "marketplace.token", name)
			}
			require.NoError(t, os.WriteFile(f.Marketplace.Token.File, []byte("token\n"), 0o600))
			if f.Cache.File != "" {
				assert.Contains(t, []string{"/var/lib/rolegate", "/var/lib/rolegate/own"}, filepath.Dir(f.Cache.File))
				f.Cache.File = filepath.Join(folder, "list.index")
			}
			assert.NoError(t, daemon.Check(t.Context(), f))
		})
	}
}
