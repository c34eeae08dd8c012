package school

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/marketplace"
)

// settings are what the environment says.
type settings struct {
	real                    bool // whether it names a marketplace
	baseURL, appID          string
	token                   marketplace.StaticToken
	refresh, resync, expire time.Duration
	sync                    rolegate.SyncChecker // the demo's; nil asks nobody
	cache                   rolegate.Cache       // nil keeps nothing
	file                    string               // that it is in, if it is one
	login                   *login               // the demo's, for browsers; nil for none
}

// shortest is how often at most the example bothers a marketplace.
const shortest = 100 * time.Millisecond

func readSettings(getenv func(string) string) (settings, error) {
	s := settings{
		baseURL: getenv("ROLEGATE_BASE_URL"),
		appID:   getenv("ROLEGATE_APP_ID"),
		token:   marketplace.StaticToken(getenv("ROLEGATE_ACCESS_TOKEN")),
	}
	var errs []error
	var missing []string
	for _, needed := range []struct{ name, value string }{
		{"ROLEGATE_BASE_URL", s.baseURL}, {"ROLEGATE_APP_ID", s.appID}, {"ROLEGATE_ACCESS_TOKEN", string(s.token)},
	} {
		if needed.value == "" {
			missing = append(missing, needed.name)
		}
	}
	s.real = len(missing) == 0
	if n := len(missing); n == 1 || n == 2 {
		errs = append(errs, fmt.Errorf("set %s too, or none of the three to try it with the fake marketplace", strings.Join(missing, " and ")))
	}
	for _, d := range []struct {
		name string
		to   *time.Duration
	}{{"ROLEGATE_REFRESH", &s.refresh}, {"ROLEGATE_RESYNC", &s.resync}} {
		text := getenv(d.name)
		if text == "" {
			continue
		}
		value, err := time.ParseDuration(text)
		if err != nil || value < shortest {
			errs = append(errs, fmt.Errorf("%s=%q: expected a duration of %v or more, such as 30s or 10m", d.name, text, shortest))
		}
		*d.to = value
	}
	// A list that three full refreshes in a row could not renew is too old to believe,
	// but an hour is always granted.
	s.expire = max(time.Hour, 3*s.resync)
	return s, errors.Join(errs...)
}

// config is the gate's.
func (s *settings) config() rolegate.Config {
	cfg := rolegate.Config{
		Source: marketplace.New(marketplace.Config{
			BaseURL: s.baseURL,
			AppID:   s.appID,
			Token:   s.token,
		}),
		Identify: rolegate.ByUserID(rolegate.UserIDHeader("X-User-Id", rolegate.Loopback()...)),
		Refresh: rolegate.Refresh{
			Every:       s.refresh,
			ResyncEvery: s.resync,
			ExpireAfter: s.expire,
		},
		UpstreamSync: s.sync,
		Cache:        s.cache,
		StartEmpty:   true, // serve at once; until the list is there, /healthz and all guarded routes answer 503
	}
	if s.login != nil {
		cfg.Identify = rolegate.FirstOf(cfg.Identify, rolegate.ByUserID(s.login.userID))
	}
	return cfg
}
