package marketplace

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/rolegate/rolegate/internal/wire"
)

// RoleCodes returns the codes of the app's roles, each once and in the
// marketplace's order, without empty ones. As a method value it is what
// rolegate.Config.RoleCodes wants, to tell a mistyped role from one that nobody
// holds yet. It needs Config.RoleListPath, and returns an error that says so if
// that is not set.
//
// It makes one request, checked as strictly as a page of users and with the same
// token; the request has no limit, since the call has no pages. One role that
// cannot be understood fails it as a whole: there is nobody to bar, and half of
// the codes would make typos of the other half.
//
// It blocks until the reply has been read or ctx ends, and takes at most four
// times Config.PageTimeout. Its other errors are as those of [Client.Pull].
func (c *Client) RoleCodes(ctx context.Context) ([]string, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.rolesURL == "" {
		return nil, errors.New("marketplace: Config.RoleListPath is empty: set it to the path, below BaseURL, of the call that lists the app's roles")
	}
	f := c.fetcher(c.rolesURL)
	var codes []string
	f.decode = func(body []byte) (e envelope, err error) {
		codes = nil
		var bad error
		e, err = f.decoder.parseEnvelope(body, func() (err error) {
			codes, bad, err = f.decoder.roleCodes()
			return err
		})
		if err == nil && e.ok() {
			err = bad
		}
		return e, err
	}
	r, err := f.fetch(ctx, "", false)
	if err != nil {
		return nil, err
	}
	if r.data != dataList {
		return nil, f.fail(FailureMalformed, errNoArray)
	}
	if err := f.ownDate(c.roles, 0, r); err != nil {
		return nil, err
	}
	return codes, nil
}

// Why a role cannot be understood.
var (
	errListedRole     = errors.New("expected an object")
	errListedRoleCode = errors.New("roleCode: expected a string")
	errRoleCodeUTF8   = errors.New("roleCode: expected valid UTF-8")
)

// The keys of a role that are read. The others (roleId, roleName) are ignored,
// as they are in a user's roleList.
var roleKeys = []string{"roleCode"}

// roleCodes reads the array that comes next. Why one of the roles cannot be
// understood is in bad; err is of the syntax.
func (s *scanner) roleCodes() (codes []string, bad, err error) {
	_, _ = s.ReadToken()              // the '[' that was seen
	seen := map[string]bool{"": true} // an empty code names no role
	for n := 1; s.PeekKind() != ']'; n++ {
		code, badRole, err := s.roleCode()
		if err != nil {
			return nil, nil, err
		}
		if badRole != nil && bad == nil {
			bad = fmt.Errorf("role %d of the list: %w", n, badRole)
		}
		if !seen[code] {
			seen[code] = true
			codes = append(codes, code)
		}
	}
	_, err = s.ReadToken()
	return codes, bad, err
}

// roleCode reads the next role.
func (s *scanner) roleCode() (code string, bad, err error) {
	if s.PeekKind() != '{' {
		return "", errListedRole, s.SkipValue()
	}
	_, _ = s.ReadToken() // the '{' that was seen
	found := false
	for s.PeekKind() != '}' {
		name, err := s.ReadValue()
		if err != nil {
			return "", nil, err
		}
		key := string(s.Unquote(name))
		v, err := s.ReadValue()
		switch {
		case err != nil:
			return "", nil, err
		case key != "roleCode":
			if err := wire.OtherCase(key, roleKeys, ""); err != nil {
				bad = cmp.Or(bad, err)
			}
			continue
		case found:
			bad = cmp.Or(bad, errDuplicateKey)
		case v.Kind() != '"':
			bad = cmp.Or(bad, errListedRoleCode)
		default:
			text, unquoteErr := jsontext.AppendUnquote(nil, v)
			if unquoteErr != nil {
				bad = cmp.Or(bad, errRoleCodeUTF8)
			}
			code = string(text)
		}
		found = true
	}
	if !found {
		bad = cmp.Or(bad, errListedRoleCode)
	}
	_, err = s.ReadToken()
	return code, bad, err
}
