package settings

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"time"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/bearer"
	"github.com/rolegate/rolegate/cloudcommand"
	"github.com/rolegate/rolegate/filecache"
	"github.com/rolegate/rolegate/marketplace"
	"github.com/rolegate/rolegate/rediscache"
)

// Config returns the config of the client that reads the list. The token is
// read when it is needed, anew each time that the marketplace refuses it.
func (m *Marketplace) Config() marketplace.Config {
	token := m.Token
	return marketplace.Config{
		BaseURL: m.URL, AppID: m.AppID, Path: m.Path, RoleListPath: m.RoleListPath,
		Token:    marketplace.TokenFunc(func(context.Context) (string, error) { return token.Read() }),
		PageSize: m.PageSize, PageTimeout: time.Duration(m.PageTimeout), MaxPageBytes: m.MaxPageBytes, MaxUsers: m.MaxUsers,
		UniqueSequences: m.UniqueSequences, CacheBuster: m.CacheBuster,
		RefusedCodes: m.RefusedCodes, MaxRequestsPerSecond: m.MaxRequests,
	}
}

// Client returns the client that asks how a sync is.
func (c *CloudCommand) Client() (*cloudcommand.Client, error) {
	secret, err := c.ClientSecret.Read()
	if err != nil {
		return nil, fmt.Errorf("cloud_command.client_secret: %w", err)
	}
	password := ""
	if c.Password != nil {
		if password, err = c.Password.Read(); err != nil {
			return nil, fmt.Errorf("cloud_command.password: %w", err)
		}
	}
	return cloudcommand.New(cloudcommand.Config{
		BaseURL: c.URL, ClientID: c.ClientID, ClientSecret: cloudcommand.Secret(secret),
		Username: c.Username, Password: cloudcommand.Secret(password), TenantID: c.TenantID, Scope: c.Scope,
		TokenPath: c.TokenPath, Path: c.Path, SyncID: c.SyncID, Running: c.Running, Done: c.Done, Timeout: time.Duration(c.Timeout),
	}), nil
}

// Gate returns the config of the gate, and what to call when the gate is
// closed. Secrets are read, but nothing is connected to.
func (f *File) Gate(log *slog.Logger) (cfg rolegate.Config, release func() error, err error) {
	cfg, _, release, err = f.ReadyGate(log)
	return cfg, release, err
}

// ReadyGate is Gate with a func that waits, until ctx ends, for the keys of all
// issuers: without them a gate denies everybody who comes with a token.
func (f *File) ReadyGate(log *slog.Logger) (cfg rolegate.Config, ready func(context.Context) error, release func() error, err error) {
	var errs []error
	var issuers []*bearer.Verifier
	fail := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	release = func() error { return nil }
	source := marketplace.New(f.Marketplace.Config())
	cfg = rolegate.Config{
		Source: source, Implies: f.Implies, ShadowAdmit: f.ShadowAdmit, Logger: log,
		Refresh: f.Refresh.config(),
		OnDeny: rolegate.OnDeny{
			Off: f.OnDeny.Off, Wait: time.Duration(f.OnDeny.Wait), PerMinute: f.OnDeny.PerMinute, TTL: time.Duration(f.OnDeny.TTL),
		},
	}
	if _, err := f.Marketplace.Token.Read(); err != nil {
		fail(fmt.Errorf("marketplace.token: %w", err))
	}
	if f.Marketplace.RoleListPath != "" {
		cfg.RoleCodes = source.RoleCodes
	}
	for _, k := range f.Keep {
		k.keep(&cfg.Keep)
	}
	if k := f.Log.IdentityKey; k != nil {
		key, err := k.Read()
		if err != nil {
			fail(fmt.Errorf("log.identity_key: %w", err))
		}
		cfg.IdentityKey = []byte(key)
	}
	cfg.Aliases = f.aliases()
	cfg.Identify, issuers, err = f.identifier(log)
	fail(err)
	if f.CloudCommand != nil {
		client, err := f.CloudCommand.Client()
		fail(err)
		if err == nil {
			cfg.UpstreamSync = client
		}
	}
	switch {
	case f.Cache.File != "":
		cfg.Cache = filecache.New(f.Cache.File)
	case f.Cache.Redis != nil:
		client, err := f.Cache.Redis.Client()
		fail(err)
		secret, err := f.Cache.Redis.Secret.Read()
		if err != nil {
			fail(fmt.Errorf("cache.redis.secret: %w", err))
		}
		if client != nil {
			release = client.Close
		}
		cfg.Cache = rediscache.New(rediscache.Config{
			Client: client, Secret: rediscache.Secret(secret), Prefix: f.Cache.Redis.Prefix, Lease: time.Duration(f.Cache.Redis.Lease),
		})
	}
	if err := errors.Join(errs...); err != nil {
		return rolegate.Config{}, nil, nil, errors.Join(err, release())
	}
	ready = func(ctx context.Context) error {
		for _, issuer := range issuers {
			if err := issuer.Ready(ctx); err != nil {
				return fmt.Errorf("identity: the keys of an issuer cannot be had: %w", err)
			}
		}
		return nil
	}
	return cfg, ready, release, nil
}

