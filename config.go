package rolegate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/rolegate/rolegate/internal/clock"
	"github.com/rolegate/rolegate/internal/digest"
	"github.com/rolegate/rolegate/internal/index"
	"github.com/rolegate/rolegate/internal/panics"
	"github.com/rolegate/rolegate/internal/replication"
	"github.com/rolegate/rolegate/internal/snapshot"
)

// Config says what a [Gate] is to do. Source and Identify are needed; every
// other field's zero value is a default that suits most apps. [Open] takes a
// copy: changing a Config afterwards changes nothing.
type Config struct {
	_ struct{} // fields are named: a literal without names would break with each new one

	// Source is where the list of authorised users comes from, usually a
	// marketplace.Client.
	Source Source

	// Identify finds out who is asking: [ByUserID], [ByText], …
	Identify Identifier

	// Aliases are further kinds of identity to index, for a [Policy] that
	// decides about other kinds than Identify gives. User ids are always
	// indexed. With Aliases, Identify may be left zero by an app that guards
	// no HTTP at all; a guard then answers 500.
	Aliases []Kind

	// Keep names the strings of a user that handlers can read from [User].
	// The zero Keep keeps none: less memory, and less personal data.
	Keep Keep

	// Implies is the role hierarchy: the roles that a role includes.
	// {"admin": {"teacher"}} lets an admin pass wherever a teacher may. It is
	// followed all the way; a cycle is a mistake. A code that ends in .* (or :*,
	// /*, -*, _*) is a pattern, on both sides: {"teacher.*": {"staff"}}.
	Implies map[string][]string

	// Refresh says how often to pull and how old the list may become.
	Refresh Refresh

	// Cache keeps the last good index where a restart finds it, usually a
	// filecache.Cache. If it is there and no older than Refresh.ExpireAfter,
	// Open returns at once, and a full refresh follows. A restart makes nothing
	// younger. The Source must then have a method CacheKey() string that says
	// which list it is, as a marketplace.Client has. Nil keeps nothing.
	//
	// With a rediscache.Cache, all replicas of the app share one list: what one of
	// them has read counts for all. Nothing else changes.
	Cache Cache

	// StartEmpty makes Open return without waiting for the first list. Until it is
	// there, the gate answers 503.
	StartEmpty bool

	// ShadowAdmit lets users who are not listed pass [Gate.Admit], and guards
	// with [Shadow], while counting and logging them as refused. It is for
	// trying the gate on live traffic. Guards without Shadow refuse them still.
	ShadowAdmit bool

	// Deny shapes what a refused client sees; nil is [DenyProblem].
	Deny DenyFunc

	// Challenge is the WWW-Authenticate header of a 401 (RFC 9110 §11.6.1). ""
	// is Bearer, which no browser answers with a password dialog.
	Challenge string

	// AllowSharedCaches leaves the Cache-Control of what guarded handlers answer to
	// them. By default, an answer that says nothing is private: a proxy or CDN that
	// stores files by their Last-Modified must not hand one user's to another. A
	// handler that sets a Cache-Control has the last word; one that adds it, as
	// httputil.ReverseProxy does, adds to "private".
	AllowSharedCaches bool

	// Logger gets refusals, pulls and their failures; nil is slog.Default().
	// No log line has a secret, an account, an e-mail address or a name in it.
	Logger *slog.Logger

	// IdentityKey makes the digests by which refusals name identities that are no
	// user ids, in the log (identity_digest) and in a DecisionEvent, so that an operator
	// who knows the account finds its refusals: Explanation.IdentityDigest, rolegate
	// why and the console show the digest of an identity. Give []byte of at least 32
	// random bytes, and keep them secret: who has them can try accounts. With the
	// same key, digests are the same on all replicas and after a restart; nil is a
	// random one of the process.
	IdentityKey digest.Key

	// UpstreamSync tells whether a sync of organisations and users is running
	// upstream, usually a cloudcommand.Client. While one runs, removals are
	// held back for Refresh.SyncHold at most. Nil asks nobody.
	UpstreamSync SyncChecker

	// OnDeny is what happens before a user is refused for not being listed or
	// for lacking a role; its zero value looks once whether they have been granted
	// it meanwhile.
	OnDeny OnDeny

	// OnChange receives what each refresh but the first full refresh changed; after a start
	// from Cache, the first full refresh too. It runs in a goroutine of its own and holds
	// nothing up: changes that come while 64 wait are dropped, and counted in
	// Status.
	OnChange func(Change)

	// OnDecision receives every refusal, what a [Shadow] let pass, and of the
	// grants the part that SampleGrants says. It runs as OnChange does; events
	// that come while 1,024 wait are dropped, and counted in Status.
	OnDecision func(DecisionEvent)

	// SampleGrants is the part of the grants that OnDecision receives, chosen
	// at random: 0 none, 1 all.
	SampleGrants float64

	// RoleCodes fetches the role codes that the platform knows, such as
	// marketplace.Client's RoleCodes. It is asked when a check names a role
	// that nobody holds, to tell a typo from a role that is only new: see
	// Status.UnassignedRoles. Nil asks nobody.
	RoleCodes func(context.Context) ([]string, error)

	clock  func() clock.Instant
	random func() float64 // for jitter; nil is the global one
}

