package settings_test

import (
	"errors"
	"io/fs"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/cmd/rolegate/internal/settings"
	"github.com/rolegate/rolegate/marketplace"
)

// Every field that a message of the library could name has its key.
func TestInFileKnowsEveryField(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		of, section  string
		library, own reflect.Type
		without      string
	}{
		{"Refresh", "refresh", reflect.TypeFor[rolegate.Refresh](), reflect.TypeFor[settings.Refresh](), ""},
		{"OnDeny", "on_deny", reflect.TypeFor[rolegate.OnDeny](), reflect.TypeFor[settings.OnDeny](), ""},
		{"Config", "marketplace", reflect.TypeFor[marketplace.Config](), reflect.TypeFor[settings.Marketplace](), "Refused Transport UserAgent Logger"},
	} {
		keys := map[string]bool{}
		for i := range c.own.NumField() {
			keys[c.section+"."+c.own.Field(i).Tag.Get("yaml")] = true
		}
		for i := range c.library.NumField() {
			f := c.library.Field(i)
			if !f.IsExported() || strings.Contains(c.without, f.Name) {
				continue
			}
			assert.True(t, keys[settings.InFile(c.of+"."+f.Name)], "%s.%s is %q", c.of, f.Name, settings.InFile(c.of+"."+f.Name))
		}
	}
}

func TestInFile(t *testing.T) {
	t.Parallel()
	const refused = "check Config.AppID, where Config.Token has its tokens from, and that"
	for text, want := range map[string]string{
		refused: "check marketplace.app_id, marketplace.token, and that",
		"Refresh.ExpireAfter (1h) is less than twice ResyncEvery (2h): one": "refresh.expire_after (1h) is less than twice refresh.resync_every (2h): one",
		"nothing": "nothing",
	} {
		assert.Equal(t, want, settings.InFile(text))
	}
	assert.Equal(t, "check --app-id, --token-env or --token-file, and that", settings.OnLine(refused))
	assert.NoError(t, settings.Named(nil, settings.InFile))
	err := settings.Named(errors.Join(fs.ErrNotExist, errors.New("Config.BaseURL")), settings.OnLine)
	assert.ErrorIs(t, err, fs.ErrNotExist)
	assert.ErrorContains(t, err, "--url")
}
