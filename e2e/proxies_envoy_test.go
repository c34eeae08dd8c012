//go:build drill

package e2e

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// An envoy does what the comments of Envoy's protocol buffers say of each field:
// extensions.filters.http.ext_authz.v3.ExtAuthz of its HTTP service (Host, Method,
// Path and Authorization are always sent, the body never; 200 lets pass, an error
// and 5xx are 403, since failure_mode_allow is false),
// HttpConnectionManager.upgrade_configs, core.v3.HttpProtocolOptions'
// headers_with_underscores_action and VirtualHost.request_headers_to_remove.
type envoy struct {
	manager envoyManager
	authz   envoyExtAuthz
}

type envoyFile struct {
	StaticResources struct {
		Listeners []struct {
			Address      envoyAddress
			FilterChains []struct {
				Filters []struct {
					Name        string
					TypedConfig envoyManager `yaml:"typed_config"`
				}
			} `yaml:"filter_chains"`
		}
		Clusters []struct {
			Name           string
			ConnectTimeout string `yaml:"connect_timeout"`
			LoadAssignment struct {
				ClusterName string `yaml:"cluster_name"`
				Endpoints   []struct {
					LBEndpoints []struct {
						Endpoint struct{ Address envoyAddress }
					} `yaml:"lb_endpoints"`
				}
			} `yaml:"load_assignment"`
		}
	} `yaml:"static_resources"`
}

type envoyAddress struct {
	SocketAddress struct {
		Address   string
		PortValue int `yaml:"port_value"`
	} `yaml:"socket_address"`
}

type envoyManager struct {
	Type       string `yaml:"@type"`
	StatPrefix string `yaml:"stat_prefix"`
	Common     struct {
		Underscores string `yaml:"headers_with_underscores_action"`
	} `yaml:"common_http_protocol_options"`
	Upgrades []struct {
		Type string `yaml:"upgrade_type"`
	} `yaml:"upgrade_configs"`
	Filters []struct {
		Name        string
		TypedConfig envoyExtAuthz `yaml:"typed_config"` // the router's has a type alone
	} `yaml:"http_filters"`
	RouteConfig struct {
		VirtualHosts []struct {
			Name    string
			Domains []string
			Remove  []string `yaml:"request_headers_to_remove"`
			Routes  []struct {
				Match struct{ Prefix string }
				Route struct{ Cluster, Timeout string }
			}
		} `yaml:"virtual_hosts"`
	} `yaml:"route_config"`
}

type envoyPatterns struct {
	Patterns []struct{ Exact, Prefix string }
}

func (p envoyPatterns) match(name string) bool {
	name = strings.ToLower(name)
	for _, of := range p.Patterns {
		if of.Exact == name || of.Prefix != "" && strings.HasPrefix(name, of.Prefix) {
			return true
		}
	}
	return false
}

type envoyExtAuthz struct {
	Type             string        `yaml:"@type"`
	FailureModeAllow bool          `yaml:"failure_mode_allow"`
	AllowedHeaders   envoyPatterns `yaml:"allowed_headers"`
	HTTPService      struct {
		ServerURI struct {
			URI, Cluster, Timeout string
		} `yaml:"server_uri"`
		PathPrefix string `yaml:"path_prefix"`
		Response   struct {
			Upstream envoyPatterns `yaml:"allowed_upstream_headers"`
		} `yaml:"authorization_response"`
	} `yaml:"http_service"`
}

func readEnvoy(t *testing.T, files []string) stub {
	t.Helper()
	var f envoyFile
	readYAML(t, files[0], &f)
	listener := f.StaticResources.Listeners[0]
	require.Equal(t, 8000, listener.Address.SocketAddress.PortValue)
	s := &envoy{manager: listener.FilterChains[0].Filters[0].TypedConfig}
	require.True(t, strings.HasSuffix(s.manager.Type, ".http_connection_manager.v3.HttpConnectionManager"), s.manager.Type)
	require.Equal(t, "envoy.filters.http.ext_authz", s.manager.Filters[0].Name, "it comes before the router")
	require.Equal(t, "envoy.filters.http.router", s.manager.Filters[1].Name)
	s.authz = s.manager.Filters[0].TypedConfig
	require.True(t, strings.HasSuffix(s.authz.Type, ".ext_authz.v3.ExtAuthz"), s.authz.Type)
	require.False(t, s.authz.FailureModeAllow)
	require.Equal(t, stubPrefix, s.authz.HTTPService.PathPrefix)
	require.Equal(t, "DROP_HEADER", s.manager.Common.Underscores)
	route := s.manager.RouteConfig.VirtualHosts[0].Routes[0]
	require.Equal(t, "/", route.Match.Prefix)
	ports := map[string]int{}
	for _, c := range f.StaticResources.Clusters {
		require.Equal(t, c.Name, c.LoadAssignment.ClusterName)
		ports[c.Name] = c.LoadAssignment.Endpoints[0].LBEndpoints[0].Endpoint.Address.SocketAddress.PortValue
	}
	require.Equal(t, 8080, ports[route.Route.Cluster])
	require.Equal(t, 9090, ports[s.authz.HTTPService.ServerURI.Cluster])
	return s
}

// stubPrefix is the path_prefix in docs/proxies/envoy.yaml.
const stubPrefix = "/check"

func (s *envoy) ask(r *http.Request, auth string) (*http.Response, error) {
	dropUnderscores(r.Header)
	conn, err := net.Dial("tcp", auth)
	if err != nil {
		return nil, err
	}
	lines := []string{r.Method + " " + s.authz.HTTPService.PathPrefix + r.RequestURI + " HTTP/1.1", "Host: " + r.Host, "Content-Length: 0", "Connection: close"}
	for name, values := range r.Header {
		if name != "Authorization" && !s.authz.AllowedHeaders.match(name) {
			continue
		}
		for _, value := range values {
			lines = append(lines, name+": "+value)
		}
	}
	if _, err := io.WriteString(conn, strings.Join(lines, "\r\n")+"\r\n\r\n"); err != nil {
		conn.Close()
		return nil, err
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: r.Method})
	if err != nil {
		conn.Close()
		return nil, err
	}
	answer.Body = struct {
		io.Reader
		io.Closer
	}{answer.Body, conn}
	return answer, nil
}

func (*envoy) refusal(answer *http.Response) int {
	switch {
	case answer == nil || answer.StatusCode >= 500:
		return http.StatusForbidden
	case answer.StatusCode == http.StatusOK:
		return 0
	}
	return answer.StatusCode
}

func (s *envoy) copies(name string) bool { return s.authz.HTTPService.Response.Upstream.match(name) }

func (s *envoy) after(h http.Header) {
	for _, name := range s.manager.RouteConfig.VirtualHosts[0].Remove {
		h.Del(name)
	}
	known := func(value string) bool {
		for _, u := range s.manager.Upgrades {
			if strings.EqualFold(u.Type, value) {
				return true
			}
		}
		return false
	}
	if values := h["Upgrade"]; len(values) != 1 || !slices.ContainsFunc(values, known) {
		h.Del("Upgrade")
	}
}
