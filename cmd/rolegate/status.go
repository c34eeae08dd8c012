package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/cmd/rolegate/internal/control"
	"github.com/rolegate/rolegate/cmd/rolegate/internal/lang"
	"github.com/rolegate/rolegate/cmd/rolegate/internal/settings"
)

// serverFlags are how a command finds the server that runs on this machine.
type serverFlags struct{ file, socket string }

const socketVariable = "ROLEGATE_CONTROL"

func (f *serverFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&f.file, "config", "c", "", "the settings `file` of the server, for its control socket")
	cmd.Flags().StringVar(&f.socket, "socket", "", "the `path` of the control socket ($"+socketVariable+")")
	cmd.MarkFlagsMutuallyExclusive("config", "socket")
	_ = cmd.MarkFlagFilename("config", "yaml", "yml")
	_ = cmd.MarkFlagFilename("socket")
}

func (f *serverFlags) client() (*control.Client, error) {
	path := f.socket
	if f.file != "" {
		var err error
		if path, err = settings.ControlOf(f.file); err != nil {
			return nil, usage(err)
		}
		if path == "" {
			return nil, usage(fmt.Errorf("%s opens no control socket: add control: PATH to it, and restart the server", f.file))
		}
	}
	if path == "" {
		path = os.Getenv(socketVariable)
	}
	if path == "" {
		return nil, usage(errors.New("where is the server? give its settings file with -c, its control socket with --socket, or " + socketVariable))
	}
	return control.NewClient(path), nil
}

func newStatus(l lang.Language) *cobra.Command {
	var server serverFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Tell how a running server is",
		Long: `status asks the server that runs on this machine how its list is. The exit code is
0 while it serves, and 3 while it denies everything, because it has no list or
one that is too old.`,
		Example: `  rolegate status -c rolegate.yaml
  rolegate status --socket /run/rolegate/control.sock --json
  docker compose exec rolegate rolegate status`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := server.client()
			if err != nil {
				return err
			}
			text, err := client.Status(cmd.Context())
			if err != nil {
				return err
			}
			var s status
			if err := json.Unmarshal(text, &s); err != nil {
				return fmt.Errorf("the answer cannot be read: are both of the same version? %w", err)
			}
			if asJSON {
				err = writeJSON(cmd.OutOrStdout(), json.RawMessage(text))
			} else {
				_, err = io.WriteString(cmd.OutOrStdout(), s.text(l))
			}
			if err == nil && !rolegate.State(s.State).Serving() {
				err = no()
			}
			return err
		},
	}
	server.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "answer with everything, as JSON")
	return cmd
}

// status is what is shown of a rolegate.Status.
type status struct {
	State           string                              `json:"state"`
	Users           int                                 `json:"users"`
	ContactAge      float64                             `json:"contact_age_seconds"`
	VerifiedAge     float64                             `json:"verified_age_seconds"`
	ExpireAfter     float64                             `json:"expire_after_seconds"`
	Incremental     pull                                `json:"incremental"`
	Full            pull                                `json:"full"`
	Decisions       map[string]uint64                   `json:"decisions"`
	Held            held                                `json:"held"`
	Sync            struct{ State, Text, Error string } `json:"sync"`
	Ambiguous       map[string]int                      `json:"ambiguous_aliases"`
	Replica         *struct{ Connected bool }           `json:"replica"`
	Cache           struct{ Error string }              `json:"cache"`
	UnassignedRoles []rolegate.UnassignedRole           `json:"unassigned_roles"`
}

// A held is what is shown of a rolegate.HeldStatus.
type held struct {
	Users     int
	LostRoles int `json:"lost_roles"`
	Cause     string
}

// A pull is what is shown of a rolegate.RefreshStatus.
type pull struct {
	Running     bool    `json:"running"`
	Succeeded   uint64  `json:"succeeded"`
	Failed      uint64  `json:"failed"`
	Repeated    uint64  `json:"repeated_pages"`
	Consecutive int     `json:"consecutive_failures"`
	Failure     string  `json:"failure"`
	Error       string  `json:"error"`
	NextIn      float64 `json:"next_in_seconds"`
	Outcome     outcome `json:"outcome"`
}

// An outcome is what is shown of a rolegate.RefreshOutcome: what is odd about the list.
type outcome struct {
	BadRecords    int `json:"bad_records"`
	DroppedGrants int `json:"dropped_grants"`
	NullRoles     int `json:"null_roles"`
	Late          int `json:"late"`
}

