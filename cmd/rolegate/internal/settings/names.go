package settings

import (
	"sort"
	"strings"
)

// keys are the keys of a settings file by the names that the library has for them
// in its messages.
var keys = map[string]string{
	"Config.BaseURL": "marketplace.url", "Config.AppID": "marketplace.app_id", "Config.Path": "marketplace.path",
	"Config.RoleListPath": "marketplace.role_list_path", "Config.PageSize": "marketplace.page_size",
	"Config.PageTimeout": "marketplace.page_timeout", "Config.MaxPageBytes": "marketplace.max_page_bytes",
	"Config.MaxUsers": "marketplace.max_users", "Config.UniqueSequences": "marketplace.unique_sequences",
	"Config.RefusedCodes": "marketplace.refused_codes", "Config.MaxRequestsPerSecond": "marketplace.max_requests_per_second",
	"Config.CacheBuster": "marketplace.cache_buster", "where Config.Token has its tokens from": "marketplace.token", "Config.Token": "marketplace.token",

	"Refresh.Every": "refresh.every", "Refresh.ResyncEvery": "refresh.resync_every", "Refresh.StaleAfter": "refresh.stale_after",
	"Refresh.ExpireAfter": "refresh.expire_after", "Refresh.MaxShrink": "refresh.max_shrink", "Refresh.ShrinkHold": "refresh.shrink_hold",
	"Refresh.SyncHold":  "refresh.sync_hold",
	"Refresh.ResyncMin": "refresh.resync_min", "Refresh.MaxAgeWait": "refresh.max_age_wait", "Refresh.LookBack": "refresh.look_back",
	// As the second and third in a message are called.
	"twice ResyncEvery (": "twice refresh.resync_every (", "(ResyncEvery is": "(refresh.resync_every is", "than ExpireAfter (": "than refresh.expire_after (",
	"and Off turns": "and on_deny.off turns", "write 30*time.Second": "write 30s", "a bare number is nanoseconds, ": "",

	"IdentityKey has": "log.identity_key has",

	"OnDeny.Off": "on_deny.off", "OnDeny.Wait": "on_deny.wait", "OnDeny.PerMinute": "on_deny.per_minute", "OnDeny.TTL": "on_deny.ttl",
}

var (
	inFile = replacer(keys)
	onLine = strings.NewReplacer(
		"marketplace.url", "--url", "marketplace.app_id", "--app-id", "marketplace.path", "--path", "marketplace.token", "--token-env or --token-file",
	)
)

// replacer takes long names first: Refresh.Every begins as others do.
func replacer(names map[string]string) *strings.Replacer {
	var old []string
	for name := range names {
		old = append(old, name)
	}
	sort.Slice(old, func(i, j int) bool { return len(old[i]) > len(old[j]) })
	var pairs []string
	for _, name := range old {
		pairs = append(pairs, name, names[name])
	}
	return strings.NewReplacer(pairs...)
}

// InFile names the keys of a settings file in a message that names fields of the
// library's.
func InFile(text string) string { return inFile.Replace(text) }

// OnLine names flags in place of the keys of a settings file, where there is no
// file.
func OnLine(text string) string { return onLine.Replace(InFile(text)) }

// A namedError is one whose message names keys or flags.
type namedError struct {
	error
	names func(string) string
}

func (e *namedError) Error() string { return e.names(e.error.Error()) }

func (e *namedError) Unwrap() error { return e.error }

// Named is err with a message that names what names does: [InFile] or [OnLine].
// It is nil if err is.
func Named(err error, names func(string) string) error {
	if err == nil {
		return nil
	}
	return &namedError{err, names}
}
