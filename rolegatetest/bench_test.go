package rolegatetest_test

import (
	"fmt"
	"io"
	"net/http"
	"runtime"
	"testing"

	"github.com/rolegate/rolegate/rolegatetest"
	"github.com/stretchr/testify/require"
)

// sink is a ResponseWriter that costs nothing.
type sink struct{ header http.Header }

func (s sink) Header() http.Header         { return s.header }
func (s sink) WriteHeader(int)             {}
func (s sink) Write(p []byte) (int, error) { return io.Discard.Write(p) }

func BenchmarkPage(b *testing.B) {
	for _, count := range []int64{10_000, 1_000_000} {
		for name, ids := range map[string]rolegatetest.IDs{"number": rolegatetest.IDsNumber, "string": rolegatetest.IDsString} {
			b.Run(fmt.Sprintf("users=%d/ids=%s", count, name), func(b *testing.B) {
				var before, after runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&before)
				m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{IDs: ids})
				for n := range count {
					m.Grant(1542135022016057346+n, 1+n%100, "teacher", "homeroom")
				}
				runtime.GC()
				runtime.ReadMemStats(&after)

				r, err := http.NewRequest(http.MethodGet, fmt.Sprintf("/app/user/list?accessToken=%s&lastSequence=%d", m.Token(), count/2), nil)
				require.NoError(b, err)
				r.Header.Set("X-App-Id", m.AppID())
				w := sink{make(http.Header)}
				b.ReportAllocs()
				for b.Loop() {
					m.ServeHTTP(w, r)
				}
				b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(count), "heap-B/user")
				require.Equal(b, 1000, m.Requests()[0].Rows)
			})
		}
	}
}
