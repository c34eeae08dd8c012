package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestShare(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		real bool
		env  map[string]string
		says string
	}{
		"the fake marketplace":           {},
		"a marketplace without a secret": {real: true, says: "openssl rand"},
		"a marketplace":                  {real: true, env: map[string]string{"ROLEGATE_REDIS_SECRET": "shared by all replicas of this test"}},
		"a lease without a unit":         {env: map[string]string{"ROLEGATE_REDIS_LEASE": "15"}, says: `ROLEGATE_REDIS_LEASE="15"`},
		"no lease at all":                {env: map[string]string{"ROLEGATE_REDIS_LEASE": "0s"}, says: "expected a duration"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cache, stop, err := share("127.0.0.1:1", c.real, func(name string) string { return c.env[name] })
			if c.says != "" {
				require.ErrorContains(t, err, c.says)
				return
			}
			require.NoError(t, err)
			assert.NotNil(t, cache)
			assert.NoError(t, stop())
		})
	}
}
