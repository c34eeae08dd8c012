package rolegate_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
)

func TestNewIdentity(t *testing.T) {
	t.Parallel()
	_, err := rolegate.NewIdentity(rolegate.KindThirdUserID+1, "wang")
	require.ErrorContains(t, err, "expected a kind")
	for name, c := range map[string]struct {
		kind, text string
		want       rolegate.Identity
		wrong      string
	}{
		"a user id":            {"user_id", "1542135022016057002", rolegate.UserID(1542135022016057002), ""},
		"the largest":          {"user_id", "9223372036854775807", rolegate.UserID(9223372036854775807), ""},
		"one too large":        {"user_id", "9223372036854775808", rolegate.Identity{}, "expected a decimal number"},
		"none":                 {"user_id", "", rolegate.Identity{}, "expected a decimal number"},
		"zero":                 {"user_id", "0", rolegate.Identity{}, "expected a decimal number"},
		"a sign":               {"user_id", "+7", rolegate.Identity{}, "expected a decimal number"},
		"below zero":           {"user_id", "-7", rolegate.Identity{}, "expected a decimal number"},
		"a leading zero":       {"user_id", "07", rolegate.Identity{}, "expected a decimal number"},
		"a blank":              {"user_id", "7 ", rolegate.Identity{}, "expected a decimal number"},
		"another base":         {"user_id", "7_0", rolegate.Identity{}, "expected a decimal number"},
		"an account":           {"account", "wang", identityOf(rolegate.KindAccount, "wang"), ""},
		"an account of digits": {"account", "07", identityOf(rolegate.KindAccount, "07"), ""},
		"an e-mail address":    {"email", "w@example.com", identityOf(rolegate.KindEmail, "w@example.com"), ""},
		"a third account":      {"third_account", "w", identityOf(rolegate.KindThirdAccount, "w"), ""},
		"a third user id":      {"third_user_id", "42", identityOf(rolegate.KindThirdUserID, "42"), ""},
		"no kind":              {"name", "wang", rolegate.Identity{}, "expected a kind"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			id, err := rolegate.NewIdentity(rolegate.ParseKind(c.kind), c.text)
			assert.Equal(t, c.want, id)
			if c.wrong == "" {
				assert.NoError(t, err)
			} else {
				assert.ErrorContains(t, err, c.wrong)
			}
		})
	}
}