// Refresh says how a [Gate] keeps its list in step. Zero durations are
// defaults; negative ones, and ones shorter than a millisecond or longer than
// a year, are mistakes.
type Refresh struct {
	_ struct{}

	// Every is the time between incremental refreshes, which see what was granted
	// and changed: 60 s by default. Each is up to 10 % shorter or longer, so
	// that replicas spread.
	Every time.Duration

	// ResyncEvery is the time between full refreshes, which alone see what was
	// taken away: 10 min by default, likewise give or take 10 %.
	ResyncEvery time.Duration

	// StaleAfter is how long after the last refresh that succeeded the gate
	// begins to warn that it serves an old list: 5 min by default, or three
	// times Every if that is longer.
	StaleAfter time.Duration

	// ExpireAfter is how long after the last full refresh that succeeded the gate
	// denies everything with 503: 1 h by default, or three times ResyncEvery
	// if that is longer. It bounds how late a revocation can be whatever
	// happens. Less than twice ResyncEvery is a mistake.
	ExpireAfter time.Duration

	// MaxShrink is the part of the users, from 0 to 1, that a full refresh may
	// remove at once: 0.3 by default, and always 9 users. More, or all of them,
	// is what a broken import looks like, and is held: see ShrinkHold. So is the
	// loss of all roles by as many users, and that of a role by all of the ten or
	// more who had it. What is taken away within twice ShrinkHold counts together.
	MaxShrink float64

	// ShrinkHold is how long removals are held that MaxShrink does not allow: 15
	// min by default, or less if ExpireAfter is short. They are applied when that
	// is over and at least three full refreshes have agreed, or when an operator
	// accepts them: see [Gate.AcceptShrink]. Longer than ExpireAfter allows is a
	// mistake.
	ShrinkHold time.Duration

	// SyncHold is how long removals are held because Config.UpstreamSync says that a
	// sync is running, from the first one that is held: 30 min by default, or
	// less if ExpireAfter is short. Longer than that allows is a mistake.
	SyncHold time.Duration

	// ResyncMin is the time between full refreshes that requests with [MaxAge] cause:
	// at most one in 10 s by default.
	ResyncMin time.Duration

	// LookBack is how long a transaction of the source may take: its sequence is
	// taken when it begins, and its rows are seen when it ends, perhaps below what
	// was seen already. So an incremental refresh asks from the highest sequence
	// that was known that long before the last one: 2 min by default. Rows that
	// are seen again cost nothing but their transfer.
	LookBack time.Duration

	// MaxAgeWait is how long a request with [MaxAge] waits for such a full refresh:
	// 3 s by default.
	MaxAgeWait time.Duration
}

// settings is a Config that was found right, with the defaults filled in.
type settings struct {
	Config
	indexed  kindSet
	fields   index.FieldSet
	roles    *index.RoleSpace
	cacheKey string // of the Source, if there is a Cache

	shared replication.Store // of a Cache that replicas share; else nil
	lease  time.Duration     // how long a lease of it lasts
}

// mistake says what is wrong with a field, which its text begins with.
func mistake(format string, args ...any) error { return fmt.Errorf(format, args...) }

const (
	shortest = time.Millisecond
	longest  = 366 * 24 * time.Hour
)

