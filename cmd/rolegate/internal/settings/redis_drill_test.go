//go:build drill

package settings_test

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rediscache"
	"github.com/rolegate/rolegate/rolegatetest"
)

// Replicas share a list by the settings of serve, on a server that wants TLS with a
// certificate of its clients, and gives their user the rights that docs/replicas.md
// names and no other: nothing that they do is refused.
func TestReplicasByTLSWithTheirRights(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../../../docs/replicas.md")
	require.NoError(t, err)
	documented := regexp.MustCompile("(?m)^~rolegate:.*$").FindString(string(page))
	require.NotEmpty(t, documented)
	old := regexp.MustCompile(`v=([1-6]\.|7\.[01]\.)`)
	ran := 0
	for _, name := range []string{"redis-server", "valkey-server"} {
		program, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		ran++
		version, err := exec.Command(program, "--version").Output()
		require.NoError(t, err)
		rights := documented
		if !old.Match(version) {
			rights += " +client|setinfo"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAuthority(t)
			a.issue(t, "server")
			a.issue(t, "client")
			acl := a.path("users.acl")
			require.NoError(t, os.WriteFile(acl, []byte("user default on nopass ~* &* +@all\nuser rolegate on >word "+rights+"\n"), 0o600))
			l, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			addr := l.Addr().String()
			_, port, _ := net.SplitHostPort(addr)
			require.NoError(t, l.Close())
			server := exec.Command(program, "--bind", "127.0.0.1", "--port", "0", "--tls-port", port, "--tls-ca-cert-file", a.path("ca.pem"),
				"--tls-cert-file", a.path("server.pem"), "--tls-key-file", a.path("server.key"), "--tls-auth-clients", "yes",
				"--aclfile", acl, "--save", "", "--dir", filepath.Dir(acl))
			require.NoError(t, server.Start())
			t.Cleanup(func() {
				_ = server.Process.Kill()
				_ = server.Wait()
			})
			ca := "ca: " + a.path("ca.pem")
			settings := func(tls string) string {
				return "address: '" + addr + "', username: rolegate, password: {file: " + secretFile(t, "word") + "}, tls: {" + tls + "}"
			}
			whole := settings(ca + ", certificate: " + a.path("client.pem") + ", key: " + a.path("client.key"))
			client, err := clientOf(t, whole)
			require.NoError(t, err)
			require.Eventually(t, func() bool { return client.Ping(context.Background()).Err() == nil }, time.Minute, 10*time.Millisecond)
			without, err := clientOf(t, settings(ca))
			require.NoError(t, err)
			require.Error(t, without.Ping(t.Context()).Err(), "without a certificate of its own")

			down := rolegatetest.NewStatic()
			down.Fail(errors.New("down"))
			source := rolegatetest.NewStatic(rolegate.Record{UserID: 1, Grants: []rolegate.Grant{{OrgID: 7, RoleCode: "teacher"}}})
			var gates []*rolegate.Gate
			for _, s := range []*rolegatetest.Static{source, down} {
				client, err := clientOf(t, whole)
				require.NoError(t, err)
				gate, err := rolegate.Open(t.Context(), rolegate.Config{
					Source: s, Logger: slog.New(slog.DiscardHandler),
					Identify: rolegate.ByUserID(func(*http.Request) (int64, error) { return 0, rolegate.ErrNobody }),
					Cache:    rediscache.New(rediscache.Config{Client: client, Secret: "a secret of these tests, for nothing else"}),
				})
				require.NoError(t, err)
				t.Cleanup(func() { assert.NoError(t, gate.Close()) })
				gates = append(gates, gate)
			}
			source.Put(rolegate.Record{UserID: 2, Grants: []rolegate.Grant{{OrgID: 7, RoleCode: "teacher"}}})
			lets := func(id int64) bool { return gates[1].Decide(context.Background(), rolegate.UserID(id)).Allowed() }
			require.Eventually(t, func() bool { // a row that was read as the base began is left to the next refresh
				return lets(2) || gates[0].Refresh(context.Background()) == nil && lets(2)
			}, time.Minute, 200*time.Millisecond, "by a row")
			source.Remove(1)
			require.NoError(t, gates[0].RefreshAll(t.Context()))
			require.Eventually(t, func() bool { return !lets(1) }, time.Minute, 10*time.Millisecond, "by a base")
			for _, gate := range gates {
				assert.Empty(t, gate.Status().Cache.Error)
			}

			refused := client.Set(t.Context(), "another", "x", 0).Err()
			require.ErrorContains(t, refused, "NOPERM")
			pair, err := tls.LoadX509KeyPair(a.path("client.pem"), a.path("client.key"))
			require.NoError(t, err)
			operator := redis.NewClient(&redis.Options{Addr: addr, DisableIdentity: true, TLSConfig: &tls.Config{
				Certificates: []tls.Certificate{pair}, RootCAs: a.pool(),
			}})
			t.Cleanup(func() { assert.NoError(t, operator.Close()) })
			log, err := operator.Do(t.Context(), "ACL", "LOG").Slice()
			require.NoError(t, err)
			var names []string
			for _, entry := range log {
				if fields, ok := entry.(map[any]any); ok {
					names = append(names, fields["object"].(string))
				}
			}
			assert.ElementsMatch(t, []string{"another"}, names, "nothing but that was refused")
		})
	}
	require.Positive(t, ran, "there is no redis-server: install it, for example with: apt-get install redis-server")
}
