package doctor

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"
)

var verb = regexp.MustCompile(`%[^%]`)

// verbs are those of a text, each with the argument that it names.
func verbs(t *testing.T, s string) []string {
	t.Helper()
	found := regexp.MustCompile(`%\[[1-9]\][sd]`).FindAllString(s, -1)
	require.Len(t, found, len(verb.FindAllString(s, -1)), "every verb of %q names its argument", s)
	slices.Sort(found)
	return slices.Compact(found)
}

func TestTextsAreComplete(t *testing.T) {
	t.Parallel()
	require.Len(t, english, len(catalogue))
	require.Len(t, chinese, len(catalogue))
	for name, state := range catalogue {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			en, zh := english[name], chinese[name]
			require.NotEmpty(t, en.found)
			require.NotEmpty(t, zh.found)
			require.Equal(t, verbs(t, en.found+en.todo), verbs(t, zh.found+zh.todo))
			require.Equal(t, en.todo == "", zh.todo == "")
			switch {
			case state == Fine:
				require.Empty(t, en.todo)
			case state > Note && !strings.HasPrefix(name, "settings.marketplace"):
				require.NotEmpty(t, en.todo, "what is to be done is said")
			}
			check := Finding{Name: name}.Check()
			require.NotEmpty(t, English.words.checks[check])
			require.NotEmpty(t, Chinese.words.checks[check])
			if !strings.HasPrefix(zh.found, "%[1]s") {
				require.True(t, strings.ContainsFunc(zh.found, func(r rune) bool { return unicode.Is(unicode.Han, r) }), "it is in Chinese")
			}
			require.False(t, strings.ContainsFunc(strings.ReplaceAll(en.found+en.todo, "云上指挥", ""), func(r rune) bool { return unicode.Is(unicode.Han, r) }), "it is in English")
		})
	}
}

// Every finding of the catalogue is made somewhere, and none that is not in it.
func TestCatalogueIsUsed(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	said := map[string]bool{"settings.file_wrong": true} // by the command
	for _, name := range files {
		source, err := os.ReadFile(name)
		require.NoError(t, err)
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		for _, m := range regexp.MustCompile(`\.say\("([a-z_.]+)"`).FindAllSubmatch(source, -1) {
			said[string(m[1])] = true
			require.Contains(t, catalogue, string(m[1]))
		}
	}
	for name := range catalogue {
		require.True(t, said[name], "nobody says %s", name)
	}
}

func TestAtLeast(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]bool{
		"6.2.0": true, "6.2": true, "7.0.15": true, "10.0": true, "6.0.16": false, "5.9.9": false, "7": true, "": false, "x.y": false,
	} {
		require.Equal(t, want, atLeast(version, oldestRedis), version)
	}
}

func TestArguments(t *testing.T) {
	t.Parallel()
	for want, arg := range map[string]interface{ String() string }{
		"<1 ms": duration(999_000), "12 ms": duration(12_345_678), "1.5 s": duration(1_500_000_000), "2h0m0s": duration(7200_000_000_000),
		"1023 B": size(1023), "1.0 KiB": size(1024), "16.0 MiB": size(16 << 20),
	} {
		require.Equal(t, want, arg.String())
	}
}
