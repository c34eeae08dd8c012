package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate/rolegatetest"
)

// doctorRun is one run of the command against a marketplace.
type doctorRun struct {
	market *rolegatetest.Marketplace
	url    string
	token  string // a file
	folder string
}

func newDoctorRun(t *testing.T) *doctorRun {
	t.Helper()
	d := &doctorRun{market: rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{}), folder: t.TempDir()}
	d.market.Grant(1, 7, "teacher")
	d.url = d.market.Start(t)
	d.token = d.write(t, "token", d.market.Token())
	return d
}

func (d *doctorRun) write(t *testing.T, name, text string) string {
	t.Helper()
	name = filepath.Join(d.folder, name)
	require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
	return name
}

// run runs doctor with these arguments, in which URL, TOKEN and FOLDER are
// replaced.
func (d *doctorRun) run(ctx context.Context, args ...string) (code int, out, errs string) {
	var stdout, stderr bytes.Buffer
	replace := strings.NewReplacer("URL", d.url, "TOKEN", d.token, "FOLDER", d.folder)
	all := []string{"doctor"}
	for _, arg := range args {
		all = append(all, replace.Replace(arg))
	}
	code = run(ctx, all, streams{strings.NewReader(""), &stdout, &stderr, ""})
	return code, stdout.String(), stderr.String()
}

func TestDoctorExitCodes(t *testing.T) {
	t.Parallel()
	market := []string{"--lang", "en", "--url", "URL", "--app-id", "test-app", "--token-file", "TOKEN"}
	and := func(args ...string) []string { return append(append([]string(nil), market...), args...) }
	tests := []struct {
		name string
		set  func(*testing.T, *doctorRun)
		args []string
		code int
		out  string
		errs string
	}{
		{name: "fine", args: market, code: exitOK, out: "Everything is fine."},
		{name: "in Chinese", args: and("--lang", "zh"), code: exitOK, out: "一切正常。"},
		{name: "a warning", set: func(_ *testing.T, d *doctorRun) { d.market.Clear() }, args: market, code: exitOK, out: "It works; warnings: 1."},
		{name: "wrong", set: func(_ *testing.T, d *doctorRun) { d.market.SetToken("another") }, args: market, code: exitNo, out: "Things to fix: 1."},
		{name: "wrong, as JSON", set: func(_ *testing.T, d *doctorRun) { d.market.SetToken("another") }, args: and("--json"), code: exitNo, out: `"name": "token.refused_in_body"`},
		{name: "a secret that is not there", args: []string{"--url", "URL", "--app-id", "test-app", "--token-file", "FOLDER/none"}, code: exitUsage, out: "FOLDER/none"},
		{name: "an app id that is none", args: []string{"--lang", "en", "--url", "URL", "--app-id", "two words", "--token-file", "TOKEN"}, code: exitUsage, out: "--app-id: expected visible ASCII"},
		{name: "no marketplace", args: []string{"--token-file", "TOKEN"}, code: exitUsage, errs: "where is the marketplace?"},
		{name: "another language", args: and("--lang", "fr"), code: exitUsage, errs: "expected en or zh"},
		{name: "no time", args: and("--timeout", "0s"), code: exitUsage, errs: "expected more than 0"},
		{name: "an argument", args: and("now"), code: exitUsage, errs: "rolegate doctor --help"},
		{name: "a flag that is none", args: and("--fix"), code: exitUsage, errs: "unknown flag: --fix"},
		{name: "too little time", set: func(_ *testing.T, d *doctorRun) { d.market.Fail(rolegatetest.Hang()) }, args: and("--timeout", "1s"), code: exitNo, out: "no whole page within"},
		{name: "a file", set: func(t *testing.T, d *doctorRun) {
			d.write(t, "f.yaml", "marketplace: {url: "+d.url+", app_id: test-app, token: {file: "+d.token+"}}\n")
		}, args: []string{"-c", "FOLDER/f.yaml", "--lang", "en"}, code: exitOK, out: "f.yaml can be read and is well-formed"},
		{name: "no file", args: []string{"-c", "FOLDER/f.yaml", "--lang", "en"}, code: exitUsage, out: "no such file"},
		{name: "a file with mistakes", set: func(t *testing.T, d *doctorRun) {
			d.write(t, "f.yaml", "marketplace: {url: "+d.url+"}\nlog: {format: xml}\n")
		}, args: []string{"-c", "FOLDER/f.yaml", "--lang", "en", "--json"}, code: exitUsage, out: "log.format: expected text or json"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := newDoctorRun(t)
			if tt.set != nil {
				tt.set(t, d)
			}
			code, out, errs := d.run(context.Background(), tt.args...)
			require.Equal(t, tt.code, code, "%s%s", out, errs)
			require.Contains(t, out, strings.ReplaceAll(tt.out, "FOLDER", d.folder))
			require.Contains(t, errs, tt.errs)
			require.NotContains(t, out+errs, "fakeMarketplaceToken")
			if strings.HasPrefix(out, "{") {
				require.True(t, json.Valid([]byte(out)))
			}
		})
	}
}

func TestDoctorIsInterrupted(t *testing.T) {
	t.Parallel()
	d := newDoctorRun(t)
	ctx, cancel := context.WithCancel(context.Background())
	d.market.Fail(func(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
		cancel()
		<-r.Context().Done()
	})
	code, out, _ := d.run(ctx, "--lang", "en", "--url", "URL", "--app-id", "test-app", "--token-file", "TOKEN")
	require.Equal(t, exitFailed, code)
	require.Contains(t, out, "It was ended before all was tried.")
}

func TestDoctorSpeaksTheLanguageOfTheEnvironment(t *testing.T) {
	d := newDoctorRun(t)
	t.Setenv("LC_ALL", "zh_CN.UTF-8")
	t.Setenv(tokenVariable, d.market.Token())
	t.Setenv(urlVariable, d.url)
	t.Setenv(appIDVariable, d.market.AppID())
	code, out, _ := d.run(context.Background())
	require.Equal(t, exitOK, code)
	require.Contains(t, out, "✓ marketplace.token 读自环境变量 ROLEGATE_ACCESS_TOKEN")
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestDoctorCannotPrint(t *testing.T) {
	t.Parallel()
	d := newDoctorRun(t)
	for _, format := range []string{"--json=false", "--json"} {
		var stderr bytes.Buffer
		code := run(context.Background(), []string{"doctor", format, "--url", d.url, "--app-id", "test-app", "--token-file", d.token}, streams{nil, fullDisk{}, &stderr, ""})
		require.Equal(t, exitFailed, code)
		require.Contains(t, stderr.String(), "no space left on device")
	}
}
