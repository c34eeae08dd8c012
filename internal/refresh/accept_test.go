package refresh_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/rolegate/rolegate/internal/refresh"
)

func TestAccepted(t *testing.T) {
	t.Parallel()
	var a refresh.Accepted
	digest := func() string { return "a" }
	assert.False(t, a.Has(func() string { panic("nothing is accepted") }))
	first, second := a.Add("a"), a.Add("a")
	other := a.Add("b")
	assert.True(t, a.Has(digest))
	first()
	first() // once is enough
	assert.True(t, a.Has(digest), "one waits still")
	second()
	assert.False(t, a.Has(digest))
	assert.True(t, a.Has(func() string { return "b" }))
	other()
}