// validate returns the settings, or all mistakes at once.
func (c Config) validate() (settings, error) {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, mistake(format, args...)) }

	sourceWorks := c.Source != nil
	if c.Source == nil {
		wrong("Source is nil: say where the list of authorised users comes from, such as marketplace.New(…)")
	} else if v, ok := c.Source.(Validator); ok {
		if err := v.Validate(); err != nil {
			wrong("Source: %w", err)
			sourceWorks = false
		}
	}
	s := settings{Config: c, indexed: c.Identify.kinds | 1<<KindUserID, fields: c.Keep.fields()}
	if c.Identify.identify == nil && len(c.Aliases) == 0 {
		wrong("Identify is not set: say who is asking with ByUserID or ByText")
	}
	for _, k := range c.Aliases {
		if k < KindUserID || k >= kinds {
			wrong("Aliases: %v is not a kind of identity: use KindAccount, KindEmail, …", k)
			continue
		}
		s.indexed |= 1 << k
	}
	for k := KindAccount; k < kinds; k++ {
		if s.indexed.has(k) {
			s.fields |= 1 << k.field()
		}
	}
	s.Aliases = slices.Clone(c.Aliases)

	s.Implies = maps.Clone(c.Implies)
	for code, included := range s.Implies {
		s.Implies[code] = slices.Clone(included)
	}
	roles, faults := index.NewRoleSpace(s.Implies)
	var mistakes []error
	for _, f := range faults {
		if f.Cycle != nil {
			mistakes = append(mistakes, mistake("Implies: %s is a cycle: leave one of these out", strings.Join(quoteAll(f.Cycle), " → ")))
		} else {
			mistakes = append(mistakes, mistake("Implies[%q]: a role code is empty: give every code as the marketplace spells it", f.Code))
		}
	}
	errs = append(errs, mistakes...)
	s.roles = roles

	errs = append(errs, s.Refresh.fill()...)
	errs = append(errs, s.OnDeny.fill()...)
	if v, ok := c.UpstreamSync.(Validator); ok {
		if err := v.Validate(); err != nil {
			wrong("UpstreamSync: %w", err)
		}
	}
	if v, ok := c.Cache.(Validator); ok {
		if err := v.Validate(); err != nil {
			wrong("Cache: %w", err)
		}
	}
	if c.Cache != nil && sourceWorks {
		if s.cacheKey = cacheKey(c.Source); s.cacheKey == "" {
			wrong("Cache: the Source does not say which list it is, so that one app could start with the users of another: give it a method CacheKey() string, as marketplace.Client has")
		}
	}
	if !(c.SampleGrants >= 0 && c.SampleGrants <= 1) {
		wrong("SampleGrants is %v: expected a part from 0 to 1, such as 0.01", c.SampleGrants)
	}
	if s.Deny == nil {
		s.Deny = DenyProblem
	}
	if s.Challenge == "" {
		s.Challenge = "Bearer"
	}
	if strings.ContainsAny(s.Challenge, "\r\n\x00") || !httpguts.ValidHeaderFieldName(strings.SplitN(s.Challenge, " ", 2)[0]) {
		wrong("Challenge: %q is not a WWW-Authenticate header: give a scheme and its parameters, such as Bearer realm=\"app\"", c.Challenge)
	}
	if n := len(c.IdentityKey); c.IdentityKey != nil && n < digest.MinKey {
		wrong("IdentityKey has %d bytes: expected at least %d random ones: make them with openssl rand -base64 48", n, digest.MinKey)
	}
	s.IdentityKey = slices.Clone(c.IdentityKey)
	if s.Logger == nil {
		s.Logger = slog.Default()
	}
	if s.clock == nil {
		s.clock = clock.Read
	}
	return s, errors.Join(errs...)
}

// fill checks the durations and puts in the defaults.
func (f *Refresh) fill() (errs []error) {
	usable := true
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"Every", f.Every}, {"ResyncEvery", f.ResyncEvery}, {"StaleAfter", f.StaleAfter}, {"ExpireAfter", f.ExpireAfter},
		{"ShrinkHold", f.ShrinkHold}, {"SyncHold", f.SyncHold}, {"ResyncMin", f.ResyncMin}, {"MaxAgeWait", f.MaxAgeWait}, {"LookBack", f.LookBack},
	} {
		if err := checkDuration("Refresh."+d.name, d.value); err != nil {
			errs = append(errs, err)
			usable = false
		}
	}
	f.Every = orDefault(f.Every, time.Minute)
	f.ResyncEvery = orDefault(f.ResyncEvery, 10*time.Minute)
	f.StaleAfter = orDefault(f.StaleAfter, max(5*time.Minute, 3*f.Every))
	f.ExpireAfter = orDefault(f.ExpireAfter, max(time.Hour, 3*f.ResyncEvery))
	f.SyncHold = orDefault(f.SyncHold, min(30*time.Minute, f.ExpireAfter/2, max(shortest, (f.ExpireAfter-f.ResyncEvery*5/4)*2/3)))
	f.ShrinkHold = orDefault(f.ShrinkHold, min(15*time.Minute, max(shortest, f.ExpireAfter-f.ResyncEvery*5/4)))
	f.ResyncMin = orDefault(f.ResyncMin, 10*time.Second)
	f.LookBack = orDefault(f.LookBack, 2*time.Minute)
	f.MaxAgeWait = orDefault(f.MaxAgeWait, 3*time.Second)
	if !(f.MaxShrink >= 0 && f.MaxShrink <= 1) {
		errs = append(errs, mistake("Refresh.MaxShrink is %v: expected a part from 0 to 1, such as 0.3; 0 is the default", f.MaxShrink))
	}
	if f.MaxShrink == 0 {
		f.MaxShrink = 0.3
	}
	if usable && f.ExpireAfter < 2*f.ResyncEvery {
		errs = append(errs, mistake("Refresh.ExpireAfter (%v) is less than twice ResyncEvery (%v): one full refresh that fails would close the gate; raise the first or lower the second", f.ExpireAfter, f.ResyncEvery))
	}
	if usable && len(errs) == 0 && f.SyncHold+f.ResyncEvery*5/4 > f.ExpireAfter {
		errs = append(errs, mistake("Refresh.SyncHold (%v) and a full refresh before it (ResyncEvery is %v) take longer than ExpireAfter (%v): whoever is held would be refused before it is over; lower the first or raise the last", f.SyncHold, f.ResyncEvery, f.ExpireAfter))
	}
	if usable && len(errs) == 0 && f.ShrinkHold+f.ResyncEvery*5/4 > f.ExpireAfter {
		errs = append(errs, mistake("Refresh.ShrinkHold (%v) and a full refresh before it (ResyncEvery is %v) take longer than ExpireAfter (%v): whoever is held would be refused before it is over; lower the first or raise the last", f.ShrinkHold, f.ResyncEvery, f.ExpireAfter))
	}
	return errs
}

