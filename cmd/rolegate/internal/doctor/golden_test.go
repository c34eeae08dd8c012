package doctor_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/cmd/rolegate/internal/doctor"
	"github.com/rolegate/rolegate/rolegatetest"
)

var update = flag.Bool("update", false, "write testdata anew")

// The same good run in both languages, and with plain marks.
func TestGolden(t *testing.T) {
	t.Parallel()
	m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{})
	m.Put(lilei(1542135022016057346, teacher), lilei(1542135022016057347, teacher, rolegate.Grant{OrgID: 7, RoleCode: "admin"}))
	base := m.Start(t)
	f := fileFor(t, base, m.AppID(), m.Token())
	findings := examine(t, doctor.Options{File: f})
	told(t, findings)
	host, err := url.Parse(base)
	require.NoError(t, err)
	tests := []struct {
		name     string
		language doctor.Language
		locale   string
	}{
		{"good.en", doctor.English, "en_US.UTF-8"},
		{"good.zh", doctor.Chinese, "zh_CN.UTF-8"},
		{"good.plain", doctor.English, "C"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			report := doctor.NewReport(&out, tt.language, func(string) string { return tt.locale })
			for _, f := range findings {
				report.Add(f)
			}
			require.NoError(t, report.End(true))
			text := strings.NewReplacer(host.Host, "HOST", f.Marketplace.Token.File, "FILE").Replace(out.String())
			text = regexp.MustCompile(`(<?\d+ ms|\d+\.\d s)`).ReplaceAllString(text, "TIME")
			golden := filepath.Join("testdata", tt.name)
			if *update {
				require.NoError(t, os.WriteFile(golden, []byte(text), 0o644))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err)
			require.Equal(t, string(want), text)
		})
	}
}

func TestSummary(t *testing.T) {
	t.Parallel()
	wrong, warning := doctor.New("token.html"), doctor.New("roles.none")
	tests := []struct {
		name     string
		findings []doctor.Finding
		whole    bool
		en, zh   string
		fine     bool
	}{
		{"fine", nil, true, "Everything is fine.", "一切正常。", true},
		{"a warning", []doctor.Finding{warning}, true, "It works; warnings: 1.", "可以工作；有 1 条警告。", true},
		{"wrong", []doctor.Finding{wrong, wrong}, true, "Things to fix: 2.", "有 2 处需要处理。", false},
		{"both", []doctor.Finding{wrong, warning}, true, "Things to fix: 1; warnings: 1.", "有 1 处需要处理，另有 1 条警告。", false},
		{"ended", nil, false, "It was ended before all was tried.", "检查没有做完就被中断了。", false},
		{"ended, and wrong", []doctor.Finding{wrong}, false, "Things to fix: 1. It was ended before all was tried.", "有 1 处需要处理。检查没有做完就被中断了。", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for want, l := range map[string]doctor.Language{tt.en: doctor.English, tt.zh: doctor.Chinese} {
				var out bytes.Buffer
				report := doctor.NewReport(nil, l, os.Getenv)
				for _, f := range tt.findings {
					report.Add(f)
				}
				require.NoError(t, report.JSON(&out, tt.whole))
				var got struct {
					Fine     bool
					Summary  string
					Findings []map[string]string
				}
				require.NoError(t, json.Unmarshal(out.Bytes(), &got))
				require.Equal(t, want, got.Summary)
				require.Equal(t, tt.fine, got.Fine)
				require.Len(t, got.Findings, len(tt.findings))
			}
		})
	}
}

type closedPipe struct{}

func (closedPipe) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestOutputThatFails(t *testing.T) {
	t.Parallel()
	report := doctor.NewReport(closedPipe{}, doctor.English, os.Getenv)
	report.Add(doctor.New("ids.numbers"))
	require.ErrorContains(t, report.End(true), "broken pipe")
	require.Panics(t, func() { doctor.New("ids.unheard_of") })
}
