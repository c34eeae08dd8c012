package benchmarks

import (
	"context"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/marketplace"
)

// serve starts a server of the list, on the loopback interface.
func serve(tb testing.TB, w *workload) (*pages, string) {
	tb.Helper()
	p, err := newPages(w)
	require.NoError(tb, err)
	srv := httptest.NewServer(p)
	tb.Cleanup(func() {
		srv.Close()
		p.free()
	})
	return p, srv.URL
}

// marketplaceAt is the client of such a server, as an app would make it but for
// a page of fixed size.
func marketplaceAt(url string) *marketplace.Client {
	return marketplace.New(marketplace.Config{
		BaseURL: url, AppID: appID, Token: marketplace.StaticToken(accessToken), PageSize: pageSize,
	})
}

// openAt opens a gate on such a server.
func openAt(tb testing.TB, url string) *rolegate.Gate {
	tb.Helper()
	gate, err := openGate(marketplaceAt(url))
	require.NoError(tb, err)
	return gate
}

func plainAt(url string) *plainClient {
	return &plainClient{http: &http.Client{}, base: url, roles: map[string]uint16{}}
}

// BenchmarkFullRefresh compares a full refresh of the whole list over HTTP, into an index that
// can be asked, with a plain client that fills a Go map.
func BenchmarkFullRefresh(b *testing.B) {
	n := sized(1_000_000, 10_000)
	b.Run(users(n), func(b *testing.B) {
		w := newWorkload(n)
		p, url := serve(b, w)
		qs := w.questions(1 << 12)
		for b.Loop() {
			var ratios, own, plain []float64
			for range sized(5, 1) {
				runtime.GC()
				var gate *rolegate.Gate
				took := seconds(func() { gate = openAt(b, url) })
				requireGate(b, policy(gate), qs)
				require.NoError(b, gate.Close())

				runtime.GC()
				client := plainAt(url)
				var grants map[int64][]grant
				var err error
				tookPlain := seconds(func() { grants, err = client.readAll(context.Background()) })
				require.NoError(b, err)
				requirePlain(b, client, grants, qs)
				client.http.CloseIdleConnections()
				ratios, own, plain = append(ratios, tookPlain/took), append(own, took), append(plain, tookPlain)
			}
			report(b, median(ratios), "×faster")
			report(b, median(own), "s/full")
			report(b, median(plain), "plain-s/full")
			report(b, float64(len(p.records))/1e6, "MB")
		}
	})
}

// requirePlain requires that what a plain client has read gives right answers.
func requirePlain(tb testing.TB, c *plainClient, grants map[int64][]grant, qs []question) {
	tb.Helper()
	requireAnswers(tb, "the plain client", qs, func(q question) bool {
		for _, g := range grants[q.user] {
			if g.org == q.org && (g.role == c.roles["teacher"] || g.role == c.roles["admin"]) {
				return true
			}
		}
		return false
	})
}

// BenchmarkFullRefreshHeap measures how much of the heap is live at the worst moment
// of a full refresh over HTTP, in indexes: one is there all the time.
func BenchmarkFullRefreshHeap(b *testing.B) {
	n := sized(1_000_000, 10_000)
	b.Run(users(n), func(b *testing.B) {
		_, url := serve(b, newWorkload(n))
		for b.Loop() {
			before := liveHeap()
			gate := openAt(b, url)
			index := liveHeap() - before
			var err error
			peak := peakHeap(func() { err = gate.RefreshAll(context.Background()) }) - before
			require.NoError(b, err)
			require.NoError(b, gate.Close())
			report(b, float64(peak)/float64(index), "×index")
			report(b, float64(peak)/1e6, "MB-peak")
			report(b, float64(index)/1e6, "MB-index")
		}
	})
}
