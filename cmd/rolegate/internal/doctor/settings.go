package doctor

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"unicode"

	"github.com/rolegate/rolegate/cmd/rolegate/internal/daemon"
	"github.com/rolegate/rolegate/cmd/rolegate/internal/settings"
	"github.com/rolegate/rolegate/marketplace"
)

// settings looks at the file and at the secrets that it names. It reports
// whether the marketplace can be tried.
func (d *doctor) settings() bool {
	if d.Path != "" {
		d.say("settings.file", d.Path)
	}
	m := &d.file.Marketplace
	token, ok := d.secret("marketplace.token", m.Token)
	if ok {
		d.looks(token)
	}
	cfg := m.Config()
	cfg.Transport = d.recorder
	d.client = marketplace.New(cfg)
	if err := d.client.Validate(); err != nil {
		for _, mistake := range split(err) {
			mistake = inFile(mistake)
			if d.Path == "" {
				mistake = settings.OnLine(mistake)
			}
			d.say("settings.marketplace_wrong", mistake)
		}
		ok = false
	}
	if d.Path != "" {
		d.otherSecrets()
		d.gate()
	}
	return ok
}

// otherSecrets reads the secrets besides the marketplace's token.
func (d *doctor) otherSecrets() {
	if c := d.file.CloudCommand; c != nil {
		d.secret("cloud_command.client_secret", c.ClientSecret)
		if c.Password != nil {
			d.secret("cloud_command.password", *c.Password)
		}
	}
	if r := d.file.Cache.Redis; r != nil {
		if r.Password != nil {
			d.secret("cache.redis.password", *r.Password)
		}
		if r.Sentinel != nil && r.Sentinel.Password != nil {
			d.secret("cache.redis.sentinel.password", *r.Sentinel.Password)
		}
		d.secret("cache.redis.secret", r.Secret)
	}
	if a := d.file.AuthZEN; a != nil {
		for i, c := range a.Callers {
			d.secret(fmt.Sprintf("authzen.callers[%d].token", i), c.Token)
		}
	}
}

// secret reads a secret, says where from, and who else can.
func (d *doctor) secret(place string, s settings.Secret) (string, bool) {
	text, err := s.Read()
	d.told[place] = err != nil
	switch {
	case err != nil && s.Env != "" && os.Getenv(s.Env) == "":
		d.say("settings.secret_unset", place, s.Env)
		return "", false
	case err != nil:
		d.say("settings.secret_unreadable", place, reason(err), s.Env+s.File)
		return "", false
	}
	d.remember(text)
	if s.Env != "" {
		d.say("settings.secret_env", place, s.Env)
		return text, true
	}
	d.say("settings.secret_file", place, s.File)
	if info, err := os.Stat(s.File); err == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o027 != 0 {
		d.say("settings.secret_open", place, s.File, fmt.Sprintf("%#o", info.Mode().Perm()), quote(s.File))
	}
	return text, true
}

// quote writes a file's name as a shell reads it.
func quote(name string) string {
	if strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-") == "" {
		return name
	}
	return "'" + strings.ReplaceAll(name, "'", `'\''`) + "'"
}

// looks says what a token has around it that was copied with it.
func (d *doctor) looks(token string) {
	bare := strings.TrimSpace(token)
	if bare != token {
		d.say("settings.token_blanks")
	}
	lower := strings.ToLower(bare)
	switch {
	case strings.HasPrefix(lower, "bearer "):
		d.say("settings.token_bearer")
	case strings.HasPrefix(lower, "accesstoken=") || strings.HasPrefix(lower, "access_token="):
		d.say("settings.token_parameter")
	case strings.Trim(bare, "\"'`“”‘’<>") != bare:
		d.say("settings.token_quotes")
	case strings.ContainsAny(bare, " \t"):
		d.say("settings.token_blank_inside")
	case strings.ContainsFunc(bare, func(r rune) bool { return !unicode.IsPrint(r) }):
		d.say("settings.token_invisible")
	}
}

// inFile names the keys of a settings file in a mistake of the marketplace's client.
func inFile(mistake string) string {
	return settings.InFile(strings.ReplaceAll(mistake, "marketplace: ", ""))
}

// gate has the gate and its listeners made of the file, on a list that is
// nothing, and says every mistake that this shows.
func (d *doctor) gate() {
	f := d.file
	if f.ForwardAuth == nil && f.AuthZEN == nil && f.Admin == nil {
		d.say("settings.nobody_asks")
		return
	}
	mistakes, rules := d.mistakes()
	// Those of secrets and of the marketplace have been told.
	for _, mistake := range mistakes {
		place, _, _ := strings.Cut(mistake, ": ")
		if !d.told[place] && !strings.HasPrefix(mistake, "Source: ") {
			d.say("settings.gate_wrong", inFile(mistake))
		}
	}
	if len(mistakes) == 0 {
		d.say("settings.gate", rules)
	}
}

func (d *doctor) mistakes() (mistakes []string, rules int) {
	f := *d.file
	f.Cache.File = "" // what is wrong with it is for the check of the cache to say
	if f.ForwardAuth != nil {
		rules += len(f.ForwardAuth.Rules)
	}
	if f.AuthZEN != nil {
		rules += len(f.AuthZEN.Rules)
	}
	return split(daemon.Check(context.Background(), &f)), rules
}

// split returns the mistakes of an error that was joined of several. Those below
// a heading have the place before them that the heading has.
func split(err error) []string {
	if err == nil {
		return nil
	}
	var mistakes []string
	place, goesOn := "", false
	for line := range strings.SplitSeq(err.Error(), "\n") {
		line = strings.TrimSpace(line)
		if strings.HasSuffix(line, "the config has mistakes:") {
			if place, _, _ = strings.Cut(line, ": "); place == "rolegate" {
				place = "" // the gate names the fields of its Config
				continue
			}
			place += ": "
			continue
		}
		switch {
		case line == "":
		case goesOn:
			mistakes[len(mistakes)-1] += " " + line
		default:
			mistakes = append(mistakes, place+line)
		}
		goesOn = strings.HasSuffix(line, ":")
	}
	return mistakes
}
