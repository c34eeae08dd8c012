package settings_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate/cmd/rolegate/internal/settings"
)

// What is typed wrong with an input method, or an editor's tab key, is named for
// what it is, on the line where it is.
func TestTypedWrong(t *testing.T) {
	t.Parallel()
	const (
		colon = "a full-width colon (：): expected a plain one and a blank (: )"
		rest  = "marketplace:\n  url: http://a\n  app_id: a\n  token: {env: T}\n"
	)
	for _, c := range []struct{ name, text, want string }{
		{"colon of a section", "marketplace：\n  url: http://a\n", "line 1: " + colon},
		{"colon of a value", "marketplace:\n  url：http://a\n  app_id: a\n", "line 2: " + colon},
		{"colon behind a blank", "marketplace:\n  url ： http://a\n  app_id: a\n", "line 2: " + colon},
		{"colon on the last line", rest + "control：/run/x\n", "line 5: " + colon},
		{"colon on two lines", "marketplace：\n  url：http://a\n  app_id: a\n", "line 1: " + colon + "\nline 2: " + colon},
		{"colon in a list", rest + "identity:\n  - is：user_id\n    header: X\n", "line 6: " + colon},
		{"colon in braces", rest + "log: {level： info}\n", "line 5, log: " + colon},
		{"colon in braces that are no YAML", "marketplace:\n  token: {env： T\n", "line 2: " + colon},
		{"comma", rest + "identity:\n  - {is: user_id，header: X}\n", "line 6: a full-width mark (，): expected a plain one (,)"},
		{"comma behind quotes", rest + "x:\n  - {route: \"GET /，a\"，any_role: [b]}\n", "line 6: a full-width mark (，): expected a plain one (,)"},
		{"brace", "marketplace:\n  token: ｛env: T｝\n", "line 2: a full-width mark (｛): expected a plain one ({)"},
		{"quotes", "marketplace:\n  url: “http: //a”\n", "line 2: a full-width mark (“): expected a plain one (\")"},
		{"blank", "marketplace:\n  url: http://a\n\u3000app_id: a\n  token: {env: T}\n", "line 3: a full-width blank: expected plain ones in front"},
		{"tab", "marketplace:\n\turl: http://a\n", "line 2: a tab: expected blanks in front, which YAML wants"},
		{"tab behind blanks", "marketplace:\n  url: http://a\n  token:\n  \tenv: T\n", "line 4: a tab: expected blanks in front, which YAML wants"},
		{"no blank behind a colon", "marketplace:\n  url:http://a\n  app_id: a\n", "line 2: expected a blank behind the colon"},
		{"key in Chinese", "市场:\n  url: http://a\n", "line 1: a key in Chinese: expected an English one"},
		{"key in Chinese below", "marketplace: {地址: http://a}\n", "line 1, marketplace: a key in Chinese"},
		{"key in full-width letters", "ｌｏｇ: {level: info}\n", "line 1: a key in full-width letters"},
		{"another encoding", "log: {level: info}\n# \xd6\xd0\xce\xc4\n", "line 2: this is not UTF-8, but another encoding, such as GBK"},
		{"something else", "marketplace:\n  url: http://a\n app_id: a\n", "line 3: this is not YAML: "},
		{"something else before it", "marketplace: {url: http://a: b}\n" + "control：/run/x\n", "line 1: this is not YAML: "},
	} {
		_, err := settings.Parse([]byte(c.text))
		require.Error(t, err, c.name)
		assert.Contains(t, err.Error(), c.want, c.name)
		if strings.Contains(c.want, "full-width colon") && strings.HasPrefix(c.want, "line 1") {
			assert.NotContains(t, err.Error(), "this is not YAML", c.name)
		}
	}
}

// The same marks where they belong are no mistake: in values, quotes and comments.
func TestTypedRight(t *testing.T) {
	t.Parallel()
	f, err := settings.Parse([]byte(least + "# 说明：\t一\nimplies:\n  校长：正: [教师，甲, \"{甲：乙\"]\n"))
	require.NoError(t, err)
	assert.Equal(t, map[string][]string{"校长：正": {"教师，甲", "{甲：乙"}}, f.Implies)
}

// However often a slip is made, ten are enough.
func TestTypedWrongOnEveryLine(t *testing.T) {
	t.Parallel()
	_, err := settings.Parse([]byte(strings.Repeat("\ta: b\n", 100)))
	require.Error(t, err)
	assert.Equal(t, 9, strings.Count(err.Error(), "\n"))
}
