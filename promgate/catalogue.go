package promgate

import (
	"math"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/marketplace"
)

const (
	counter = prometheus.CounterValue
	gauge   = prometheus.GaugeValue
)

// The catalogue is every metric. What a label can be is known beforehand, and
// each value is told from the first scrape on, so that rates begin at 0 and
// nothing is missing for having never happened.
var catalogue = []struct {
	name   string
	kind   prometheus.ValueType
	labels []string
	help   string
	read   func(s *rolegate.Status, set set)
}{
	{"state", gauge, []string{"state"}, "1 for the state that the gate is in, 0 for the others.",
		func(s *rolegate.Status, set set) {
			for _, state := range states {
				set(truth(s.State == state), string(state))
			}
		}},
	{"decisions_total", counter, []string{"decision", "reason"}, "Decisions, by reason. Those that a Shadow let pass count as deny.",
		func(s *rolegate.Status, set set) {
			for _, r := range reasons {
				decision := "deny"
				if r == rolegate.ReasonGranted {
					decision = "allow"
				}
				set(float64(s.Decisions[r]), decision, r.String())
			}
		}},
	{"shadowed_decisions_total", counter, nil, "Decisions to deny that a Shadow let pass.",
		func(s *rolegate.Status, set set) { set(float64(s.Shadowed)) }},
	{"stale_decisions_total", counter, nil, "Decisions that were made while the list was stale.",
		func(s *rolegate.Status, set set) { set(float64(s.StaleDecisions)) }},

	{"last_contact_timestamp_seconds", gauge, nil, "Start of the last refresh that succeeded, 0 before the first.",
		func(s *rolegate.Status, set set) { set(unix(s.Contact)) }},
	{"verified_timestamp_seconds", gauge, nil, "Start of the last full refresh that succeeded and held nothing back: what was revoked before it is known. 0 before the first.",
		func(s *rolegate.Status, set set) { set(unix(s.Verified)) }},
	{"contact_age_seconds", gauge, nil, "Age of the last refresh that succeeded, by the gate's own clocks; infinite before the first.",
		func(s *rolegate.Status, set set) { set(age(s.Contact, s.ContactAge)) }},
	{"verified_age_seconds", gauge, nil, "Age of the last full refresh that succeeded and held nothing back, by the gate's own clocks; infinite before the first.",
		func(s *rolegate.Status, set set) { set(age(s.Verified, s.VerifiedAge)) }},

	{"index_users", gauge, nil, "Listed users.",
		func(s *rolegate.Status, set set) { set(float64(s.Users)) }},
	{"index_grants", gauge, nil, "Roles of listed users, counted for each organisation.",
		func(s *rolegate.Status, set set) { set(float64(s.Grants)) }},
	{"index_roles", gauge, nil, "Different role codes that the list has had, and those that checks name.",
		func(s *rolegate.Status, set set) { set(float64(s.Roles)) }},
	{"index_unassigned_roles", gauge, nil, "Role codes that checks name and nobody holds.",
		func(s *rolegate.Status, set set) { set(float64(len(s.UnassignedRoles))) }},
	{"index_ambiguous_aliases", gauge, []string{"kind"}, "Aliases that several users share, for each kind of identity that is indexed.",
		func(s *rolegate.Status, set set) {
			for kind, n := range s.Ambiguous {
				set(float64(n), kind.String())
			}
		}},
	{"lists_published_total", counter, nil, "Lists that were published.",
		func(s *rolegate.Status, set set) { set(float64(s.Generation)) }},
	{"held_removals", gauge, nil, "Users who are gone from the list, but whose removal is held back.",
		func(s *rolegate.Status, set set) { set(float64(s.Held.Users)) }},
	{"held_lost_roles", gauge, nil, "Listed users whose loss of roles is held back.",
		func(s *rolegate.Status, set set) { set(float64(s.Held.LostRoles)) }},
	{"held_since_timestamp_seconds", gauge, nil, "Start of the refresh that first held removals or lost roles back, 0 if none are.",
		func(s *rolegate.Status, set set) { set(unix(s.Held.Since)) }},

	{"sync_total", counter, []string{"kind", "result"}, "Pulls that ended, by kind and whether they succeeded.",
		pulls(func(p rolegate.RefreshStatus, kind string, set set) {
			set(float64(p.Succeeded), kind, "success")
			set(float64(p.Failed), kind, "failure")
		})},
	{"sync_failures_total", counter, []string{"reason"}, "Pulls of either kind that failed, by reason.",
		func(s *rolegate.Status, set set) {
			other := s.Failures[rolegate.FailureOther]
			for _, f := range failures {
				set(float64(s.Failures[f]), string(f))
			}
			for f, n := range s.Failures {
				switch {
				case f == rolegate.FailureOther || slices.Contains(failures, f):
				case isWord(string(f)): // a source's own
					set(float64(n), string(f))
				default:
					other += n
				}
			}
			set(float64(other), string(rolegate.FailureOther))
		}},
	{"sync_duration_seconds", gauge, []string{"kind"}, "Duration of the last refresh that ended.",
		pulls(func(p rolegate.RefreshStatus, kind string, set set) { set(p.Duration.Seconds(), kind) })},
	{"sync_repeated_pages_total", counter, []string{"kind"}, "Pages that were asked for again, because the reply was missing, spoilt or a refusal.",
		pulls(func(p rolegate.RefreshStatus, kind string, set set) { set(float64(p.Repeated), kind) })},
	{"sync_token_renewals_total", counter, nil, "Access tokens that were asked for after the first, because one was refused or about to end.",
		func(s *rolegate.Status, set set) { set(float64(s.TokenRenewals)) }},
	{"sync_running", gauge, []string{"kind"}, "1 while a refresh is running.",
		pulls(func(p rolegate.RefreshStatus, kind string, set set) { set(truth(p.Running), kind) })},
	{"sync_last_success_timestamp_seconds", gauge, []string{"kind"}, "Start of the last refresh that succeeded, 0 before the first.",
		pulls(func(p rolegate.RefreshStatus, kind string, set set) { set(unix(p.Last), kind) })},
	{"sync_consecutive_failures", gauge, []string{"kind"}, "Failures since the last refresh that succeeded.",
		pulls(func(p rolegate.RefreshStatus, kind string, set set) { set(float64(p.Consecutive), kind) })},
	{"sync_next_in_seconds", gauge, []string{"kind"}, "Time until the next refresh is due.",
		pulls(func(p rolegate.RefreshStatus, kind string, set set) { set(p.NextIn.Seconds(), kind) })},
	{"sync_last_outcome", gauge, []string{"kind", "item"}, "What the last refresh that succeeded came to.",
		pulls(func(p rolegate.RefreshStatus, kind string, set set) {
			o := p.Outcome
			set(float64(o.Records), kind, "records")
			set(float64(o.Added), kind, "added")
			set(float64(o.Removed), kind, "removed")
			set(float64(o.Changed), kind, "changed")
			set(float64(o.LostAllRoles), kind, "lost_all_roles")
			set(float64(o.BadRecords), kind, "bad_records")
			set(float64(o.NullRoles), kind, "null_roles")
			set(float64(o.DroppedGrants), kind, "dropped_grants")
			set(float64(o.Late), kind, "late")
			set(float64(o.Duplicates), kind, "duplicates")
			set(float64(o.Conflicts), kind, "conflicts")
			set(float64(o.Held), kind, "held")
			set(float64(o.Repeated), kind, "repeated_pages")
		})},

	{"upstream_sync_state", gauge, []string{"state"}, "1 for what Config.UpstreamSync said last of the sync upstream, 0 for the others.",
		func(s *rolegate.Status, set set) {
			for _, state := range []rolegate.SyncState{rolegate.SyncUnknown, rolegate.SyncRunning, rolegate.SyncDone} {
				set(truth(s.Sync.State == state), state.String())
			}
		}},
	{"upstream_sync_checked_timestamp_seconds", gauge, nil, "When Config.UpstreamSync was asked last, 0 if never.",
		func(s *rolegate.Status, set set) { set(unix(s.Sync.Checked)) }},
	{"upstream_sync_failures_total", counter, nil, "Times that Config.UpstreamSync could not tell.",
		func(s *rolegate.Status, set set) { set(float64(s.Sync.Failed)) }},

	{"cache_loaded", gauge, nil, "1 if the gate has started from what Config.Cache had stored.",
		func(s *rolegate.Status, set set) { set(truth(s.Cache.Loaded)) }},
	{"cache_stores_total", counter, nil, "Times that the index was stored.",
		func(s *rolegate.Status, set set) { set(float64(s.Cache.Stored)) }},
	{"cache_failures_total", counter, nil, "Times that loading or storing the index failed.",
		func(s *rolegate.Status, set set) { set(float64(s.Cache.Failed)) }},
	{"cache_stored_timestamp_seconds", gauge, nil, "When the index was stored last, 0 if never.",
		func(s *rolegate.Status, set set) { set(unix(s.Cache.Last)) }},

	{"replica_shared", gauge, nil, "1 if replicas share Config.Cache.",
		func(s *rolegate.Status, set set) { set(truth(s.Replica.Shared)) }},
	{"replica_connected", gauge, nil, "1 if what replicas share has answered last time; 0 without one too.",
		func(s *rolegate.Status, set set) { set(truth(s.Replica.Connected)) }},
	{"replica_since_timestamp_seconds", gauge, nil, "Since when that is so, 0 if replicas share nothing.",
		func(s *rolegate.Status, set set) { set(unix(s.Replica.Since)) }},
	{"replica_base_timestamp_seconds", gauge, nil, "When the full refresh began that is published and that the gate uses, 0 if there is none.",
		func(s *rolegate.Status, set set) { set(unix(s.Replica.Base)) }},
	{"replica_lease", gauge, []string{"kind"}, "1 if the gate makes the refreshes of that kind for all replicas at the moment.",
		func(s *rolegate.Status, set set) {
			for _, kind := range []string{"incremental", "full"} {
				set(truth(slices.Contains(s.Replica.Leases, kind)), kind)
			}
		}},

	{"dropped_events_total", counter, []string{"hook"}, "Events that a hook was too slow for.",
		func(s *rolegate.Status, set set) {
			set(float64(s.DroppedChanges), "change")
			set(float64(s.DroppedDecisions), "decision")
		}},
	{"build_info", gauge, []string{"version", "goversion"}, "1, with the versions of rolegate and of Go.",
		func(_ *rolegate.Status, set set) { set(1, version, goVersion) }},
}

