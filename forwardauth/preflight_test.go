package forwardauth_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/forwardauth"
)

func TestPreflight(t *testing.T) {
	t.Parallel()
	gate := openGate(t, nil)
	for _, proxy := range allProxies {
		h := newHandler(t, gate, proxy, prefixed(proxy))
		h.Handle("/", rolegate.AnyRole("teacher"))
		h.Preflight("/api/")
		for _, c := range []struct {
			name   string
			q      question
			change func(http.Header)
			want   int
		}{
			{"a preflight", question{"OPTIONS", "school.example", "/api/grades", 0}, nil, 200},
			{"of a method of one's own", question{"OPTIONS", "school.example", "/api/grades", 0}, func(h http.Header) { h.Set("Access-Control-Request-Method", "M-SEARCH") }, 200},
			{"elsewhere", question{"OPTIONS", "school.example", "/other", 0}, nil, 401},
			{"another method", question{"GET", "school.example", "/api/grades", 0}, nil, 401},
			{"an ambiguous path", question{"OPTIONS", "school.example", "/api/../x", 0}, nil, 403},
			{"an encoded byte", question{"OPTIONS", "school.example", "/api/a%2fb", 0}, nil, 403},
			{"without Origin", question{"OPTIONS", "school.example", "/api/x", 0}, func(h http.Header) { h.Del("Origin") }, 401},
			{"an empty Origin", question{"OPTIONS", "school.example", "/api/x", 0}, func(h http.Header) { h.Set("Origin", "") }, 401},
			{"two Origins", question{"OPTIONS", "school.example", "/api/x", 0}, func(h http.Header) { h.Add("Origin", "https://b") }, 401},
			{"without the method", question{"OPTIONS", "school.example", "/api/x", 0}, func(h http.Header) { h.Del("Access-Control-Request-Method") }, 401},
			{"two methods", question{"OPTIONS", "school.example", "/api/x", 0}, func(h http.Header) { h.Add("Access-Control-Request-Method", "PUT") }, 401},
			{"no method", question{"OPTIONS", "school.example", "/api/x", 0}, func(h http.Header) { h.Set("Access-Control-Request-Method", "A B") }, 401},
			{"with a token", question{"OPTIONS", "school.example", "/api/x", 0}, func(h http.Header) { h.Set("Authorization", "Bearer x") }, 401},
			{"with a cookie: by the other rules", question{"OPTIONS", "school.example", "/api/x", 1}, nil, 200},
			{"with a cookie of one who may not", question{"OPTIONS", "school.example", "/api/x", 3}, nil, 403},
		} {
			t.Run(proxy.String()+"/"+c.name, func(t *testing.T) {
				r := c.q.request(proxy)
				r.Header.Set("Origin", "https://app.example")
				r.Header.Set("Access-Control-Request-Method", "POST")
				if c.change != nil {
					c.change(r.Header)
				}
				w := serve(h, r)
				assert.Equal(t, c.want, w.Code)
				if c.want == 200 && c.q.user == 0 {
					require.Contains(t, w.Header(), forwardauth.UserHeader, "it takes the place of a client's own")
					assert.Empty(t, w.Header().Get(forwardauth.UserHeader))
					assert.Empty(t, w.Header().Get(forwardauth.RolesHeader))
					assert.NotEmpty(t, w.Header().Get(forwardauth.DecisionHeader))
				}
			})
		}
		rules := h.Rules()
		require.Len(t, rules, 2)
		assert.Nil(t, rules[1].Policy)
		assert.Panics(t, func() { h.Preflight("OPTIONS /x") })
		assert.Panics(t, func() { h.Preflight("/api/") })
	}
}

func TestPreflightIsLogged(t *testing.T) {
	t.Parallel()
	var book logBook
	h := newHandler(t, openGate(t, nil), forwardauth.Nginx, func(c *forwardauth.Config) { c.Logger = book.logger() })
	h.Preflight("/api/")
	r := question{"OPTIONS", "school.example", "/api/grades", 0}.request(forwardauth.Nginx)
	r.Header.Set("Origin", "https://app.example")
	r.Header.Set("Access-Control-Request-Method", "POST")
	id := serve(h, r).Header().Get(forwardauth.DecisionHeader)
	assert.Contains(t, book.String(), `"level":"DEBUG","msg":"forwardauth: let a preflight pass","decision":"`+id+`","route":"/api/"}`)
}
