package browser_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/rolegate/rolegate/internal/browser"
)

func TestLanguage(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]string{
		"":                                "",
		"zh-CN,zh;q=0.9,en;q=0.8":         "zh",
		"zh-TW":                           "zh",
		"zh":                              "zh",
		"ZH-hans":                         "zh",
		"en-GB,en;q=0.9,zh;q=0.8":         "en",
		"en;q=0.1,zh;q=0.9":               "zh",
		"de-DE,de;q=0.9,zh-CN;q=0.5":      "zh",
		"de":                              "",
		"*":                               "",
		"zh-CN;q=0":                       "",
		"not a language;;":                "",
		strings.Repeat("zh,", 400) + "zh": "",
		"zh-abcdefghi":                    "",
	} {
		assert.Equal(t, want, browser.Language(header), "%.40s", header)
	}
}

func FuzzLanguage(f *testing.F) {
	for _, seed := range []string{"zh-CN,zh;q=0.9", "en", "*;q=0", "x-y-z", "zh;q=1e9", "-"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		assert.Contains(t, []string{"", "en", "zh"}, browser.Language(header))
	})
}
