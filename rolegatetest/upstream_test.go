package rolegatetest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate/rolegatetest"
)

// upstreamPage asks the marketplace for a page, and returns the status and the
// users and sequences in it.
func upstreamPage(t *testing.T, m *rolegatetest.Marketplace, after int64) (status int, ids, sequences []int64, data string) {
	t.Helper()
	url := fmt.Sprintf("%s%s?accessToken=%s&lastSequence=%d", rolegatetest.BaseURL, rolegatetest.DefaultPath, m.Token(), after)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	r.Header.Set("X-App-Id", m.AppID())
	res, err := m.Transport().RoundTrip(r)
	require.NoError(t, err)
	defer res.Body.Close()
	var page struct {
		Data json.RawMessage `json:"data"`
	}
	if json.NewDecoder(res.Body).Decode(&page) == nil {
		var rows []struct {
			UserID       int64 `json:"userId"`
			LastSequence int64 `json:"lastSequence"`
		}
		_ = json.Unmarshal(page.Data, &rows)
		for _, row := range rows {
			ids, sequences = append(ids, row.UserID), append(sequences, row.LastSequence)
		}
	}
	return res.StatusCode, ids, sequences, string(page.Data)
}

func fiveUsers(cfg rolegatetest.MarketplaceConfig) *rolegatetest.Marketplace {
	m := rolegatetest.NewMarketplace(cfg)
	for id := range int64(5) {
		m.Put(rolegatetest.User{ID: id + 1, Account: fmt.Sprint("a", id+1)})
	}
	return m
}

func TestAMarketplaceAsItIs(t *testing.T) {
	t.Parallel()
	m := fiveUsers(rolegatetest.MarketplaceConfig{})
	commit := m.PutLate(rolegatetest.User{ID: 6})
	m.Put(rolegatetest.User{ID: 7})
	_, ids, sequences, _ := upstreamPage(t, m, 5)
	assert.Equal(t, []int64{7}, ids)
	assert.Equal(t, []int64{7}, sequences)
	commit()
	_, ids, sequences, _ = upstreamPage(t, m, 4)
	assert.Equal(t, []int64{5, 6, 7}, ids, "below the cursor of who has read 7")
	assert.Equal(t, []int64{5, 6, 7}, sequences)

	m.TouchTied(1, 2, 99)
	_, ids, sequences, _ = upstreamPage(t, m, 7)
	assert.Equal(t, []int64{1, 2}, ids)
	assert.Equal(t, []int64{8, 8}, sequences)

	assert.True(t, m.MakeAnew(3, 30))
	assert.False(t, m.MakeAnew(3, 31))
	user, ok := m.User(30)
	require.True(t, ok)
	assert.Equal(t, "a3", user.Account)

	old := m.Backup()
	m.Touch(4)
	m.Fail(rolegatetest.Lagging(old))
	_, ids, _, _ = upstreamPage(t, m, 8)
	assert.Equal(t, []int64{30}, ids)
	m.Fail(rolegatetest.Descending())
	_, _, sequences, _ = upstreamPage(t, m, 6)
	assert.Equal(t, []int64{10, 9, 8, 8, 7}, sequences)
	m.Fail(rolegatetest.EchoSequence())
	_, _, sequences, _ = upstreamPage(t, m, 8)
	assert.Equal(t, []int64{8, 8}, sequences)
	m.Fail(rolegatetest.Chain(rolegatetest.EmptyAs("null"), rolegatetest.NullRoles()))
	_, _, _, data := upstreamPage(t, m, 99)
	assert.Equal(t, "null", data)
	_, _, _, data = upstreamPage(t, m, 9)
	assert.Contains(t, data, `"roleList":null`)
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for name, refusal := range rolegatetest.Refusals() {
		m := fiveUsers(rolegatetest.MarketplaceConfig{Refusal: refusal})
		status, ids, _, _ := upstreamPage(t, m, 0)
		assert.Equal(t, 200, status)
		assert.Len(t, ids, 5)
		m.Fail(rolegatetest.RefuseToken())
		status, ids, _, _ = upstreamPage(t, m, 0)
		assert.Empty(t, ids, name)
		assert.Equal(t, map[string]int{"http-401": 401, "http-403": 403, "redirect": 302}[name], status*min(1, status-200), name)
	}
}

func TestWritesAndThrottleGoByTheClock(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := fiveUsers(rolegatetest.MarketplaceConfig{})
		m.Fail(rolegatetest.Chain(rolegatetest.Throttle(2, 3*time.Second), m.Writes(10, 1)))
		var statuses []int
		for range 3 {
			status, _, _, _ := upstreamPage(t, m, 0)
			statuses = append(statuses, status)
		}
		assert.Equal(t, []int{200, 200, 429}, statuses)
		assert.EqualValues(t, 5, m.Sequence())
		<-time.After(time.Second)
		status, _, _, _ := upstreamPage(t, m, 0)
		assert.Equal(t, 200, status)
		assert.EqualValues(t, 15, m.Sequence(), "ten users a second")

		m.Fail(rolegatetest.Sometimes(0.5, 7, rolegatetest.HTTPStatus(502)))
		bad := 0
		for range 200 {
			if status, _, _, _ := upstreamPage(t, m, 0); status == 502 {
				bad++
			}
		}
		assert.InDelta(t, 100, bad, 30)
	})
}