func (r *Refresh) config() rolegate.Refresh {
	return rolegate.Refresh{
		Every: time.Duration(r.Every), ResyncEvery: time.Duration(r.ResyncEvery),
		StaleAfter: time.Duration(r.StaleAfter), ExpireAfter: time.Duration(r.ExpireAfter),
		MaxShrink: r.MaxShrink, ShrinkHold: time.Duration(r.ShrinkHold), SyncHold: time.Duration(r.SyncHold),
		ResyncMin: time.Duration(r.ResyncMin), MaxAgeWait: time.Duration(r.MaxAgeWait), LookBack: time.Duration(r.LookBack),
	}
}

// aliases are the kinds of identity that are asked about besides those that
// requests bring.
func (f *File) aliases() (kinds []rolegate.Kind) {
	add := func(k Kind) {
		if kind := rolegate.Kind(k); kind != rolegate.KindUserID {
			kinds = append(kinds, kind)
		}
	}
	if len(f.Identity) == 0 { // a gate that is to identify no requests has to name a kind
		kinds = append(kinds, rolegate.KindUserID)
	}
	for _, k := range f.Aliases {
		add(k)
	}
	if f.AuthZEN != nil {
		for _, k := range f.AuthZEN.Subjects {
			add(k)
		}
	}
	return kinds
}

// identifier tries what Identity names, in that order. It is the zero
// Identifier, which guards no requests, if that is nothing.
func (f *File) identifier(log *slog.Logger) (_ rolegate.Identifier, issuers []*bearer.Verifier, _ error) {
	var all []rolegate.Identifier
	var errs []error
	for i, id := range f.Identity {
		one, issuer, err := id.identifier(log)
		if err != nil {
			errs = append(errs, fmt.Errorf("identity[%d]: %w", i, err))
		}
		all = append(all, one)
		if issuer != nil {
			issuers = append(issuers, issuer)
		}
	}
	if len(errs) > 0 || len(all) == 0 {
		return rolegate.Identifier{}, nil, errors.Join(errs...)
	}
	if len(all) == 1 {
		return all[0], issuers, nil
	}
	return rolegate.FirstOf(all...), issuers, nil
}

// identifier returns the issuer too, nil if it is a header.
func (id *Identity) identifier(log *slog.Logger) (_ rolegate.Identifier, tokens *bearer.Verifier, err error) {
	if id.Header != "" {
		defer recovered(&err)
		text := rolegate.TextHeader(id.Header, id.Trusted...)
		if kind := rolegate.Kind(id.Is); kind > rolegate.KindUserID {
			return rolegate.ByText(kind, text), nil, nil
		}
		return rolegate.ByUserID(rolegate.UserIDHeader(id.Header, id.Trusted...)), nil, nil
	}
	cfg := bearer.Config{
		Issuer: id.Issuer, Audience: id.Audience, AudienceClaim: id.AudienceClaim, KeysURL: id.KeysURL, Algorithms: id.Algorithms, Logger: log,
		TokenFrom: id.tokenFrom(),
		Type:      map[string]bearer.Type{"access": bearer.AccessToken, "id": bearer.IDToken}[id.TokenType],
	}
	if id.HMACSecret != nil {
		secret, err := id.HMACSecret.Read()
		if err != nil {
			return rolegate.Identifier{}, nil, fmt.Errorf("hmac_secret: %w", err)
		}
		cfg.HMACSecret = bearer.Secret(secret)
	}
	tokens, err = bearer.New(cfg)
	if err != nil {
		return rolegate.Identifier{}, nil, err
	}
	claim := id.Claim
	switch kind := rolegate.Kind(id.Is); {
	case kind == rolegate.KindEmail && (claim == "" || claim == "email"):
		return tokens.ByEmail(), tokens, nil
	case kind == rolegate.KindEmail:
		return rolegate.Identifier{}, nil, errors.New("claim: an e-mail address is read from the claim email alone, which email_verified belongs to")
	case claim == "":
		return rolegate.Identifier{}, nil, errors.New("claim: expected which claim of the token names the user, such as sub")
	case kind == rolegate.KindAccount:
		return tokens.ByAccount(claim), tokens, nil
	case kind == rolegate.KindThirdAccount:
		return tokens.ByThirdAccount(claim), tokens, nil
	case kind == rolegate.KindThirdUserID:
		return tokens.ByThirdUserID(claim), tokens, nil
	}
	return tokens.ByUserID(claim), tokens, nil
}

// tokenFrom is where tokens may be: in Authorization, and where the file says.
func (id *Identity) tokenFrom() []bearer.TokenSource {
	from := []bearer.TokenSource{bearer.FromAuthorization()}
	if id.TokenHeader != "" {
		from = append(from, bearer.FromHeader(id.TokenHeader))
	}
	if id.TokenCookie != "" {
		from = append(from, bearer.FromCookie(id.TokenCookie))
	}
	if id.TokenSubprotocol != "" {
		from = append(from, bearer.FromSubprotocol(id.TokenSubprotocol))
	}
	return from
}

// recovered makes an error of a panic with which a constructor refuses what it
// was given.
func recovered(err *error) {
	if v := recover(); v != nil {
		*err = errors.New(registered.ReplaceAllString(fmt.Sprint(v), ""))
	}
}

// registered is where in the program http.ServeMux has a pattern from.
var registered = regexp.MustCompile(` \(registered at [^)]*\)`)
