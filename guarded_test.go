package rolegate_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/rolegate/rolegate"
)

func TestPolicyOf(t *testing.T) {
	t.Parallel()
	gate := openGate(t, rolegate.Config{Source: rolesStaff()})
	plain := http.NotFoundHandler()
	shadow := gate.Policy(rolegate.AnyRole("teacher"), rolegate.Shadow())
	inOrg := gate.Policy(rolegate.AnyRole("teacher"), rolegate.InOrg(rolegate.PathOrg("orgID")))
	for _, c := range []struct {
		name          string
		h             http.Handler
		policy        string
		gate          *rolegate.Gate
		shadow, inOrg bool
	}{
		{"Admit", gate.Admit(plain), "Admit", gate, false, false},
		{"Require", gate.Require(rolegate.AnyRole("teacher"))(plain), "AnyRole(teacher)", gate, false, false},
		{"Shadow", shadow.Wrap(plain), shadow.String(), gate, true, false},
		{"InOrg", inOrg.Wrap(plain), inOrg.String(), gate, false, true},
		{"the nil policy", (*rolegate.Policy)(nil).Wrap(plain), "nothing", nil, false, false},
		{"the nil gate", (*rolegate.Gate)(nil).Admit(plain), "Admit", nil, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p, next := rolegate.PolicyOf(c.h)
			assert.Equal(t, c.policy, p.String())
			assert.Same(t, c.gate, p.Gate())
			assert.Equal(t, c.shadow, p.IsShadow())
			assert.Equal(t, c.inOrg, p.HasOrg())
			assert.NotNil(t, next)
		})
	}
	for _, h := range []http.Handler{nil, plain, http.NewServeMux(), http.StripPrefix("/", gate.Admit(plain))} {
		p, next := rolegate.PolicyOf(h)
		assert.Nil(t, p)
		assert.Nil(t, next)
	}
	var none *rolegate.Policy
	assert.Nil(t, none.Gate())
	assert.False(t, none.IsShadow())
	assert.False(t, none.HasOrg())
}
