//go:build drill

package chiroutes_test

// randomRouters is how many routers TestListingIsWhatTheRouterDispatches makes.
const randomRouters = 10_000
