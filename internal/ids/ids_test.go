package ids_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate/internal/ids"
)

// One number has one spelling.
func TestParse(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{"1": 1, "9": 9, "10": 10, "1542135022016057002": 1542135022016057002, "9223372036854775807": 1<<63 - 1} {
		id, err := ids.Parse(text)
		require.NoError(t, err)
		assert.Equal(t, want, id)
	}
	for _, text := range []string{"", "0", "01", "-1", "+1", " 1", "1 ", "1.0", "1e3", "1_0", "0x1", "１", "a", "9223372036854775808"} {
		id, err := ids.Parse(text)
		require.ErrorIs(t, err, ids.ErrID, text)
		assert.Zero(t, id)
	}
}
