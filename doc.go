// Package rolegate admits to a route only the users that a marketplace has
// authorised for the app, with the roles that it has granted them.
//
// It keeps the marketplace's list of authorised users in memory, knows how old
// it is, and answers every request from there. In doubt it denies.
//
//	gate, err := rolegate.Open(ctx, rolegate.Config{
//		Source:   marketplace.New(marketplace.Config{BaseURL: base, AppID: id, Token: token}),
//		Identify: rolegate.ByUserID(sessionUserID),
//	})
//	if err != nil {
//		return err
//	}
//	defer gate.Close()
//
//	r := chi.NewRouter()
//	r.Use(gate.Admit) // on the list, or out
//	r.Get("/", home)
//	r.With(gate.Require(rolegate.AnyRole("teacher", "admin"))).Get("/grades", grades)
//	r.With(gate.Require(rolegate.AllRoles("teacher", "homeroom"),
//		rolegate.InOrg(rolegate.PathOrg("orgID")))).Post("/orgs/{orgID}/reports", report)
//
// # Who says what
//
// The app says who is asking (Config.Identify): rolegate does not
// authenticate. The marketplace says who may enter, and which roles each has in
// which organisation. The checks on the routes say what is needed there. What a
// client sends says nothing: no header, path or parameter names a role, and a
// guard belongs to the handler it wraps, not to a pattern of paths.
//
// # How fresh the list is
//
// Two kinds of refresh keep it in step. Incremental ones (every minute) see what
// was granted and changed. They cannot see what was taken away: the marketplace
// has no message for that. Full refreshes (every ten minutes) do. So there are two
// ages. The contact age goes back to the last refresh of either kind: when it
// passes StaleAfter, the gate warns and goes on. The verified age goes back to
// the start of the last full refresh, up to which every revocation is known: when
// it passes ExpireAfter, the gate denies everything until a full refresh succeeds.
//
// A refresh succeeds whole or changes nothing. Whatever the source does, the list
// in memory stays as it was, only older, until a refresh is found good to its last
// byte.
//
// A full refresh that would remove very many users at once, or while a sync is running
// upstream, is not believed at once: its removals are held until a second full refresh
// agrees, or the sync has ended (Refresh.MaxShrink, Config.UpstreamSync). Before a user
// is refused, the gate looks once whether they have been granted access a moment
// ago (Config.OnDeny).
//
// While the source is well, a grant counts within 1.1 × Refresh.Every and the
// time of one refresh, a revocation within 1.1 × Refresh.ResyncEvery and the time
// of two full refreshes. Whatever happens, a revocation counts within
// Refresh.ExpireAfter.
//
// # What a refused client sees
//
// Each refusal has a [Reason], and each reason its HTTP status:
//
//	401 no_identity       the app knows nobody
//	403 not_authorized    not on the list
//	403 role_missing      a role check does not hold
//	403 condition_failed  a Where said no
//	403 org_unreadable    the organisation cannot be read from the request
//	403 ambiguous         several users share the alias
//	500 identify_failed   the app's identify func failed or panicked
//	503 not_ready         there is no list yet
//	503 expired           the list is older than ExpireAfter
//	503 too_old           a MaxAge was not reached in time
//	503 closed            after Close
//	499 client_gone       the client left while the app was asked who it is; for the log
//
// Every 403 has the same headers and bytes but for the decision's id, so that a
// client cannot find out who exists. The id is in the log line that says why.
package rolegate
