// Package settings reads the file from which the command rolegate runs, and
// makes of it what the packages of rolegate ask for.
package settings

import (
	"log/slog"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/rolegate/rolegate"
)

// A File is what a settings file says. [Load] reads one; docs/rolegate.yaml
// shows all of it. It has no secret in it, only where they are.
type File struct {
	Marketplace  Marketplace         `yaml:"marketplace"`
	CloudCommand *CloudCommand       `yaml:"cloud_command"`
	Identity     []Identity          `yaml:"identity"`
	Aliases      []Kind              `yaml:"aliases"`
	Keep         []Keep              `yaml:"keep"`
	Implies      map[string][]string `yaml:"implies"`
	Refresh      Refresh             `yaml:"refresh"`
	OnDeny       OnDeny              `yaml:"on_deny"`
	ShadowAdmit  bool                `yaml:"shadow_admit"`
	Cache        Cache               `yaml:"cache"`
	ForwardAuth  *ForwardAuth        `yaml:"forward_auth"`
	AuthZEN      *AuthZEN            `yaml:"authzen"`
	Admin        *Admin              `yaml:"admin"`
	Control      string              `yaml:"control"` // the path of a Unix socket; "" opens none
	Drain        Duration            `yaml:"drain"`   // how long requests are answered after SIGTERM; 0 by default
	Log          Log                 `yaml:"log"`
}

// A Marketplace says where the list is.
type Marketplace struct {
	URL             string   `yaml:"url"`
	AppID           string   `yaml:"app_id"`
	Token           Secret   `yaml:"token"`
	Path            string   `yaml:"path"`
	RoleListPath    string   `yaml:"role_list_path"`
	PageSize        int      `yaml:"page_size"`
	PageTimeout     Duration `yaml:"page_timeout"`
	MaxPageBytes    int64    `yaml:"max_page_bytes"`
	MaxUsers        int      `yaml:"max_users"`
	UniqueSequences bool     `yaml:"unique_sequences"`
	RefusedCodes    []int    `yaml:"refused_codes"`
	MaxRequests     float64  `yaml:"max_requests_per_second"`
	CacheBuster     string   `yaml:"cache_buster"`
}

// A CloudCommand says where 云上指挥 is.
type CloudCommand struct {
	URL          string   `yaml:"url"`
	ClientID     string   `yaml:"client_id"`
	ClientSecret Secret   `yaml:"client_secret"`
	Username     string   `yaml:"username"`
	Password     *Secret  `yaml:"password"`
	TenantID     string   `yaml:"tenant_id"`
	Scope        string   `yaml:"scope"`
	TokenPath    string   `yaml:"token_path"`
	Path         string   `yaml:"path"`
	SyncID       int64    `yaml:"sync_id"`
	Running      []string `yaml:"running"`
	Done         []string `yaml:"done"`
	Timeout      Duration `yaml:"timeout"`
}

// An Identity is one way to find out who is asking: a header that a proxy sets,
// or a token of an issuer.
type Identity struct {
	Is Kind `yaml:"is"`

	Header  string   `yaml:"header"`
	Trusted Networks `yaml:"trusted"`

	Issuer     string   `yaml:"issuer"`
	Audience   string   `yaml:"audience"`
	Claim      string   `yaml:"claim"`
	Algorithms []string `yaml:"algorithms"`
	TokenType  string   `yaml:"token_type"` // "access", "id" or ""

	AudienceClaim string  `yaml:"audience_claim"`
	KeysURL       string  `yaml:"keys_url"`
	HMACSecret    *Secret `yaml:"hmac_secret"`

	// Where a token may be, besides Authorization.
	TokenHeader      string `yaml:"token_header"`
	TokenCookie      string `yaml:"token_cookie"`
	TokenSubprotocol string `yaml:"token_subprotocol"`
}

// ofIssuer reports whether something is said that goes with an issuer.
func (id *Identity) ofIssuer() bool {
	return id.Audience != "" || id.Claim != "" || len(id.Algorithms) > 0 || id.TokenType != "" || id.AudienceClaim != "" || id.KeysURL != "" ||
		id.HMACSecret != nil || id.TokenHeader != "" || id.TokenCookie != "" || id.TokenSubprotocol != ""
}

// Refresh is rolegate.Refresh.
type Refresh struct {
	Every       Duration `yaml:"every"`
	ResyncEvery Duration `yaml:"resync_every"`
	StaleAfter  Duration `yaml:"stale_after"`
	ExpireAfter Duration `yaml:"expire_after"`
	MaxShrink   float64  `yaml:"max_shrink"`
	ShrinkHold  Duration `yaml:"shrink_hold"`
	SyncHold    Duration `yaml:"sync_hold"`
	ResyncMin   Duration `yaml:"resync_min"`
	MaxAgeWait  Duration `yaml:"max_age_wait"`
	LookBack    Duration `yaml:"look_back"`
}

// OnDeny is rolegate.OnDeny.
type OnDeny struct {
	Off       bool     `yaml:"off"`
	Wait      Duration `yaml:"wait"`
	PerMinute int      `yaml:"per_minute"`
	TTL       Duration `yaml:"ttl"`
}

// A Cache says where the last good list is kept, if anywhere.
type Cache struct {
	File  string `yaml:"file"`
	Redis *Redis `yaml:"redis"`
}

// TLS is the certificate of a listener, in PEM files. They are read at the start
// and on each reload.
type TLS struct {
	Certificate string `yaml:"certificate"` // with the chain behind it
	Key         string `yaml:"key"`
}

