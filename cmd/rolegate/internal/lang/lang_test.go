package lang_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate/cmd/rolegate/internal/lang"
)

func TestFor(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, flag string
		env        map[string]string
		want       lang.Language
	}{
		{name: "nothing is said"},
		{name: "LANG", env: map[string]string{"LANG": "zh_CN.UTF-8"}, want: lang.Chinese},
		{name: "LC_MESSAGES before LANG", env: map[string]string{"LANG": "zh_CN.UTF-8", "LC_MESSAGES": "en_GB"}},
		{name: "LC_ALL before LC_MESSAGES", env: map[string]string{"LC_ALL": "zh_TW", "LC_MESSAGES": "en_GB"}, want: lang.Chinese},
		{name: "the flag before all", flag: "en", env: map[string]string{"LC_ALL": "zh_CN"}},
		{name: "the flag", flag: "zh", want: lang.Chinese},
	} {
		l, err := lang.For(c.flag, func(name string) string { return c.env[name] })
		require.NoError(t, err, c.name)
		assert.Equal(t, c.want, l, c.name)
	}
	_, err := lang.For("fr", func(string) string { return "" })
	require.ErrorContains(t, err, "expected en or zh")
}

// What is wrong with a command line is said in the language that it asks for.
func TestOf(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		env  string
		want lang.Language
	}{
		{args: []string{"status"}},
		{args: []string{"status"}, env: "zh_CN", want: lang.Chinese},
		{args: []string{"status", "--lang", "zh"}, want: lang.Chinese},
		{args: []string{"--lang=zh", "status", "--x"}, want: lang.Chinese},
		{args: []string{"--lang", "zh", "--lang=en"}, env: "zh_CN"},
		{args: []string{"--lang"}, env: "zh_CN", want: lang.Chinese},
		{args: []string{"--lang", "fr"}, env: "zh_CN", want: lang.Chinese},
		{args: []string{"why", "--", "--lang=zh"}},
	} {
		assert.Equal(t, c.want, lang.Of(c.args, func(name string) string { return map[string]string{"LANG": c.env}[name] }), c.args)
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	for english, chinese := range map[string]string{
		"f.yaml: line 4, marketplace.url: expected a text":                "f.yaml：第 4 行，marketplace.url：应为文本",
		"f.yaml:\n  line 4: unknown key urll\n  control: expected a text": "f.yaml:\n  第 4 行：未知的键 urll\n  control：应为文本",
		"line 2: a full-width mark (，): expected a plain one (,)":         "第 2 行：全角符号（，）：应为半角的（,）",
		`unknown command "stauts" for "rolegate"`:                         `"rolegate" 没有子命令 "stauts"`,
		"there is no folder /run/a: make it as the user that rolegate runs as (install -d -m 700 /run/a; with systemd: RuntimeDirectory=a), or give another path": "目录 /run/a 不存在：请以运行 rolegate 的用户创建它（install -d -m 700 /run/a；使用 systemd 时：RuntimeDirectory=a），或换一个路径",
		"no list was written: the environment variable T is empty or not set":                                                                                     "没有写出列表：环境变量 T 为空或没有设置",
		"listen tcp 127.0.0.1:80: bind: address already in use (choose another address with --listen)":                                                            "监听 tcp 127.0.0.1:80：bind：地址已被占用（请用 --listen 换一个地址）",
		`forward_auth.rules[1], route "GET /grades: x": expected admit: true alone, or checks without it`:                                                         `forward_auth.rules[1]，路由 "GET /grades: x"：admit: true 应单独使用，否则只写检查`,
		"refused: marketplace: GET http://a/b: HTTP status 200, code 401, status \"fail\", message “x”: the access token or the app id is not accepted: check marketplace.app_id, where marketplace.token has its tokens from, and that the app is still on sale": "refused：marketplace：GET http://a/b：HTTP 状态码 200，code 401，status \"fail\"，消息“x”：访问令牌或应用 ID 被拒绝：请检查 marketplace.app_id，以及 marketplace.token 的令牌来源，并确认应用仍在上架",
		"line 3, forward_auth.proxy: expected one of nginx, envoy or haproxy": "第 3 行，forward_auth.proxy：应为以下之一：nginx、envoy 或 haproxy",
		"line 2, cache: unknown key x: expected file or redis":                "第 2 行，cache：未知的键 x：应为 file 或 redis",
		"no such file or folder here":                                         "no such file or folder here",
		`rolegate: forwardauth: the pattern "get /a" can match no request: methods are written in capitals, and CONNECT has no path`: `模式 "get /a" 匹配不到任何请求：请求方法要用大写字母，CONNECT 没有路径`,
		"teacher":                     "teacher", // a role code is no text
		"something that nobody wrote": "something that nobody wrote",
	} {
		assert.Equal(t, chinese, lang.Chinese.Text(english))
		assert.Equal(t, english, lang.English.Text(english))
	}
}

func TestSprintf(t *testing.T) {
	t.Parallel()
	assert.Equal(t, "规则里的角色 \"a\" 没有任何用户拥有：是否应为 \"b\"？", lang.Chinese.Sprintf("nobody on the list has %q, which a rule names: was %q meant?", "a", "b"))
	assert.Equal(t, "5 users", lang.English.Sprintf("%d users", 5))
	assert.Equal(t, "列表", lang.Chinese.Sprintf("list"))
	assert.Equal(t, "100 %", lang.Chinese.Sprintf("100 %"))
	assert.Equal(t, "列表 ", lang.Pad("列表", 5))
	assert.Equal(t, "list", lang.Pad("list", 3))
}

// No text of whoever else breaks it.
func FuzzText(f *testing.F) {
	f.Add("f.yaml: line 4, a.b: expected one of x\n  y: open z: permission denied")
	f.Add("%s: %[1]s %!d(string=x) \x00: : ")
	f.Fuzz(func(t *testing.T, text string) {
		assert.Equal(t, text, lang.English.Text(text))
		_ = lang.Chinese.Text(text)
	})
}