// text writes a status for people: what is wrong, and otherwise little.
func (s *status) text(l lang.Language) string {
	b := &page{Language: l, width: 9}
	failing := s.failing(l)
	switch state := rolegate.State(s.State); {
	case state == rolegate.StateStarting:
		b.say("starting: there is no list yet, and everything is denied")
	case state == rolegate.StateStale:
		b.say("stale: the last contact is long ago; decisions are still made")
	case state == rolegate.StateExpired:
		b.say("expired: the list is too old, and everything is denied")
	case state == rolegate.StateReady && failing != "":
		b.say("ready, but %s", failing)
	default:
		b.say("%s", s.State)
	}
	b.WriteByte('\n')
	if rolegate.State(s.State).Serving() || s.State == string(rolegate.StateExpired) {
		b.line("list", "%s; last contact %s ago, revocations known up to %s ago (%s at most)",
			users(l, s.Users), seconds(s.ContactAge), seconds(s.VerifiedAge), seconds(s.ExpireAfter))
	}
	s.Incremental.text(b, "changes")
	s.Full.text(b, "full")
	var decisions []string
	for reason, n := range s.Decisions {
		if n > 0 {
			decisions = append(decisions, fmt.Sprintf("%s %d", reason, n))
		}
	}
	if slices.Sort(decisions); len(decisions) > 0 {
		b.line("decisions", "%s", strings.Join(decisions, ", "))
	}
	if s.Held.Users > 0 {
		switch s.Held.Cause {
		case "sync":
			b.line("held", "%s gone from the list may pass still (a sync is running)", users(l, s.Held.Users))
		case "doubt":
			b.line("held", "%s gone from the list may pass still (a server may lag behind: another full refresh must agree)", users(l, s.Held.Users))
		default:
			b.line("held", "%s gone from the list may pass still (too many at once: further full refreshes must agree)", users(l, s.Held.Users))
		}
	}
	if s.Held.LostRoles > 0 {
		b.line("held", "%s who have lost roles have them still (too many at once: further full refreshes must agree)", users(l, s.Held.LostRoles))
	}
	if o := s.Full.Outcome; o != (outcome{}) {
		b.line("list", "invalid records: %d; roles dropped as incomplete: %d; null for roles: %d; changes seen late: %d", o.BadRecords, o.DroppedGrants, o.NullRoles, o.Late)
	}
	if s.Sync.State == rolegate.SyncRunning.String() {
		b.line("sync", "running: %s", s.Sync.Text)
	}
	if s.Sync.Error != "" {
		b.line("sync", "could not be asked about: %s", l.Text(s.Sync.Error))
	}
	for _, kind := range slices.Sorted(maps.Keys(s.Ambiguous)) {
		if n := s.Ambiguous[kind]; n > 0 {
			b.line("ambiguous", "%d of the kind %s, each shared by several users: nobody enters by them", n, kind)
		}
	}
	for _, r := range s.UnassignedRoles {
		switch {
		case r.Known:
			b.line("roles", "nobody on the list has %q, which a rule names; the platform knows it", r.Code)
		case r.Nearest != "":
			b.line("roles", "nobody on the list has %q, which a rule names: was %q meant?", r.Code, r.Nearest)
		default:
			b.line("roles", "nobody on the list has %q, which a rule names", r.Code)
		}
	}
	if s.Replica != nil {
		text := "connected to the shared store"
		if !s.Replica.Connected {
			text = "shared store unavailable: it refreshes by itself"
		}
		b.line("replica", text)
	}
	if s.Cache.Error != "" {
		b.line("cache", "%s", l.Text(s.Cache.Error))
	}
	return b.String()
}

func (p *pull) text(b *page, what string) {
	next := b.Sprintf("the next is due in %s", seconds(p.NextIn))
	if p.Running {
		next = b.Sprintf("one is running")
	}
	b.line(what, "%d succeeded, %d failed; %s", p.Succeeded, p.Failed, next)
	if p.Consecutive > 0 {
		b.line("", "%d in a row failed, the last with: %s", p.Consecutive, b.Text(p.Error))
	}
	if p.Repeated > 0 {
		b.line("", "pages that were asked for again: %d", p.Repeated)
	}
}

// failing says which of the last pulls have failed, "" if none has.
func (s *status) failing(l lang.Language) string {
	var all []string
	for _, kind := range []struct {
		pull
		one, several string
	}{
		{s.Incremental, "the last incremental refresh failed", "the last %d incremental refreshes failed"},
		{s.Full, "the last full refresh failed", "the last %d full refreshes failed"},
	} {
		text := l.Sprintf(kind.one)
		if kind.Consecutive > 1 {
			text = l.Sprintf(kind.several, kind.Consecutive)
		}
		if kind.Failure != "" {
			text += " (" + kind.Failure + ")"
		}
		if kind.Consecutive > 0 {
			all = append(all, text)
		}
	}
	return strings.Join(all, l.Sprintf(" and "))
}

// unassigned says of a role that a rule names it and nobody has it.
func unassigned(l lang.Language, r rolegate.UnassignedRole) string {
	switch {
	case r.Known:
		return l.Sprintf("nobody has %q, which the platform knows", r.Code)
	case r.Nearest != "":
		return l.Sprintf("nobody has %q: is %q meant?", r.Code, r.Nearest)
	}
	return l.Sprintf("nobody has %q", r.Code)
}
