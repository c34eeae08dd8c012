package doctor

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/rolegate/rolegate/internal/index"
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
		d.unassigned(p, codes, platform)
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

// unassigned says which codes rules name and nobody on the page holds, nor a role
// that includes them.
func (d *doctor) unassigned(p *page, held, platform []string) {
	named := d.file.Roles()
	if len(named) == 0 {
		return
	}
	hierarchy, _ := index.NewRoleSpace(d.file.Implies) // mistakes in it are told with the settings
	all := true
	for _, code := range named {
		if holds(hierarchy, held, code) {
			continue
		}
		all = false
		near := typo.Nearest(code, slices.Values(slices.Concat(platform, held)))
		switch {
		case slices.ContainsFunc(platform, func(known string) bool { return index.Matches(code, known) }):
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

// holds reports whether one of the roles that are held counts as code, by itself or
// by the hierarchy. All but what is held may be patterns.
func holds(hierarchy *index.RoleSpace, held []string, code string) bool {
	roles, patterns := hierarchy.Satisfying(code)
	known := hierarchy.Publish()
	return slices.ContainsFunc(held, func(role string) bool {
		return slices.ContainsFunc(roles, func(r uint16) bool { return known.Code(r) == role }) ||
			slices.ContainsFunc(patterns, func(p string) bool { return index.Matches(p, role) })
	})
}

// whole reports whether the page is known to be the whole list.
func (p *page) whole() bool { return p.probed && p.probeErr == nil && !p.more && !p.below }
