package marketplace

import (
	"fmt"
	"unicode/utf8"

	"github.com/rolegate/rolegate"
)

// roleList reads the value of roleList into the end of d.grants, and the userId
// that the roles name into owner. A role that is null, or without what makes it
// one, becomes a Grant without it: the gate drops and counts those.
func (d *decoder) roleList(r *rolegate.Record, owner *int64) error {
	switch d.PeekKind() {
	case 'n':
		r.NullRoles = true
		return d.SkipValue()
	case '[':
	default:
		d.fault(errRoleList, true)
		return d.SkipValue()
	}
	_, _ = d.ReadToken() // the '[' that was seen
	for d.PeekKind() != ']' {
		var g rolegate.Grant
		var err error
		switch d.PeekKind() {
		case 'n':
			err = d.SkipValue()
		case '{':
			err = d.role(&g, owner)
		default:
			d.fault(errRole, true)
			err = d.SkipValue()
		}
		if err != nil {
			return err
		}
		d.grants = append(d.grants, g)
	}
	_, err := d.ReadToken()
	return err
}

// role reads one object of roleList.
func (d *decoder) role(g *rolegate.Grant, owner *int64) error {
	_, _ = d.ReadToken() // the '{' that was seen
	var seen keySet
	for d.PeekKind() != '}' {
		name, err := d.name()
		if err != nil {
			return err
		}
		k := keyOf(name)
		switch k {
		case keyOrgID, keyRoleCode, keyUserID:
			if seen.add(k) {
				d.fault(errDuplicateKey, false)
			}
		default:
			if k == otherKey && !isIgnored(name) {
				if other := inOtherCase(name, keyOrgID, keyRoleCode, keyUserID); other != otherKey {
					d.fault(fmt.Errorf("roleList[].%s: expected this key in this case", keyNames[other]), true)
				}
			}
			if err := d.SkipValue(); err != nil {
				return err
			}
			continue
		}
		v, err := d.ReadValue()
		if err != nil {
			return err
		}
		if v.Kind() == 'n' || string(v) == `""` {
			continue // platforms of this kind write "" for null
		}
		switch k {
		case keyOrgID:
			var ok bool
			if g.OrgID, ok = d.Int(v); !ok {
				d.fault(errOrgID, true)
			}
		case keyRoleCode:
			if v.Kind() != '"' {
				d.fault(errRoleCode, true)
				break
			}
			code, ok := d.unquote(v)
			if !ok {
				d.noUTF8 = d.noUTF8 || !utf8.Valid(v)
				d.fault(errRoleCodeText, false)
				break
			}
			g.RoleCode = d.intern(code)
		case keyUserID:
			user, ok := d.Int(v)
			user = max(user, 0) // and -1 for a null number
			if !ok || user != 0 && *owner != 0 && *owner != user {
				d.fault(errRoleUser, true)
			}
			if user != 0 {
				*owner = user
			}
		}
	}
	_, err := d.ReadToken()
	return err
}

// intern returns code as a string, the same one for the same code.
func (d *decoder) intern(code []byte) string {
	if s, ok := d.codes[string(code)]; ok {
		return s
	}
	s := string(code)
	if len(d.codes) < maxInterned {
		d.codes[s] = s
	}
	return s
}
