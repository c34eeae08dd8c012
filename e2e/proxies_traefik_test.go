//go:build drill

package e2e

import (
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A traefik does what doc.traefik.io (v3.7) says of the entry point's
// aliasHeadersStrategy, of the middlewares Headers and ForwardAuth, and of the
// matchers PathPrefix and HeaderRegexp; and of what is not said there what
// pkg/middlewares/auth/forward.go does.
type traefik struct {
	static  traefikStatic
	dynamic traefikDynamic
}

type traefikStatic struct {
	EntryPoints map[string]struct {
		Address string
		HTTP    struct {
			AliasHeadersStrategy string `yaml:"aliasHeadersStrategy"`
		}
	} `yaml:"entryPoints"`
	Providers struct {
		File struct{ Filename string }
	}
}

type traefikDynamic struct {
	HTTP struct {
		Routers map[string]struct {
			Rule        string
			Priority    int
			Middlewares []string
			Service     string
		}
		Middlewares map[string]traefikMiddleware
		Services    map[string]struct {
			LoadBalancer struct {
				Servers []struct{ URL string }
			} `yaml:"loadBalancer"`
		}
	}
}

type traefikMiddleware struct {
	Headers *struct {
		CustomRequestHeaders map[string]string `yaml:"customRequestHeaders"`
	}
	ForwardAuth *traefikForwardAuth `yaml:"forwardAuth"`
}

type traefikForwardAuth struct {
	Address                string
	TrustForwardHeader     bool     `yaml:"trustForwardHeader"`
	PreserveLocationHeader bool     `yaml:"preserveLocationHeader"`
	MaxResponseBodySize    int64    `yaml:"maxResponseBodySize"`
	AuthRequestHeaders     []string `yaml:"authRequestHeaders"`
	AuthResponseHeaders    []string `yaml:"authResponseHeaders"`
}

func (s *traefik) forwardAuth() *traefikForwardAuth {
	return s.dynamic.HTTP.Middlewares["rolegate"].ForwardAuth
}

func readTraefik(t *testing.T, files []string) stub {
	t.Helper()
	s := &traefik{}
	readYAML(t, files[0], &s.static)
	readYAML(t, files[1], &s.dynamic)
	require.Equal(t, ":8000", s.static.EntryPoints["web"].Address)
	require.Equal(t, "delete", s.static.EntryPoints["web"].HTTP.AliasHeadersStrategy)
	assert.Equal(t, "/etc/traefik/"+files[1], s.static.Providers.File.Filename)
	for name, r := range s.dynamic.HTTP.Routers {
		require.NotNil(t, s.matcher(r.Rule), "%s: the rule %s", name, r.Rule)
		require.NotEmpty(t, r.Middlewares)
		assert.Equal(t, "rolegate", r.Middlewares[len(r.Middlewares)-1], "what others change is checked")
		for _, m := range r.Middlewares {
			require.Contains(t, s.dynamic.HTTP.Middlewares, m)
		}
		require.Equal(t, "http://127.0.0.1:8080", s.dynamic.HTTP.Services[r.Service].LoadBalancer.Servers[0].URL)
	}
	f := s.forwardAuth()
	require.NotNil(t, f)
	require.Equal(t, "http://127.0.0.1:9090/", f.Address)
	require.False(t, f.TrustForwardHeader)
	return s
}

var headerRegexp = regexp.MustCompile("^HeaderRegexp\\(`([A-Za-z-]+)`, `([^`]+)`\\)$")

// matcher is what a rule matches, nil for one that is not known here.
func (s *traefik) matcher(rule string) func(*http.Request) bool {
	if found := headerRegexp.FindStringSubmatch(rule); found != nil {
		pattern := regexp.MustCompile(found[2])
		return func(r *http.Request) bool { return slices.ContainsFunc(r.Header.Values(found[1]), pattern.MatchString) }
	}
	if rule == "PathPrefix(`/`)" {
		return func(*http.Request) bool { return true }
	}
	return nil
}

// middlewares are those of the router that the request is for.
func (s *traefik) middlewares(r *http.Request) (names []string) {
	best := 0
	for _, router := range s.dynamic.HTTP.Routers {
		if router.Priority > best && s.matcher(router.Rule)(r) {
			best, names = router.Priority, router.Middlewares
		}
	}
	return names
}

func (s *traefik) ask(r *http.Request, auth string) (answer *http.Response, err error) {
	dropUnderscores(r.Header)
	for _, name := range s.middlewares(r) {
		m := s.dynamic.HTTP.Middlewares[name]
		if m.ForwardAuth != nil {
			answer, err = s.forward(r, auth)
			continue
		}
		for name, value := range m.Headers.CustomRequestHeaders {
			if r.Header.Del(name); value != "" {
				r.Header.Set(name, value)
			}
		}
	}
	return answer, err
}

func (s *traefik) forward(r *http.Request, auth string) (*http.Response, error) {
	f := s.forwardAuth()
	q, err := http.NewRequestWithContext(r.Context(), http.MethodGet, "http://"+auth+"/", nil)
	if err != nil {
		return nil, err
	}
	for _, name := range f.AuthRequestHeaders {
		if values := r.Header.Values(name); len(values) > 0 {
			q.Header[http.CanonicalHeaderKey(name)] = values
		}
	}
	for _, list := range r.Header["Connection"] {
		for name := range strings.SplitSeq(list, ",") {
			q.Header.Del(strings.TrimSpace(name))
		}
	}
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	q.Header.Set("X-Forwarded-For", host)
	q.Header.Set("X-Forwarded-Method", r.Method)
	q.Header.Set("X-Forwarded-Proto", "http")
	q.Header.Set("X-Forwarded-Host", r.Host)
	q.Header.Set("X-Forwarded-Uri", r.URL.RequestURI())
	answer, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(q)
	if err == nil && !f.PreserveLocationHeader {
		if to, err := answer.Location(); err == nil {
			answer.Header.Set("Location", to.String()) // below the gate's own address
		}
	}
	return answer, err
}

func (s *traefik) refusal(answer *http.Response) int {
	switch {
	case answer == nil:
		return http.StatusInternalServerError
	case answer.ContentLength > s.forwardAuth().MaxResponseBodySize:
		return http.StatusUnauthorized
	case answer.StatusCode/100 == 2:
		return 0
	}
	return answer.StatusCode
}

func (s *traefik) copies(name string) bool {
	return slices.ContainsFunc(s.forwardAuth().AuthResponseHeaders, func(n string) bool { return strings.EqualFold(n, name) })
}

func (*traefik) after(http.Header) {}
