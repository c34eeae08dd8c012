// Package rolegatetest has what the tests of an app behind rolegate need: a
// marketplace and a cloud command that run inside the test, and a list of users
// that is nothing but memory.
//
// [Marketplace] speaks the protocol of the real one, so that a test exercises
// the client, its token and its cursor as well as the app:
//
//	m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{})
//	m.Grant(42, 7, "teacher")
//	cfg := marketplace.Config{BaseURL: m.Start(t), AppID: m.AppID(), Token: marketplace.StaticToken(m.Token())}
//
// It can also fail on demand ([Marketplace.FailNext], [Marketplace.Fail],
// [Marketplace.FailWhen]), in every way in which an upstream is known to be,
// and says afterwards what it was asked ([Marketplace.Requests]).
//
// In a [testing/synctest] bubble no socket may be used: give the client
// [Marketplace.Transport] and [BaseURL], and the fake answers in the caller's
// own goroutine, on the bubble's clock.
//
// [CloudCommand] is the same for 云上指挥, which says whether a sync of
// organisations and users is running, and for its tokens.
//
// [Static] is a [rolegate.Source] without any wire: for tests that are about
// the app's guards and not about where the list comes from.
//
// [As] puts a user with roles into a request, for the test of a handler without any
// guard, and [RequireGuarded] finds the routes that nothing guards.
//
// The package imports neither testing nor net/http/httptest, which add flags to
// every program that links them: a demo may use it too.
package rolegatetest

// TB is as much of [testing.TB] as this package uses; every *testing.T,
// *testing.B and *testing.F is one.
type TB interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Cleanup(func())
}
