package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"github.com/rolegate/rolegate/cmd/rolegate/internal/fake"
	"github.com/rolegate/rolegate/cmd/rolegate/internal/lang"
	"github.com/rolegate/rolegate/rolegatetest"
)

// A fakePage is what rolegate fake prints at its start.
type fakePage struct {
	lang              lang.Language
	program           string // how it is called again
	url, appID, token string
	tokenEnv          string // where the token is, if it is another than the default one
	tokenFile         string
	users             int
	faults            []string
	cloud             bool
}

func (f *fakeFlags) page(addr net.Addr, token string) *fakePage {
	host, port, _ := net.SplitHostPort(addr.String()) // a listener's has both
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return &fakePage{
		lang: f.lang, program: programName(f.program),
		url: "http://" + net.JoinHostPort(host, port), appID: f.appID, token: token, tokenEnv: f.tokenEnv, tokenFile: f.tokenFile,
		users: f.users, faults: f.faults, cloud: f.cloud,
	}
}

// programName is how a shell calls the program again: as it was called or, if it
// is the one that the shell finds by itself, by its name.
func programName(called string) string {
	if called == "" {
		return "rolegate"
	}
	if found, err := exec.LookPath("rolegate"); err == nil {
		one, err := os.Stat(found)
		other, err2 := os.Stat(called)
		if err == nil && err2 == nil && os.SameFile(one, other) {
			return "rolegate"
		}
	}
	return quoted(called)
}

// print prints the page, at once and whole.
func (p *fakePage) print(out io.Writer) error {
	var b bytes.Buffer
	say := func(format string, args ...any) { fmt.Fprintln(&b, p.lang.Sprintf(format, args...)) }
	say("A fake marketplace: nothing in it is real, and nothing is kept. Ctrl-C ends it.")
	say("")
	say("  URL      %s", p.url)
	say("  app id   %s", p.appID)
	say("  token    %s", p.tokenOrPlace())
	say("")
	p.printUsers(&b)
	for _, fault := range p.faults {
		say("  fault:   %s", fault)
	}
	if p.cloud {
		say("")
		say("A fake 云上指挥 is at the same URL: client id %s, client secret %s.", rolegatetest.DefaultClientID, rolegatetest.DefaultClientSecret)
	}

	where := "--url " + p.url + " --app-id " + quoted(p.appID)
	if p.tokenEnv != "" {
		where += " --token-env " + quoted(p.tokenEnv)
	}
	if p.tokenFile != "" {
		where += " --token-file " + quoted(p.tokenFile)
	}
	guest, teacher := int64(1542135022016057005), int64(1542135022016057001)
	say("")
	say("In another terminal:")
	say("")
	if p.tokenEnv == "" && p.tokenFile == "" {
		say("  export %s=%s", tokenVariable, p.token)
	}
	if p.cloud {
		say("  export %s=%s", cloudSecretVariable, rolegatetest.DefaultClientSecret)
	}
	say("  %s doctor %s", p.program, where)
	say("  %s pull %s", p.program, where)
	say("  curl -s %s/_fake/settings > rolegate.yaml && %s serve -c rolegate.yaml", p.url, p.program)
	say("")
	say("Make the guest a teacher, which the gate's next incremental refresh sees, and take\nthe teacher off the list, which only its next full refresh does:")
	say("")
	say("  curl -d user=%d -d org=%d -d role=teacher %s/_fake/grant", guest, int64(fake.OtherSchool), p.url)
	say("  curl -d user=%d %s/_fake/revoke", teacher, p.url)
	say("")
	say("GET %s/_fake/ lists what else can be done, from this machine alone.", p.url)
	_, err := out.Write(b.Bytes())
	return err
}

// tokenOrPlace is the token or, if it was brought along, where it is: that one is
// not printed.
func (p *fakePage) tokenOrPlace() string {
	switch {
	case p.tokenEnv != "":
		return p.lang.Sprintf("that of the environment variable %s", p.tokenEnv)
	case p.tokenFile != "":
		return p.lang.Sprintf("that of the file %s", p.tokenFile)
	}
	return p.token
}

func (p *fakePage) printUsers(b *bytes.Buffer) {
	width := len("1542135022016057001")
	if p.users > 0 {
		width += 2 // for the …
	}
	row := func(id, third, who, roles string) {
		fmt.Fprintf(b, "  %s   %s   %s   %s\n", lang.Pad(id, width), lang.Pad(third, len("THIRD ID")), lang.Pad(p.lang.Sprintf(who), len("homeroom teacher")), roles)
	}
	row(p.lang.Sprintf("USER ID"), p.lang.Sprintf("THIRD ID"), "WHO", p.lang.Sprintf("ROLES"))
	for _, u := range fake.Demo() {
		roles := map[int64][]string{}
		for _, g := range u.Grants {
			roles[g.OrgID] = append(roles[g.OrgID], g.RoleCode)
		}
		var all []string
		for _, org := range []int64{fake.School, fake.OtherSchool} {
			if len(roles[org]) > 0 {
				all = append(all, p.lang.Sprintf("%s in %d", strings.Join(roles[org], ", "), org))
			}
		}
		if len(all) == 0 {
			all = []string{p.lang.Sprintf("none, but is on the list")}
		}
		row(strconv.FormatInt(u.ID, 10), u.ThirdUserID, u.Who, strings.Join(all, "; "))
	}
	if p.users > 0 {
		row(fmt.Sprintf("%d …", int64(fake.FirstGenerated)), fmt.Sprintf("%d …", fake.FirstThirdID), p.lang.Sprintf("%d more", p.users), p.lang.Sprintf("made up"))
	}
}

const cloudSecretVariable = "ROLEGATE_CLOUD_SECRET"

// settings is a settings file for rolegate serve with this fake.
func (p *fakePage) settings() string {
	token := "{env: " + tokenVariable + "}"
	if p.tokenEnv != "" {
		token = fmt.Sprintf("{env: %q}", p.tokenEnv)
	}
	if p.tokenFile != "" {
		token = fmt.Sprintf("{file: %q}", p.tokenFile)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `# For the marketplace of rolegate fake: to try, not to use.
marketplace:
  url: %s
  app_id: %q
  token: %s
  role_list_path: app/role/list
`, p.url, p.appID, token)
	if p.cloud {
		fmt.Fprintf(&b, `cloud_command:
  url: %s
  client_id: %s
  client_secret: {env: %s}
  done: [%s]
`, p.url, rolegatetest.DefaultClientID, cloudSecretVariable, rolegatetest.DoneMessage)
	}
	b.WriteString(`identity:
  - {is: user_id, header: X-User-Id, trusted: loopback} # whoever can send it is believed; the proxy has to pass it on: docs/proxies.md
refresh: {every: 5s, resync_every: 30s}
forward_auth:
  listen: 127.0.0.1:9090
  proxy: nginx
  trusted: loopback
  rules:
    - {route: "GET /{$}", admit: true}
    - {route: GET /grades, any_role: [teacher, admin]}
    - {route: "POST /orgs/{orgID}/reports", in_org: orgID, all_roles: [teacher, homeroom]}
admin: {listen: 127.0.0.1:9092}
control: rolegate.sock
`)
	return b.String()
}

// quoted is s as a shell reads it back.
func quoted(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:@%+,=", r)
	}
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !plain(r) }) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
