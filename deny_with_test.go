package rolegate_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/cloudcommand"
	"github.com/rolegate/rolegate/marketplace"
	"github.com/rolegate/rolegate/rolegatetest"
)

func TestDenyWith(t *testing.T) {
	t.Parallel()
	var book logBook
	gate := openGate(t, rolegate.Config{Source: rolegatetest.NewStatic(record(1)), Deny: marketplace.DenyEnvelope, Logger: book.logger()})
	teacher := rolegate.AnyRole("teacher")
	own := func(h http.Header, _ *http.Request, d rolegate.Denial) []byte {
		h.Set("X-Decision", d.ID)
		return []byte("own")
	}
	for _, user := range []int64{0, 1, 2} {
		with := ask(gate.Require(teacher, rolegate.DenyWith(own))(never(t)), "GET", "/", user)
		plain := ask(gate.Require(teacher)(never(t)), "GET", "/", user)
		assert.Equal(t, plain.Code, with.Code, "the status is the gate's")
		assert.Equal(t, "own", with.Body.String())
		assert.NotEmpty(t, with.Header().Get("X-Decision"))
		assert.Contains(t, plain.Body.String(), `"data":{"decision"`, "other guards keep Config.Deny")
	}
	guarded := gate.Policy(teacher, rolegate.DenyWith(own)).Wrap(never(t))
	assert.Equal(t, "own", ask(guarded, "GET", "/", 1).Body.String(), "a policy too")

	panics := ask(gate.Require(teacher, rolegate.DenyWith(func(http.Header, *http.Request, rolegate.Denial) []byte { panic("no") }))(never(t)), "GET", "/", 1)
	assert.Equal(t, http.StatusForbidden, panics.Code)
	assert.Equal(t, "application/problem+json", panics.Header().Get("Content-Type"))
	require.Len(t, book.lines("rolegate: DenyWith panicked; the default body is sent"), 1)
}

func TestDenyWithMistakes(t *testing.T) {
	t.Parallel()
	gate := openGate(t, rolegate.Config{Source: rolegatetest.NewStatic()})
	assert.PanicsWithValue(t, "rolegate: DenyWith: the func is nil", func() { rolegate.DenyWith(nil) })
	deny := rolegate.DenyWith(cloudcommand.DenyBladeX)
	assert.PanicsWithValue(t, "rolegate: DenyWith is given twice: a refusal has one shape", func() { gate.Require(rolegate.AnyRole("a"), deny, deny) })
	assert.Panics(t, func() { gate.Require(deny) }, "it is no check")
}
