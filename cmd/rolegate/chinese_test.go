package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate/cmd/rolegate/internal/fake"
	"github.com/rolegate/rolegate/cmd/rolegate/internal/lang"
	"github.com/rolegate/rolegate/rolegatetest"
)

func isChinese(text string) bool {
	return strings.ContainsFunc(text, func(r rune) bool { return unicode.Is(unicode.Han, r) })
}

// Help is in Chinese, all of it, and says of each flag which value it takes, as
// the English help does.
func TestHelpInChinese(t *testing.T) {
	t.Parallel()
	english, chinese := newRoot(streams{}, lang.English), newRoot(streams{}, lang.Chinese)
	helps, flags := map[string]bool{}, map[string]bool{}
	var compare func(en, zh *cobra.Command)
	compare = func(en, zh *cobra.Command) {
		name := strings.TrimPrefix(strings.TrimPrefix(zh.CommandPath(), "rolegate"), " ")
		helps[name] = true
		assert.True(t, isChinese(zh.Short), "%s: short", name)
		assert.Equal(t, en.Long != "", isChinese(zh.Long), "%s: long", name)
		assert.NotRegexp(t, `# [a-z]`, zh.Example, "%s: comments of the example", name)
		code := regexp.MustCompile(`(?m) +# .*$`)
		assert.Equal(t, code.ReplaceAllString(en.Example, ""), code.ReplaceAllString(zh.Example, ""), "%s: example", name)
		for _, set := range []func(*cobra.Command) *pflag.FlagSet{(*cobra.Command).Flags, (*cobra.Command).PersistentFlags} {
			set(en).VisitAll(func(f *pflag.Flag) {
				for _, key := range []string{name + " --" + f.Name, "--" + f.Name} {
					if chineseFlags[key] != "" {
						flags[key] = true
						break
					}
				}
				of := set(zh).Lookup(f.Name)
				assert.True(t, isChinese(of.Usage), "%s --%s", name, f.Name)
				assert.Equal(t, strings.Contains(f.Usage, "`"), strings.Contains(of.Usage, "`"), "%s --%s", name, f.Name)
			})
		}
		for _, below := range en.Commands() {
			other, _, err := zh.Find([]string{below.Name()})
			require.NoError(t, err)
			compare(below, other)
		}
	}
	english.InitDefaultHelpCmd()
	compare(english, chinese)
	for name := range chineseHelp {
		assert.True(t, helps[name], "there is no command %s", name)
	}
	flags["--help"] = true
	for name := range chineseFlags {
		assert.True(t, flags[name], "there is no flag %s", name)
	}
	for _, args := range [][]string{{}, {"serve"}, {"help", "pull"}, {"fake"}, {"completion", "bash"}} {
		c := calls(t, append(args, "--help", "--lang", "zh")...)
		assert.Equal(t, exitOK, c.code)
		assert.Contains(t, c.out, "用法：")
		assert.NotRegexp(t, `Usage:|Flags:|Available|\(default|for more information`, c.out, args)
	}
}

// What each fault does is said in Chinese too.
func TestFaultsInChinese(t *testing.T) {
	t.Parallel()
	for _, k := range fake.Kinds() {
		assert.True(t, isChinese(lang.Chinese.Sprintf(k.Help)), k.Help)
	}
	for _, w := range fake.Whens() {
		assert.True(t, isChinese(lang.Chinese.Sprintf(w[1])), w[1])
	}
	for _, u := range fake.Demo() {
		assert.True(t, isChinese(lang.Chinese.Sprintf(u.Who)), u.Who)
	}
	c := calls(t, "fake", "--list-faults", "--lang", "zh")
	assert.Equal(t, exitOK, c.code)
	assert.NotRegexp(t, `[a-z]{2,} [a-z]{2,} [a-z]{2,}`, c.out)
}

