package settings_test

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v4"

	"github.com/rolegate/rolegate/cmd/rolegate/internal/daemon"
	"github.com/rolegate/rolegate/cmd/rolegate/internal/settings"
)

// readable puts files that are there in the place of those of an example, and
// sets the variables that it names.
func readable(t *testing.T, text string) string {
	t.Helper()
	secret := strings.Repeat("s", 40)
	for _, found := range regexp.MustCompile(`\{env: (\w+)\}`).FindAllStringSubmatch(text, -1) {
		t.Setenv(found[1], secret)
	}
	text = regexp.MustCompile(`\{file: [^}]+\}`).ReplaceAllString(text, "{file: "+secretFile(t, secret)+"}")
	return strings.NewReplacer("/var/lib/rolegate/", t.TempDir()+"/").Replace(text)
}

// docs/rolegate.yaml is right, and has every key.
func TestExample(t *testing.T) { // not parallel: t.Setenv
	data, err := os.ReadFile("../../../../docs/rolegate.yaml")
	require.NoError(t, err)
	text := readable(t, string(data))
	plain := regexp.MustCompile(`(?m)^ +tls: .*\n`).ReplaceAllString(text, "") // a certificate has to be there
	require.NoError(t, daemon.Check(t.Context(), parse(t, plain)))

	// With the other cache.
	redis := regexp.MustCompile(`(?ms)^  redis:$.*?^$`)
	require.True(t, redis.MatchString(plain))
	file := strings.Replace(redis.ReplaceAllString(plain, ""), "# file: ", "file: ", 1)
	f := parse(t, file)
	assert.NotEmpty(t, f.Cache.File)
	require.NoError(t, daemon.Check(t.Context(), f))

	var all map[string]any
	others := strings.NewReplacer("# file: ", "file: ", "# sentinel: ", "sentinel: ", "# cluster: ", "cluster: ")
	require.NoError(t, yaml.Load([]byte(others.Replace(text)), &all))
	for _, missing := range keysMissing(reflect.TypeFor[settings.File](), "", []any{all}) {
		t.Errorf("docs/rolegate.yaml lacks %s", missing)
	}
}

// docs/rolegate.zh-CN.yaml is the same file, with every comment in Chinese.
func TestExampleInChinese(t *testing.T) {
	t.Parallel()
	comment := regexp.MustCompile(`(?m)(?:^|\s+)# (.*)$`)
	words := regexp.MustCompile(`[a-z]{2,} [a-z]{2,}`)
	bare := func(name string) (text string, comments int) {
		data, err := os.ReadFile("../../../../docs/" + name)
		require.NoError(t, err)
		for line := range strings.Lines(string(data)) {
			found := comment.FindStringSubmatch(line)
			if found != nil && !strings.HasPrefix(line, "#") {
				comments++
			}
			if strings.HasSuffix(name, ".zh-CN.yaml") && found != nil {
				assert.True(t, strings.ContainsFunc(found[1], func(r rune) bool { return unicode.Is(unicode.Han, r) }) || !words.MatchString(found[1]), line)
			}
			if line = strings.TrimSpace(comment.ReplaceAllString(strings.TrimRight(line, "\n"), "")); line != "" {
				text += line + "\n"
			}
		}
		return text, comments
	}
	english, all := bare("rolegate.yaml")
	chinese, translated := bare("rolegate.zh-CN.yaml")
	assert.Equal(t, english, chinese)
	assert.Equal(t, all, translated, "comments behind a value")
}

// keysMissing are the keys of a struct that none of those mappings has, and so
// on below it.
func keysMissing(of reflect.Type, place string, in []any) (missing []string) {
	switch of.Kind() {
	case reflect.Pointer:
		return keysMissing(of.Elem(), place, in)
	case reflect.Slice:
		var items []any
		for _, v := range in {
			if list, ok := v.([]any); ok {
				items = append(items, list...)
			}
		}
		return keysMissing(of.Elem(), place+"[]", items)
	case reflect.Struct:
	default:
		return nil
	}
	if of == reflect.TypeFor[settings.Checks]() && place != "forward_auth.rules[]" {
		return nil // the same everywhere
	}
	for i := range of.NumField() {
		field := of.Field(i)
		key, inline, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		if inline == "inline" {
			missing = append(missing, keysMissing(field.Type, place, in)...)
			continue
		}
		if key == "" {
			continue // a type that reads itself
		}
		var values []any
		for _, v := range in {
			if m, ok := v.(map[string]any); ok && m[key] != nil {
				values = append(values, m[key])
			}
		}
		at := strings.TrimPrefix(place+"."+key, ".")
		if len(values) == 0 {
			missing = append(missing, at)
			continue
		}
		missing = append(missing, keysMissing(field.Type, at, values)...)
	}
	return missing
}

func TestKeysMissing(t *testing.T) {
	t.Parallel()
	missing := keysMissing(reflect.TypeFor[settings.File](), "", []any{map[string]any{"cache": map[string]any{"file": "x"}, "identity": []any{map[string]any{"is": "x"}}}})
	for _, want := range []string{"marketplace", "cache.redis", "identity[].header"} {
		assert.True(t, slices.Contains(missing, want), want)
	}
	assert.NotContains(t, missing, "identity[].is")
}

// The blocks of docs/command.md that are settings files are right.
func TestCommandPage(t *testing.T) { // not parallel: t.Setenv
	data, err := os.ReadFile("../../../../docs/command.md")
	require.NoError(t, err)
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(data), -1)
	require.NotEmpty(t, blocks)
	first := blocks[0][1]
	for i, block := range blocks {
		text := block[1]
		if i > 0 { // an addition to the first
			require.NotContains(t, text, "marketplace:")
			text = first + text
		}
		f, err := settings.Parse([]byte(readable(t, text)))
		require.NoError(t, err, text)
		assert.NoError(t, daemon.Check(t.Context(), f), text)
	}

	// Every section has its line in the table.
	for i := range reflect.TypeFor[settings.File]().NumField() {
		key := reflect.TypeFor[settings.File]().Field(i).Tag.Get("yaml")
		assert.Contains(t, string(data), "\n| `"+key+"` |")
	}
}