// limits are what bounds the removals of a full refresh.
func (c *settings) limits() snapshot.Limits {
	r := &c.Refresh
	return snapshot.Limits{
		MaxShrink: r.MaxShrink, ShrinkHold: r.ShrinkHold, ConfirmAfter: min(time.Minute, r.ResyncEvery),
		SyncHold: r.SyncHold, ResyncEvery: r.ResyncEvery,
	}
}

func checkDuration(name string, d time.Duration) error {
	switch {
	case d < 0:
		return mistake("%s is negative (%v): 0 is the default, everything else is a time above 0", name, d)
	case d > 0 && d < shortest:
		return mistake("%s is %v: less than %v is surely a mistake; a bare number is nanoseconds, write 30*time.Second", name, d, shortest)
	case d > longest:
		return mistake("%s is %v: more than a year is surely a mistake", name, d)
	}
	return nil
}

// fill checks OnDeny and puts in the defaults.
func (o *OnDeny) fill() (errs []error) {
	errs = append(errs, checkDuration("OnDeny.Wait", o.Wait), checkDuration("OnDeny.TTL", o.TTL))
	if o.PerMinute < 0 || o.PerMinute > 6000 {
		errs = append(errs, mistake("OnDeny.PerMinute is %d: expected a number from 1 to 6000; 0 is the default of 30, and Off turns it off", o.PerMinute))
	}
	o.Wait = orDefault(o.Wait, time.Second)
	o.TTL = orDefault(o.TTL, 5*time.Second)
	if o.PerMinute == 0 {
		o.PerMinute = 30
	}
	return errs
}

func orDefault(d, def time.Duration) time.Duration {
	if d == 0 {
		return def
	}
	return d
}

// identify asks the app who is asking. It never panics.
func (c *settings) identify(r *http.Request) (id Identity, err error) {
	defer func() {
		if v := recover(); v != nil {
			id, err = Identity{}, panics.Of("the identify func", v)
		}
	}()
	if c.Identify.identify == nil {
		return Identity{}, errors.New("Config.Identify is not set")
	}
	return c.Identify.identify(r)
}

// OnDeny says what the gate does before it refuses a user who is not listed or
// lacks a role: they may have been granted it a moment ago. It makes one
// incremental refresh, shared by all who wait, and decides again, once.
type OnDeny struct {
	_ struct{}

	// Off refuses at once.
	Off bool

	// Wait is how long a request waits for the refresh: 1 s by default.
	Wait time.Duration

	// PerMinute is how many such pulls there are in any minute, whoever asks:
	// 30 by default. A flood of unknown ids costs the marketplace no more.
	PerMinute int

	// TTL is for how long an identity that was refused is refused again
	// without a refresh: 5 s by default.
	TTL time.Duration
}

func quoteAll(codes []string) []string {
	quoted := make([]string, len(codes))
	for i, code := range codes {
		quoted[i] = fmt.Sprintf("%q", code)
	}
	return quoted
}

func isBlank(s string) bool { return strings.TrimSpace(s) == "" }

// cacheKey says which list a source has, "" if it does not tell.
func cacheKey(s Source) string {
	if k, ok := s.(CacheKeyer); ok {
		return k.CacheKey()
	}
	return ""
}