// The commands that ask a server, in Chinese. Reasons, states and what a rule is
// called stay as they are: they are what logs and metrics have.
func TestServerInChinese(t *testing.T) {
	t.Parallel()
	s := newServer(t, served, school)
	s.state(t, "ready")
	const fresh = "  列表     ready：距上次同步 <time>，距上次全量校验 <time>（上限 <time>）\n"
	in := func(args ...string) called { return s.calls(t, append(args, "--lang", "zh")...) }
	assert.Equal(t, called{exitOK, `可以：granted（200）
  路由     GET /grades 适用规则 GET /grades
` + fresh + `  用户     1542135022016057002 在列表里
  要求     AnyRole(teacher)
  机构     7：teacher
           + AnyRole(teacher) 成立，凭 teacher
  机构     8：homeroom
           - AnyRole(teacher) 不成立
`, ""}, in("why", teacherID, "/grades"))
	assert.Equal(t, called{exitNo, `不可以：org_unreadable（403）
  路由     POST /orgs/x/reports 适用规则 POST /orgs/{orgID}/reports
` + fresh + `  用户     1542135022016057002 在列表里
  要求     AnyRole(teacher, principal) + NoRole(suspended) + InOrg
  机构     无法从请求中读出：路径变量 "orgID"：应为大于 0 的十进制整数，不带正负号、前导零、小数或指数
  注意     没有任何用户拥有 "principal"
`, ""}, in("why", teacherID, "POST /orgs/x/reports"))
	assert.Equal(t, called{exitNo, `不可以：unlisted_route（403）
  路由     PUT /grades 对所有人都拒绝：没有规则匹配该方法、主机和路径，或者只匹配 http.ServeMux 会重定向到的另一个路径
           规则里写了主机名的，请用 --host 或完整的 URL 查询
`, ""}, in("why", teacherID, "PUT /grades"))
	assert.Equal(t, called{exitUsage, "", "rolegate: 该规则只看一个机构：请用 --org 指明，否则一律拒绝\n"}, in("why", teacherID, "--resource", "report", "--action", "write"))

	status := in("status")
	assert.Equal(t, exitOK, status.code)
	assert.Contains(t, status.out, "  列表       6 个用户；距上次同步 <time>，距上次全量校验 <time>（上限 <time>）\n")
	assert.Contains(t, status.out, "  角色       规则里的角色 \"principal\" 没有任何用户拥有\n")
	assert.Equal(t, called{exitOK, "新配置已生效\n没有任何用户拥有 \"principal\"\n", ""}, in("reload"))
	text, err := os.ReadFile(s.file)
	require.NoError(t, err)
	write(t, s.file, strings.Replace(string(text), "refresh:", "refrehs:", 1))
	assert.Equal(t, called{exitUsage, "", "rolegate: 配置文件有误，继续使用旧配置：" + s.file + "：第 7 行：未知的键 refrehs：应为 refresh\n"}, in("reload"))
}

// Everything else that a command says, in Chinese.
func TestCallsInChinese(t *testing.T) {
	t.Parallel()
	market := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{})
	market.Put(rolegatetest.User{ID: 5})
	file, socket := settingsFile(t, served, market)
	flags := []string{"--url", market.Start(t), "--app-id", market.AppID(), "--token-file", filepath.Join(filepath.Dir(file), "token")}
	typed := filepath.Join(t.TempDir(), "typed.yaml")
	write(t, typed, "marketplace：\n\turl: http://a\n")
	for name, c := range map[string]struct {
		args []string
		want called
	}{
		"a file that is right": {[]string{"serve", "-c", file, "--check"}, called{exitOK, file + " 正确\n", ""}},
		"a file that is wrong": {[]string{"serve", "-c", typed}, called{exitUsage, "", "rolegate: " + typed + ":\n  第 1 行：全角冒号（：）：应为半角冒号加空格（: ）\n  第 2 行：行首有制表符：YAML 只能用空格缩进\n"}},
		"no server":            {[]string{"status", "--socket", socket}, called{exitFailed, "", "rolegate: " + socket + " 上没有 rolegate serve 在监听：请启动它，或用 --socket 或 -c 指明正在运行的服务的控制套接字\n"}},
		"no command":           {[]string{"stauts"}, called{exitUsage, "", "rolegate: \"rolegate\" 没有子命令 \"stauts\"\n\n是否想写：\n\tstatus\n\n用法见：rolegate --help\n"}},
		"no file":              {[]string{"serve"}, called{exitUsage, "", "rolegate: 缺少必需的选项 \"config\"\n用法见：rolegate serve --help\n"}},
		"no number":            {[]string{"fake", "--users", "x"}, called{exitUsage, "", "rolegate: 选项 \"--users\" 的参数 \"x\" 无效：应为整数\n用法见：rolegate fake --help\n"}},
		"an unknown fault":     {[]string{"fake", "--fault", "slow=0"}, called{exitUsage, "", "rolegate: --fault \"slow=0\"，slow 的参数 TIME：应为 1ns 到 24h 的时长，例如 2s\n"}},
		"no marketplace":       {[]string{"pull", "--app-id", "a"}, called{exitUsage, "", "rolegate: 不知道市场在哪里：请用 --url、ROLEGATE_BASE_URL 或 -c 配置文件指定\n"}},
	} {
		assert.Equal(t, c.want, calls(t, append(c.args, "--lang", "zh")...), name)
	}
	c := calls(t, append([]string{"pull", "--lang", "zh"}, flags...)...)
	assert.Equal(t, exitOK, c.code)
	market.Fail(rolegatetest.HTMLPage())
	failed := calls(t, append([]string{"pull", "--lang", "zh"}, flags...)...)
	assert.Equal(t, exitFailed, failed.code)
	assert.Regexp(t, `^rolegate: 没有写出列表：malformed：.*：响应从第 0 字节起不是预期的 JSON：看起来像：登录页或代理返回的网页\n哪里有问题、怎样解决：rolegate doctor `, failed.err)
	assert.Regexp(t, `^rolegate: 1 个用户，共 0 个角色，用时 \S+；最高序号 1；`, c.err)
}
