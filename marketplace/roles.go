package marketplace

import (
	"context"
	"errors"
	"fmt"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/internal/wire"
)

// RoleCodes returns the codes of the app's roles, each once and in the
// marketplace's order, without empty ones. As a method value it is what
// rolegate.Config.RoleCodes wants, to tell a mistyped role from one that nobody
// holds yet. It needs Config.RoleListPath, and returns an error that says so if
// that is not set.
//
// It makes one request, judged as strictly as a page of users and with the same
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
	p, err := f.fetch(ctx, "")
	if err != nil {
		return nil, err
	}
	if err := f.ownDate(c.roles, 0, p); err != nil {
		return nil, err
	}
	codes, err := f.scanner.roleCodes(p.data)
	if err != nil {
		return nil, f.fail(rolegate.FailureMalformed, err)
	}
	return codes, nil
}

// Why a role cannot be understood.
var (
	errListedRole     = errors.New("expected an object")
	errListedRoleCode = errors.New("roleCode: expected a string")
)

// The keys of a role that are read. The others (roleId, roleName) are ignored,
// as they are in a user's roleList.
var roleKeys = []string{"roleCode"}

// roleCodes reads data, the raw JSON of an array whose syntax has been checked.
// Its errors have nothing from the wire in them.
func (s *scanner) roleCodes(data []byte) ([]string, error) {
	s.Strictly(data)
	_, _ = s.ReadToken() // the '[' that fetch has seen
	var codes []string
	seen := map[string]bool{"": true} // an empty code names no role
	for n := 1; s.PeekKind() != ']'; n++ {
		code, err := s.roleCode()
		if err != nil {
			return nil, fmt.Errorf("role %d of the list: %w", n, strictError(err))
		}
		if !seen[code] {
			seen[code] = true
			codes = append(codes, code)
		}
	}
	return codes, nil
}

// roleCode reads the next role.
func (s *scanner) roleCode() (code string, err error) {
	if s.PeekKind() != '{' {
		return "", errListedRole
	}
	_, _ = s.ReadToken() // the '{' that was seen
	found := false
	for s.PeekKind() != '}' {
		name, err := s.ReadValue()
		if err != nil {
			return "", err
		}
		key := string(s.Unquote(name))
		if key != "roleCode" {
			if err := wire.OtherCase(key, roleKeys, ""); err != nil {
				return "", err
			}
			if err := s.SkipValue(); err != nil {
				return "", err
			}
			continue
		}
		v, err := s.ReadValue()
		if err != nil {
			return "", err
		}
		if found = v.Kind() == '"'; !found {
			return "", errListedRoleCode
		}
		code = string(s.Unquote(v))
	}
	if _, err := s.ReadToken(); err != nil {
		return "", err
	}
	if !found {
		return "", errListedRoleCode
	}
	return code, nil
}
