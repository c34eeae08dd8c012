package doctor

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/rolegate/rolegate/cmd/rolegate/internal/settings"
	"github.com/rolegate/rolegate/internal/typo"
)

const (
	shownRoles = 5  // of those that are held, the ones with the most holders
	shownCodes = 10 // of any other list of codes
)

// roles says which roles are held, and which ones rules name and nobody holds.
func (d *doctor) roles(ctx context.Context, p *page) {
	holders, users, without, dropped := map[string]int{}, 0, 0, 0
	for _, r := range p.records {
		if r.Bad != nil || r.UserID <= 0 {
			continue
		}
		users++
		own := map[string]bool{}
		for _, g := range r.Grants {
			if g.OrgID <= 0 || g.RoleCode == "" {
				dropped++
				continue
			}
			own[g.RoleCode] = true
		}
		if len(own) == 0 {
			without++
		}
		for code := range own {
			holders[code]++
		}
	}
	codes := slices.SortedFunc(maps.Keys(holders), func(a, b string) int {
		return cmp.Or(cmp.Compare(holders[b], holders[a]), cmp.Compare(a, b))
	})
	switch {
	case users == 0:
	case len(codes) == 0:
		d.say("roles.none")
	default:
		var shown list
		for _, code := range codes[:min(len(codes), shownRoles)] {
			shown = append(shown, fmt.Sprintf("%s (%d)", d.code(code), holders[code]))
		}
		d.say("roles.held", len(codes), shown)
	}
	if without > 0 && len(codes) > 0 {
		d.say("roles.without", without)
	}
	if dropped > 0 {
		d.say("roles.dropped", dropped)
	}
	d.alike(codes)
	platform := d.platformRoles(ctx)
	if d.Path != "" && users > 0 {
		d.unheld(p, codes, platform)
	}
}

// code is a role code as it may be shown.
func (d *doctor) code(code string) string { return d.secrets.Message(code) }

func (d *doctor) codes(codes []string) (shown list) {
	for _, code := range codes[:min(len(codes), shownCodes)] {
		shown = append(shown, d.code(code))
	}
	return shown
}

// alike says which codes differ only in case, blanks and what cannot be seen.
func (d *doctor) alike(codes []string) {
	groups := map[string][]string{}
	for _, code := range codes {
		plain := strings.Map(func(r rune) rune {
			if unicode.IsSpace(r) || !unicode.IsPrint(r) {
				return -1
			}
			return unicode.ToLower(r)
		}, code)
		groups[plain] = append(groups[plain], code)
	}
	for _, plain := range slices.Sorted(maps.Keys(groups)) {
		var quoted list
		slices.Sort(groups[plain])
		for _, code := range groups[plain] {
			quoted = append(quoted, fmt.Sprintf("%q", d.code(code)))
		}
		if len(quoted) > 1 {
			d.say("roles.alike", quoted)
		} else if code := groups[plain][0]; strings.TrimSpace(code) != code {
			d.say("roles.blanks", quoted)
		}
	}
}

// platformRoles asks for the platform's own list of roles, if it is known where.
func (d *doctor) platformRoles(ctx context.Context) []string {
	if d.file.Marketplace.RoleListPath == "" || ctx.Err() != nil {
		return nil
	}
	d.recorder.allow("")
	codes, err := d.client.RoleCodes(ctx)
	if err != nil {
		d.say("roles.list_failed", d.detail(err))
		return nil
	}
	d.say("roles.list", len(codes), d.codes(codes))
	return codes
}

// unheld says which codes rules name and nobody on the page holds, nor a role
// that includes them.
func (d *doctor) unheld(p *page, held, platform []string) {
	named := d.named()
	if len(named) == 0 {
		return
	}
	satisfied := map[string]bool{}
	for _, code := range held {
		d.include(code, satisfied)
	}
	all := true
	for _, code := range named {
		if satisfied[code] {
			continue
		}
		all = false
		near := typo.Nearest(code, slices.Values(slices.Concat(platform, held)))
		switch {
		case slices.Contains(platform, code):
			d.say("roles.not_held_yet", d.code(code))
		case len(platform) > 0 && near != "":
			d.say("roles.unknown_near", d.code(code), d.code(near))
		case len(platform) > 0:
			d.say("roles.unknown", d.code(code))
		case !p.whole():
			d.say("roles.not_on_page", d.code(code))
		case near != "":
			d.say("roles.not_held_near", d.code(code), d.code(near))
		default:
			d.say("roles.not_held", d.code(code))
		}
	}
	if all {
		d.say("roles.rules", len(named))
	}
}

// whole reports whether the page is known to be the whole list.
func (p *page) whole() bool { return p.probed && p.probeErr == nil && !p.more && !p.below }

// include adds a code and all that it includes.
func (d *doctor) include(code string, to map[string]bool) {
	if to[code] {
		return
	}
	to[code] = true
	for _, included := range d.file.Implies[code] {
		d.include(included, to)
	}
}

// named are the codes that the rules name, each once, by code.
func (d *doctor) named() []string {
	var all []settings.Checks
	if a := d.file.ForwardAuth; a != nil {
		for _, r := range a.Rules {
			all = append(all, r.Checks)
		}
	}
	if a := d.file.AuthZEN; a != nil {
		for _, r := range a.Rules {
			all = append(all, r.Checks)
		}
	}
	if a := d.file.Admin; a != nil && a.Console != nil {
		all = append(all, *a.Console)
	}
	var codes []string
	for _, c := range all {
		codes = slices.Concat(codes, c.AnyRole, c.AllRoles, c.NoRole)
		for _, e := range c.Either {
			codes = slices.Concat(codes, e.AnyRole, e.AllRoles, e.NoRole)
		}
	}
	slices.Sort(codes)
	return slices.Compact(codes)
}