// ForwardAuth is a listener that a reverse proxy asks.
type ForwardAuth struct {
	Listen  string   `yaml:"listen"`
	TLS     *TLS     `yaml:"tls"`
	Proxy   Proxy    `yaml:"proxy"`
	Trusted Networks `yaml:"trusted"`
	Prefix  string   `yaml:"prefix"`

	LoginURL    string `yaml:"login_url"`
	ReturnParam string `yaml:"return_param"`

	Rules []Rule `yaml:"rules"`
}

// A Rule says who may pass where.
type Rule struct {
	Route  string `yaml:"route"`
	Admit  bool   `yaml:"admit"`  // whoever is on the list
	InOrg  string `yaml:"in_org"` // the name of a wildcard in Route
	Checks `yaml:",inline"`

	Encoded   string `yaml:"encoded"`   // bytes that may stand in the path, percent-encoded
	Preflight bool   `yaml:"preflight"` // CORS preflights pass, whoever asks
}

// Checks are what must hold, all of them, and what goes with them.
type Checks struct {
	AnyRole    []string `yaml:"any_role"`
	AllRoles   []string `yaml:"all_roles"`
	NoRole     []string `yaml:"no_role"`
	Either     []Either `yaml:"either"`
	Everywhere []string `yaml:"everywhere"` // roles that count in every organisation
	MaxAge     Duration `yaml:"max_age"`
	Shadow     bool     `yaml:"shadow"`
}

// Either is one of several checks of which one must hold.
type Either struct {
	AnyRole  []string `yaml:"any_role"`
	AllRoles []string `yaml:"all_roles"`
	NoRole   []string `yaml:"no_role"`
}

// AuthZEN is a listener for programs that ask by OpenID AuthZEN.
type AuthZEN struct {
	Listen         string          `yaml:"listen"`
	TLS            *TLS            `yaml:"tls"`
	URL            string          `yaml:"url"`
	Callers        []Caller        `yaml:"callers"`
	Subjects       map[string]Kind `yaml:"subjects"`
	MaxEvaluations int             `yaml:"max_evaluations"`
	Rules          []AuthZENRule   `yaml:"rules"`
}

// A Caller is a program that may ask, by its bearer token.
type Caller struct {
	Name  string `yaml:"name"`
	Token Secret `yaml:"token"`
}

// An AuthZENRule says who may do what.
type AuthZENRule struct {
	Resource string `yaml:"resource"`
	Action   string `yaml:"action"`
	Admit    bool   `yaml:"admit"`
	Org      *Org   `yaml:"org"`
	Checks   `yaml:",inline"`
	When     []When `yaml:"when"` // one of these must hold too
}

// An Org says where in a resource its organisation is.
type Org struct {
	ID       bool   `yaml:"id"`
	Property string `yaml:"property"`
}

// Admin is a listener for operators: /metrics, /healthz, /readyz and, if
// Console says who may see it, /console.
type Admin struct {
	Listen  string  `yaml:"listen"`
	TLS     *TLS    `yaml:"tls"`
	Console *Checks `yaml:"console"`

	TrustedOrigins []string `yaml:"trusted_origins"` // of the console's forms
	ConsolePath    string   `yaml:"console_path"`    // as browsers see it
}

// Log says what is logged, and how. It goes to the standard error.
type Log struct {
	Format string     `yaml:"format"` // "text", the default, or "json"
	Level  slog.Level `yaml:"level"`  // "info" by default

	IdentityKey *Secret `yaml:"identity_key"` // of the digests of identities; by default a random one
}

// A Duration is a time.Duration as Go writes it: 90s, 10m, 1h.
type Duration time.Duration

// UnmarshalYAML implements yaml.Unmarshaler.
func (d *Duration) UnmarshalYAML(n *yaml.Node) error {
	value, err := time.ParseDuration(n.Value)
	if n.Kind != yaml.ScalarNode || err != nil {
		return at(n, "expected a duration such as 30s, 10m or 1h")
	}
	*d = Duration(value)
	return nil
}

// A Kind is a kind of identity.
type Kind rolegate.Kind

// UnmarshalYAML implements yaml.Unmarshaler.
func (k *Kind) UnmarshalYAML(n *yaml.Node) error {
	var names []string
	for kind := rolegate.KindUserID; kind <= rolegate.KindThirdUserID; kind++ {
		if n.Kind == yaml.ScalarNode && n.Value == kind.String() {
			*k = Kind(kind)
			return nil
		}
		names = append(names, kind.String())
	}
	return at(n, "expected one of %s", words(names))
}

// A Keep is a string of a user's to keep.
type Keep string

var keeps = []struct {
	name Keep
	in   func(*rolegate.Keep) *bool
}{
	{"account", func(k *rolegate.Keep) *bool { return &k.Account }},
	{"email", func(k *rolegate.Keep) *bool { return &k.Email }},
	{"third_account", func(k *rolegate.Keep) *bool { return &k.ThirdAccount }},
	{"third_user_id", func(k *rolegate.Keep) *bool { return &k.ThirdUserID }},
	{"nickname", func(k *rolegate.Keep) *bool { return &k.Nickname }},
	{"third_user_name", func(k *rolegate.Keep) *bool { return &k.ThirdUserName }},
}

// UnmarshalYAML implements yaml.Unmarshaler.
func (k *Keep) UnmarshalYAML(n *yaml.Node) error {
	var names []string
	for _, known := range keeps {
		if n.Kind == yaml.ScalarNode && n.Value == string(known.name) {
			*k = known.name
			return nil
		}
		names = append(names, string(known.name))
	}
	return at(n, "expected one of %s", words(names))
}

// keep adds the string to those that are kept.
func (k Keep) keep(to *rolegate.Keep) {
	for _, known := range keeps {
		if known.name == k {
			*known.in(to) = true
		}
	}
}
