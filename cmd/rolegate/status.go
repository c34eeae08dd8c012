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

func newStatus() *cobra.Command {
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
				_, err = io.WriteString(cmd.OutOrStdout(), s.text())
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
	Users int
	Cause string
}

// A pull is what is shown of a rolegate.RefreshStatus.
type pull struct {
	Running     bool    `json:"running"`
	Succeeded   uint64  `json:"succeeded"`
	Failed      uint64  `json:"failed"`
	Consecutive int     `json:"consecutive_failures"`
	Failure     string  `json:"failure"`
	Error       string  `json:"error"`
	NextIn      float64 `json:"next_in_seconds"`
}

// text writes a status for people: what is wrong, and otherwise little.
func (s *status) text() string {
	b := &strings.Builder{}
	line := func(what, format string, args ...any) {
		fmt.Fprintf(b, "  %-9s  %s\n", what, oneLine(fmt.Sprintf(format, args...)))
	}
	b.WriteString(s.State)
	if failing := s.failing(); failing != "" && s.State == string(rolegate.StateReady) {
		b.WriteString(", but " + oneLine(failing))
	}
	switch rolegate.State(s.State) {
	case rolegate.StateStarting:
		b.WriteString(": there is no list yet, and everything is denied")
	case rolegate.StateStale:
		b.WriteString(": the last contact is long ago; decisions are still made")
	case rolegate.StateExpired:
		b.WriteString(": the list is too old, and everything is denied")
	}
	b.WriteByte('\n')
	if rolegate.State(s.State).Serving() || s.State == string(rolegate.StateExpired) {
		line("list", "%s; last contact %s ago, revocations known up to %s ago (%s at most)",
			users(s.Users), seconds(s.ContactAge), seconds(s.VerifiedAge), seconds(s.ExpireAfter))
	}
	s.Incremental.text(line, "changes")
	s.Full.text(line, "full")
	var decisions []string
	for reason, n := range s.Decisions {
		if n > 0 {
			decisions = append(decisions, fmt.Sprintf("%s %d", reason, n))
		}
	}
	if slices.Sort(decisions); len(decisions) > 0 {
		line("decisions", "%s", strings.Join(decisions, ", "))
	}
	if s.Held.Users > 0 {
		why := "too many at once: a second full refresh must agree"
		if s.Held.Cause == "sync" {
			why = "a sync is running"
		}
		line("held", "%s gone from the list may pass still (%s)", users(s.Held.Users), why)
	}
	if s.Sync.State == rolegate.SyncRunning.String() {
		line("sync", "running: %s", s.Sync.Text)
	}
	if s.Sync.Error != "" {
		line("sync", "could not be asked about: %s", s.Sync.Error)
	}
	for _, kind := range slices.Sorted(maps.Keys(s.Ambiguous)) {
		if n := s.Ambiguous[kind]; n > 0 {
			line("ambiguous", "%d of the kind %s, each shared by several users: nobody enters by them", n, kind)
		}
	}
	for _, r := range s.UnassignedRoles {
		text := fmt.Sprintf("nobody on the list has %q, which a rule names", r.Code)
		if r.Known {
			text += "; the platform knows it"
		} else if r.Nearest != "" {
			text += fmt.Sprintf(": was %q meant?", r.Nearest)
		}
		line("roles", "%s", text)
	}
	if s.Replica != nil {
		text := "connected to the shared store"
		if !s.Replica.Connected {
			text = "shared store unavailable: it refreshes by itself"
		}
		line("replica", "%s", text)
	}
	if s.Cache.Error != "" {
		line("cache", "%s", s.Cache.Error)
	}
	return b.String()
}

func (p *pull) text(line func(what, format string, args ...any), what string) {
	next := "the next is due in " + seconds(p.NextIn)
	if p.Running {
		next = "one is running"
	}
	line(what, "%d succeeded, %d failed; %s", p.Succeeded, p.Failed, next)
	if p.Consecutive > 0 {
		line("", "%d in a row failed, the last with: %s", p.Consecutive, p.Error)
	}
}

// failing says which of the last pulls have failed, "" if none has.
func (s *status) failing() string {
	var all []string
	for _, kind := range []struct {
		pull
		one, several string
	}{{s.Incremental, "incremental refresh", "incremental refreshes"}, {s.Full, "full refresh", "full refreshes"}} {
		text := "the last " + kind.one + " failed"
		if kind.Consecutive > 1 {
			text = fmt.Sprintf("the last %d %s failed", kind.Consecutive, kind.several)
		}
		if kind.Failure != "" {
			text += " (" + kind.Failure + ")"
		}
		if kind.Consecutive > 0 {
			all = append(all, text)
		}
	}
	return strings.Join(all, " and ")
}

// unheld says of a role that a rule names it and nobody has it.
func unheld(r rolegate.UnassignedRole) string {
	switch {
	case r.Known:
		return fmt.Sprintf("nobody has %q, which the platform knows", r.Code)
	case r.Nearest != "":
		return fmt.Sprintf("nobody has %q: is %q meant?", r.Code, r.Nearest)
	}
	return fmt.Sprintf("nobody has %q", r.Code)
}

func users(n int) string {
	if n == 1 {
		return "1 user"
	}
	return fmt.Sprintf("%d users", n)
}
