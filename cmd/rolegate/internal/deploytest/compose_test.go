package deploytest

import (
	"net/netip"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate/cmd/rolegate/internal/settings"
	"github.com/rolegate/rolegate/rolegatetest"
)

func TestComposeNamesWhatIsThere(t *testing.T) {
	t.Parallel()
	file := compose(t)
	require.Len(t, file.Services, 4)
	folder := filepath.Join(root, "deploy")
	mounted := map[string]bool{}
	for name, s := range file.Services {
		for other := range s.Depends {
			assert.Contains(t, file.Services, other, name)
		}
		for _, secret := range s.Secrets {
			assert.Contains(t, file.Secrets, secret, name)
			mounted[secret] = true
		}
		for _, v := range s.Volumes {
			parts := strings.Split(v, ":")
			if !strings.HasPrefix(parts[0], "./") {
				assert.Contains(t, file.Volumes, parts[0], name)
				continue
			}
			assert.FileExists(t, filepath.Join(folder, parts[0]), name)
			assert.Equal(t, "ro", parts[len(parts)-1], name)
		}
		if s.Build != nil {
			assert.FileExists(t, filepath.Join(folder, s.Build.Context, s.Build.Dockerfile))
		}
		assert.True(t, s.ReadOnly, name)
		assert.Equal(t, []string{"ALL"}, s.CapDrop, name)
		assert.Equal(t, []string{"no-new-privileges:true"}, s.Security, name)
		if name != "proxy" {
			assert.Empty(t, s.Ports, "%s is reached from within alone", name)
		}
	}
	for name, s := range file.Secrets {
		assert.True(t, mounted[name], name)
		assert.FileExists(t, filepath.Join(folder, s.File))
	}
	assert.Equal(t, []string{"127.0.0.1:8000:8000"}, file.Services["proxy"].Ports)
	assert.Equal(t, "service_healthy", file.Services["proxy"].Depends["rolegate"]["condition"])
	assert.True(t, file.Networks["inside"].Internal)
}

// The settings of compose trust nothing but the proxy, and name the secrets, the
// folders and the marketplace that compose.yaml gives them.
func TestComposeSettings(t *testing.T) {
	t.Parallel()
	file := compose(t)
	gate := file.Services["rolegate"]
	f := parse(t, read(t, "deploy", "compose", "rolegate.yaml"))

	proxy := file.Services["proxy"]
	only := settings.Networks{netip.PrefixFrom(netip.MustParseAddr(proxy.address(t, "inside")), 32)}
	assert.Equal(t, only, f.ForwardAuth.Trusted)
	require.Len(t, f.Identity, 1)
	assert.Equal(t, only, f.Identity[0].Trusted)

	require.Len(t, file.Networks["inside"].IPAM.Config, 1)
	ipam := file.Networks["inside"].IPAM.Config[0]
	for name, s := range file.Services {
		if s.Networks.Kind == proxy.Networks.Kind { // with addresses
			address, err := netip.ParseAddr(s.address(t, "inside"))
			require.NoError(t, err, name)
			assert.True(t, netip.MustParsePrefix(ipam.Subnet).Contains(address), name)
			assert.False(t, netip.MustParsePrefix(ipam.Range).Contains(address), "%s: others could be given it", name)
		}
	}

	for _, secret := range secrets(t, f) {
		assert.Equal(t, "/run/secrets", path.Dir(secret))
		assert.Contains(t, gate.Secrets, path.Base(secret))
	}
	assert.Contains(t, gate.Volumes, "list:"+path.Dir(f.Cache.File))
	require.Len(t, gate.Tmpfs, 1)
	assert.True(t, strings.HasPrefix(gate.Tmpfs[0], path.Dir(f.Control)+":uid=65532,gid=65532,mode=0700"))
	assert.Equal(t, append([]string{"CMD"}, healthcheck(t)...), gate.Health.Test)
	assert.Contains(t, healthcheck(t), f.Control)

	// What the fake is by default.
	fake := file.Services["marketplace"]
	assert.Equal(t, []string{"fake", "--listen", "0.0.0.0:9400"}, fake.Command[:3])
	assert.Equal(t, "http://marketplace:9400", f.Marketplace.URL)
	assert.Equal(t, rolegatetest.DefaultAppID, f.Marketplace.AppID)
	assert.Equal(t, rolegatetest.DefaultToken, strings.TrimSpace(read(t, "deploy", file.Secrets["market-token"].File)))
}

// The nginx of compose does what that of docs/proxies.md does, which is tested
// with the program itself.
func TestComposeNginxIsThatOfTheDocs(t *testing.T) {
	t.Parallel()
	var kept strings.Builder
	login, cut := false, 0
	for line := range strings.Lines(read(t, "deploy", "compose", "nginx.conf")) {
		switch {
		case strings.HasPrefix(line, "# docs/proxies/nginx.conf"):
		case strings.Contains(line, "# A login, for the demo alone"):
			login = true
		case strings.Contains(line, "# The end of the login."):
			login = false
		case login:
			cut++
		default:
			kept.WriteString(line)
		}
	}
	assert.False(t, login)
	assert.Equal(t, 3, cut, "lines of the login")
	text := strings.NewReplacer("http://app:8080", "http://127.0.0.1:8080", "http://rolegate:9090", "http://127.0.0.1:9090").Replace(kept.String())
	assert.Equal(t, read(t, "docs", "proxies", "nginx.conf"), text)

	listens := ports(t, parse(t, read(t, "deploy", "compose", "rolegate.yaml")))
	conf := read(t, "deploy", "compose", "nginx.conf")
	assert.Contains(t, conf, "proxy_pass http://rolegate:"+listens["forward_auth"]+";")
	assert.Contains(t, conf, "auth_basic_user_file /run/secrets/demo-users;")
	assert.Contains(t, conf, "listen 8000;")
	assert.Contains(t, read(t, "deploy", "compose", "app.conf"), "listen 8080;")
}
