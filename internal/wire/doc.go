// Package wire has what the clients of the two upstreams share: how a secret is
// kept out of texts and errors, how JSON is read strictly, what a header says,
// and how a token is fetched once for everybody who waits for it.
package wire
