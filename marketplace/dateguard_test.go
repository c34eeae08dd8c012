package marketplace_test

import (
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/marketplace"
)

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	at := func(d time.Duration) string { return now.Add(d).Format(http.TimeFormat) }
	cases := []struct {
		name, value, date string
		want              time.Duration
	}{
		{"none", "", "", 0},
		{"seconds", "7", "", 7 * time.Second},
		{"seconds with blanks", " 7 ", "", 7 * time.Second},
		{"zero", "0", "", 0},
		{"five minutes", "300", "", 5 * time.Minute},
		{"more", "301", "", 5 * time.Minute},
		{"ten years", "315360000", "", 5 * time.Minute},
		{"more than int64", "99999999999999999999999", "", 5 * time.Minute},
		{"would overflow a duration", "9223372037", "", 5 * time.Minute},
		{"negative", "-7", "", 0},
		{"a fraction", "1.5", "", 0},
		{"words", "soon", "", 0},
		{"a date by our clock", at(90 * time.Second), "", 90 * time.Second},
		{"a date by theirs", at(90 * time.Second), at(60 * time.Second), 30 * time.Second},
		{"a date by theirs, which is garbage", at(90 * time.Second), "noon", 90 * time.Second},
		{"a date that is past", at(-time.Second), "", 0},
		{"a date in ten years", at(87600 * time.Hour), "", 5 * time.Minute},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			h := http.Header{"Retry-After": {tc.value}}
			if tc.date != "" {
				h.Set("Date", tc.date)
			}
			assert.Equal(t, tc.want, marketplace.RetryAfter(h, now))
		})
	}
	for _, status := range []int{429, 503, 500, 401} {
		_, err := pull(t, client(always(status, "", "Retry-After", "12")), 0)
		var pe *rolegate.PullError
		require.ErrorAs(t, err, &pe)
		assert.Equal(t, 12*time.Second, pe.RetryAfter, status)
	}
	_, err := pull(t, client(always(200, `{"code":503,"data":{}}`, "Retry-After", "12")), 0)
	assert.Equal(t, 12*time.Second, requireFailure(t, marketplace.FailureUpstream, err).RetryAfter)
}

func TestAge(t *testing.T) {
	t.Parallel()
	for age, fine := range map[string]bool{"0": true, " 0 ": true, "1": false, "30": false, "-1": false, "": false, "soon": false, "0, 30": false} {
		_, err := pull(t, client(always(200, ok(), "Age", age)), 0)
		if fine {
			require.NoError(t, err, "%q", age)
		} else {
			requireFailure(t, marketplace.FailureCachedReply, err)
		}
	}
	_, err := pull(t, client(always(200, ok(), "Age", "0", "Age", "30")), 0)
	requireFailure(t, marketplace.FailureCachedReply, err)
	_, err = pull(t, client(always(401, "", "Age", "30")), 0)
	requireFailure(t, marketplace.FailureCachedReply, err)
}

func TestDateThatDoesNotMove(t *testing.T) {
	t.Parallel()
	const monday, tuesday = "Mon, 02 Mar 2026 08:00:00 GMT", "Tue, 03 Mar 2026 08:00:00 GMT"
	type step struct {
		wait   time.Duration
		date   string
		after  int64
		cached bool
	}
	var increments []step
	for i := range int64(9) {
		increments = append(increments, step{time.Minute, fmt.Sprintf("Tue, 03 Mar 2026 08:0%d:00 GMT", i), 5 + i, false})
	}
	cases := []struct {
		name  string
		steps []step
	}{
		{"moves", []step{{0, monday, 0, false}, {time.Hour, tuesday, 0, false}}},
		{"the same at once", []step{{0, monday, 0, false}, {1900 * time.Millisecond, monday, 0, false}}},
		{"the same after two seconds", []step{{0, monday, 0, false}, {2 * time.Second, monday, 0, true}}},
		{"measured from the first", []step{{0, monday, 0, false}, {1500 * time.Millisecond, monday, 0, false}, {1500 * time.Millisecond, monday, 0, true}}},
		{"until it moves", []step{{0, monday, 0, false}, {time.Minute, monday, 0, true}, {time.Minute, monday, 0, true}, {time.Minute, tuesday, 0, false}}},
		{"two caches by turns", []step{{0, monday, 0, false}, {time.Minute, tuesday, 0, false}, {time.Minute, monday, 0, true}, {time.Minute, tuesday, 0, true}}},
		{"none", []step{{0, "", 0, false}, {time.Hour, "", 0, false}}},
		{"another request", []step{{0, monday, 0, false}, {time.Hour, monday, 5, false}, {time.Hour, monday, 6, false}}},
		{"a full refresh after many increments", append(append([]step{{0, monday, 0, false}}, increments...), step{time.Minute, monday, 0, true})},
		{"an increment", []step{{0, monday, 5, false}, {time.Hour, monday, 5, true}}},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var date string
				c := client(transport(func(*http.Request) (*http.Response, error) {
					return reply(200, ok(), "Date", date), nil
				}))
				for i, s := range tc.steps {
					<-time.After(s.wait)
					date = s.date
					_, err := pull(t, c, s.after)
					if s.cached {
						requireFailure(t, marketplace.FailureCachedReply, err)
					} else {
						require.NoError(t, err, "step %d", i)
					}
				}
			})
		})
	}
}

func TestSecondPageMayHaveTheDateOfTheFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bodies := pages(ok(user(1, 1)), ok(user(1, 1)), ok())
		var asks []string
		c := client(transport(func(r *http.Request) (*http.Response, error) {
			asks = append(asks, r.URL.Query().Get("lastSequence"))
			res, err := bodies(r)
			res.Header.Set("Date", "Mon, 02 Mar 2026 08:00:00 GMT")
			return res, err
		}))
		require.NoError(t, c.Pull(t.Context(), 0, func(rolegate.Record) { <-time.After(3 * time.Second) }))
		assert.Equal(t, []string{"0", "0", "1"}, asks, "the second request is that of the first page")
	})
}