var version, goVersion = buildInfo()

var states = []rolegate.State{
	rolegate.StateStarting, rolegate.StateReady, rolegate.StateStale, rolegate.StateExpired, rolegate.StateClosed,
}

var reasons = []rolegate.Reason{
	rolegate.ReasonNotReady, rolegate.ReasonGranted, rolegate.ReasonNoIdentity, rolegate.ReasonIdentifyFailed, rolegate.ReasonExpired, rolegate.ReasonNotAuthorized,
	rolegate.ReasonRoleMissing, rolegate.ReasonConditionFailed, rolegate.ReasonOrgUnreadable, rolegate.ReasonTooOld, rolegate.ReasonClosed, rolegate.ReasonAmbiguous,
	rolegate.ReasonClientGone,
}

// failures are the reasons that the root package knows, but for FailureOther.
var failures = []rolegate.Failure{
	marketplace.FailureNetwork, rolegate.FailureTimeout, rolegate.FailureHTTPStatus, rolegate.FailureRefused, marketplace.FailureToken,
	marketplace.FailureUpstream, marketplace.FailureMalformed, rolegate.FailureTooLarge, marketplace.FailureCachedReply, marketplace.FailureCursorLoop,
	marketplace.FailureCursorTie, rolegate.FailureCursorRegressed, marketplace.FailureDescending, rolegate.FailureOlderList, rolegate.FailureDrift, rolegate.FailurePanic,
}

// pulls reads a metric of both kinds of pull.
func pulls(read func(p rolegate.RefreshStatus, kind string, set set)) func(*rolegate.Status, set) {
	return func(s *rolegate.Status, set set) {
		read(s.Incremental, "incremental", set)
		read(s.Full, "full", set)
	}
}

// isWord reports whether a failure that a source has named is what
// rolegate.Failure asks for: anything else would be an upstream's text.
func isWord(s string) bool {
	return s != "" && len(s) <= 40 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789_") == ""
}

// unix is a time as Prometheus writes it, 0 for one that has not come to pass.
func unix(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixNano()) / 1e9
}

// age is how old something is that happened at since: what has not happened is
// older than everything, so that an alert on its age goes off.
func age(since time.Time, age time.Duration) float64 {
	if since.IsZero() {
		return math.Inf(1)
	}
	return age.Seconds()
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
