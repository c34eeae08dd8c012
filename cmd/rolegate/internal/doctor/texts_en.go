package doctor

var english = map[string]text{
	"settings.file": {"%[1]s can be read and is well-formed", ""},
	"settings.file_wrong": {
		"the settings file: %[1]s",
		"Fix it and try again; docs/rolegate.yaml shows all that can be in it.",
	},
	"settings.secret_env":  {"%[1]s is read from the environment variable %[2]s", ""},
	"settings.secret_file": {"%[1]s is read from the file %[2]s", ""},
	"settings.secret_unset": {
		"%[1]s: the environment variable %[2]s is empty or not set",
		"Set it where rolegate is started: export %[2]s=…, Environment= or EnvironmentFile= in a systemd unit, env in a container.",
	},
	"settings.secret_unreadable": {
		"%[1]s cannot be read from %[3]s: %[2]s",
		"The file must be there, have one line, and be readable for the user that rolegate runs as.",
	},
	"settings.secret_open": {
		"%[1]s: other users of this machine have access to %[2]s (%[3]s)",
		"Whoever reads it can act as the app. Fix it with: chmod g-w,o= %[4]s",
	},
	"settings.token_blanks": {
		"marketplace.token has blanks at its ends",
		"They are sent along and make another token of it. Remove them.",
	},
	"settings.token_bearer": {
		"marketplace.token begins with “Bearer ”",
		"That word belongs into an Authorization header; this token is sent in the query. Leave only what comes after it.",
	},
	"settings.token_parameter": {
		"marketplace.token begins with the name of a parameter",
		"Leave only what comes after “=”.",
	},
	"settings.token_quotes": {
		"marketplace.token is in quotation marks or brackets",
		"They are sent along and make another token of it. Remove them; in an env file, values need none.",
	},
	"settings.token_blank_inside": {
		"marketplace.token has a blank in it",
		"Tokens have none. See whether more than the token was copied.",
	},
	"settings.token_invisible": {
		"marketplace.token has a character in it that cannot be seen",
		"It is sent along and makes another token of it. A byte order mark comes from a file that an editor on Windows has saved: save it as UTF-8 without BOM; others come from a web page: type the token anew.",
	},
	"settings.marketplace_wrong": {"%[1]s", ""},
	"settings.gate_wrong": {
		"%[1]s",
		"rolegate serve would not start with this.",
	},
	"settings.gate": {"rolegate serve would take these settings; rules: %[1]d", ""},
	"settings.nobody_asks": {
		"there is neither forward_auth nor authzen nor admin in the file",
		"Enough for doctor and pull. For rolegate serve, say who may ask it.",
	},

	"address.http": {
		"the URL begins with http://, and the host is not this machine",
		"The token is in the query of each request: everybody on the way can read it. Ask the marketplace for its https:// URL.",
	},
	"address.proxy": {
		"requests go through the proxy %[1]s, which HTTPS_PROXY or HTTP_PROXY names",
		"If the marketplace can be reached without it, put its host into NO_PROXY.",
	},
	"address.proxy_wrong": {
		"HTTPS_PROXY or HTTP_PROXY is not a URL",
		"Write it like http://proxy.example.com:3128, or unset it.",
	},
	"address.name": {"%[1]s is %[2]s", ""},
	"address.name_unknown": {
		"the name %[1]s does not exist",
		"Look for a typo in the URL. A name that only the marketplace's own network knows needs its DNS server, or a VPN.",
	},
	"address.name_failed": {
		"no DNS server says what %[1]s is",
		"See /etc/resolv.conf, and in a container its DNS settings: try getent hosts %[1]s",
	},
	"address.connected": {"%[1]s accepts connections (%[2]s)", ""},
	"address.refused": {
		"%[1]s refuses connections",
		"Nothing listens at that port, or a firewall says so. Compare host and port with what you were given.",
	},
	"address.refused_here": {
		"%[1]s refuses connections",
		"Nothing listens there. In a container, this address is the container itself: use the host's name, or that of the other container.",
	},
	"address.timeout": {
		"%[1]s does not answer",
		"Mostly a firewall, or an address that your network has no way to. Ask the marketplace whether your outgoing address must be admitted.",
	},
	"address.unreachable": {
		"%[1]s cannot be reached: %[2]s",
		"See the routes and the firewall of this machine.",
	},
	"address.tls": {"%[1]s; the certificate is for %[2]s and holds until %[3]s", ""},
	"address.tls_ends_soon": {
		"%[1]s; the certificate of %[2]s ends on %[3]s",
		"After that day nothing can be pulled. Tell the marketplace's operator.",
	},
	"address.tls_expired": {
		"the certificate of %[1]s ended on %[2]s",
		"If this machine's clock is right, the marketplace's operator must renew it.",
	},
	"address.tls_authority": {
		"the certificate of %[1]s is signed by an authority that this machine does not know",
		"Have the authority's certificate installed on this machine, or name it in SSL_CERT_FILE. If a proxy inspects the traffic here, it is that proxy's.",
	},
	"address.tls_name": {
		"the certificate of %[1]s is not for the name %[2]s",
		"Use the name that is in the certificate; or another server answers in the marketplace's place.",
	},
	"address.no_tls": {
		"%[1]s does not speak TLS",
		"The port is wrong, or the URL must begin with http://.",
	},
	"address.tls_failed": {
		"there is no TLS connection to %[1]s: %[2]s",
		"See whether something on the way, such as a proxy or a firewall, breaks it: openssl s_client -connect %[1]s",
	},

	"token.untried":  {"token, page and all that follows were not tried: the marketplace cannot be reached", ""},
	"token.accepted": {"the token is accepted for the app %[1]s", ""},
	"token.refused": {
		"the token or the app id is refused: %[1]s",
		"Which of the two cannot be told from outside. Get a new token, and compare the app id with the client id that the marketplace shows; the app must be on sale.",
	},
	"token.refused_in_body": {
		"the token or the app id is refused, by code 401 in the body: %[1]s",
		"Which of the two cannot be told from outside. Get a new token, and compare the app id with the client id that the marketplace shows; the app must be on sale.",
	},
	"token.code": {
		"the marketplace says that the call failed: %[1]s",
		"If that code is its way to refuse a token, get a new one, and name the code in marketplace.refused_codes, so that a gate asks for another token at once; else ask its operator what the code means.",
	},
	"token.redirect": {
		"the marketplace answers %[1]d, a redirect to %[2]s",
		"Nothing follows it, since the token would go along. Mostly it leads to a login page: then the URL is that of the web site, not of the interface.",
	},
	"token.redirect_https": {
		"the marketplace answers %[1]d, a redirect to https",
		"Use %[2]s as the URL. The token has just been sent over http: get a new one.",
	},
	"token.html": {
		"the answer is a page for people, not JSON",
		"A login page or a portal stands in the way, or the URL is that of the web site, not of the interface. Ask for the interface's URL.",
	},
	"token.not_found": {
		"the list is not at this address: %[1]s",
		"Try %[2]s as the URL, or another path (marketplace.path, --path).",
	},
	"token.forbidden": {
		"the marketplace forbids it: %[1]s",
		"Mostly a firewall in front of it that does not know your address. Ask whether your outgoing address must be admitted.",
	},
	"token.too_many": {
		"the marketplace is asked too often: %[1]s",
		"Wait, and see who else uses this app id. Set marketplace.max_requests_per_second to what is allowed. Several replicas share one list with cache.redis; refresh.every may be longer.",
	},
	"token.proxy_password": {
		"the proxy wants a password",
		"Put it into HTTPS_PROXY, or the marketplace's host into NO_PROXY.",
	},
	"token.server": {
		"the marketplace has an error of its own: %[1]s",
		"Try again in a few minutes. If it stays, tell the operator the time and the path; a running gate serves its last list meanwhile.",
	},
	"token.status": {
		"the answer is not the list: %[1]s",
		"Compare the URL and the path with the marketplace's document.",
	},
	"token.content": {
		"the answer is not the list that is documented: %[1]s",
		"Something else answers at this address, or the interface has changed. Look at it with: curl -iG --data-urlencode accessToken@FILE -H 'X-App-Id: …' URL",
	},
	"token.cut_off": {
		"the connection ends in the middle of the page: %[1]s",
		"A proxy on the way cuts long answers off, or the server fails in between. Try a smaller marketplace.page_size.",
	},
	"token.timeout": {
		"no whole page within %[1]s",
		"The server is slow or hangs. Try a smaller marketplace.page_size, or a longer marketplace.page_timeout.",
	},
	"token.broken": {
		"the connection broke: %[1]s",
		"Try again. If it stays, look for a proxy or firewall on the way.",
	},
	"token.unavailable": {
		"there is no token: %[1]s",
		"See where marketplace.token is read from.",
	},
	"token.unknown": {"whether the token is accepted is not known: a cache answered", ""},
	"token.failed": {
		"no page could be had: %[1]s",
		"Try again; then ask the marketplace's operator.",
	},

	"page.whole": {"users: %[1]d, which is the whole list (%[2]s, %[3]s)", ""},
	"page.first": {"users on the first page: %[1]d, and more follow (%[2]s, %[3]s)", ""},
	"page.some":  {"users on the first page: %[1]d; whether more follow is not known (%[2]s, %[3]s)", ""},
	"page.empty": {
		"the list is empty: nobody is authorised for the app %[1]s",
		"The gate would refuse everybody. See whether this is the right app id and environment, and whether the app has been granted to anybody.",
	},
	"page.room": {"at this size, speed and rate, about %[1]d users can be read within refresh.resync_every (%[2]s)", ""},
	"page.room_small": {
		"at this size, speed and rate, no more than about %[1]d users can be read within refresh.resync_every (%[2]s)",
		"A full refresh of a longer list is not over when the next is due, and revocations take as long. Raise marketplace.max_requests_per_second or marketplace.page_size, or refresh.resync_every.",
	},
	"page.slow": {
		"the page took %[1]s; a page that takes %[2]s fails",
		"Try a smaller marketplace.page_size, or a longer marketplace.page_timeout.",
	},
	"page.large": {
		"the page has %[1]s; one above %[2]s fails",
		"Set a smaller marketplace.page_size, or a larger marketplace.max_page_bytes.",
	},
	"page.too_large": {
		"the first page is too large: %[1]s",
		"Set a smaller marketplace.page_size, or a larger marketplace.max_page_bytes.",
	},

	"ids.numbers": {"ids are numbers", ""},
	"ids.strings": {"ids are strings, which are read as exactly", ""},
	"ids.mixed":   {"ids are numbers and strings, in turns; both are read exactly", ""},
	"ids.large": {
		"user ids above 2^53: %[1]d",
		"rolegate reads them exactly. Where your own code has them in JavaScript or as a float, the last digits change: pass them on as strings.",
	},
	"ids.nobody": {
		"user ids that are 0 or below: %[1]d",
		"They identify nobody, and are refused. Ask the marketplace's operator what these records are.",
	},
	"ids.no_role_list": {
		"users whose role list is missing: %[1]d",
		"That is not the same as no roles: they are refused. A user without roles must have “roleList”: []; tell the marketplace's operator.",
	},
	"ids.repeated": {
		"users who are on the page more than once: %[1]d, such as %[2]d",
		"Of several records, the one with the highest sequence counts. Ask the marketplace's operator whether roles are spread over them: then some are lost.",
	},
	"ids.bad": {
		"records that cannot be understood: %[1]d (%[2]s); the first is of user %[3]d",
		"Their users are refused, and nobody else. Tell the marketplace's operator.",
	},
	"ids.bad_without_id": {
		"records that cannot be understood: %[1]d (%[2]s); whose they are does not show",
		"Their users are refused, and nobody else. Tell the marketplace's operator.",
	},
	"ids.null_roles": {
		"users whose roleList is null: %[1]d",
		"They are taken for users without roles.",
	},
	"ids.unreadable": {
		"records whose %[2]s cannot be read: %[1]d",
		"Their users are refused if the app identifies users by it or keeps it; otherwise it is ignored. Tell the marketplace's operator: expected valid UTF-8, once in each record.",
	},
	"ids.drift": {
		"of %[2]d records %[1]d cannot be understood: the gate refuses a list with so many",
		"The interface has changed, or this is not the list of users. Compare it with the marketplace's document.",
	},

	"cursor.rising": {"sequences rise, from %[1]d to %[2]d", ""},
	"cursor.none": {
		"no record has a sequence above 0",
		"Changes cannot be asked for: what is granted shows only in a full refresh (refresh.resync_every), and a second page cannot be had. Ask the operator for lastSequence.",
	},
	"cursor.some_none": {
		"users without a sequence above 0, while others have one: %[1]d",
		"A change of theirs shows only in a full refresh (refresh.resync_every). Ask the operator for a lastSequence of theirs.",
	},
	"cursor.absurd": {
		"sequences far above all others: %[1]d, from %[2]d, where the next below is %[3]d",
		"A few are left out of account, so that later changes are still seen; more are taken for how the marketplace numbers. Ask the operator whether they are typos.",
	},
	"cursor.disordered": {
		"sequences do not rise; they lie between %[1]d and %[2]d",
		"It does no harm while all users fit into one page. With more, those below the highest sequence would be left out: ask the operator for ascending order.",
	},
	"cursor.disordered_pages": {
		"sequences do not rise (they lie between %[1]d and %[2]d), and the list has more than one page",
		"The next page is what comes after the highest sequence: users below it are left out and refused. Ask the operator for ascending order.",
	},
	"cursor.shared": {
		"users who share their sequence with another: %[1]d",
		"Leave marketplace.unique_sequences off: with it, some of them would be left out where a page ends between them.",
	},
	"cursor.shared_but_unique": {
		"marketplace.unique_sequences is on, but users share their sequence with another: %[1]d",
		"Turn it off: where a page ends between them, some are left out and refused, and nobody is told.",
	},
	"cursor.exclusive": {"asked for what comes after a sequence, the server leaves that one out", ""},
	"cursor.inclusive": {"asked for what comes after a sequence, the server repeats that one; rolegate copes with it", ""},
	"cursor.not_heeded": {
		"asked for what comes after sequence %[1]d, the server answers with users below it",
		"It does not heed lastSequence, or something on the way drops it: no full refresh comes to its end. Ask the operator.",
	},
	"cursor.stuck": {
		"the list does not move on: %[1]s",
		"More users than a page has room for share one sequence, or lastSequence is not heeded. Set marketplace.page_size to 1000, and ask the operator.",
	},
	"cursor.tie": {
		"too many users share one sequence: %[1]s",
		"The gate cannot see whether there are more of them, and refuses such a list. Ask the operator to give each change a sequence of its own; until then, a change of one of these users may help.",
	},
	"cursor.descending": {
		"pages come in descending order: %[1]s",
		"The gate goes on from the highest sequence and would miss all others, so it refuses such a list. Ask the operator to sort by lastSequence, ascending.",
	},
	"cursor.unknown": {
		"the request for what comes after the page failed: %[1]s",
		"Try again: a gate needs it for every pull.",
	},
	"cursor.short_pages": {
		"a page has %[1]d users where %[2]d were asked for, and more follow",
		"The server caps its pages. rolegate reads on; a full refresh takes more requests.",
	},

	"roles.held": {"role codes: %[1]d; most held: %[2]s", ""},
	"roles.none": {
		"nobody on the page has any role",
		"Rules that ask for a role refuse everybody. See in the marketplace whether roles have been granted in this app.",
	},
	"roles.without": {
		"users without any role: %[1]d",
		"They pass only where being on the list is enough.",
	},
	"roles.dropped": {
		"grants without an organisation or a role code: %[1]d",
		"They open nothing, and whoever has one fails every NoRole: it may have been that role. Ask the marketplace's operator to fix them.",
	},
	"roles.alike": {
		"role codes that differ only in case or blanks: %[1]s",
		"Codes compare byte for byte: a rule for one does not hold for the other. Name all of them, or have them put right in the marketplace.",
	},
	"roles.blanks": {
		"a role code with blanks at its ends: %[1]s",
		"A rule must have them too. Better have it put right in the marketplace.",
	},
	"roles.list": {"the platform lists role codes: %[1]d (%[2]s)", ""},
	"roles.list_failed": {
		"the platform's list of roles cannot be had: %[1]s",
		"Nobody's access depends on it, only advice about typos. Fix marketplace.role_list_path, or remove it.",
	},
	"roles.rules": {"somebody holds each of the role codes that the rules name: %[1]d", ""},
	"roles.not_held": {
		"the rules name %[1]s, which nobody holds",
		"See whether it is written as in the marketplace.",
	},
	"roles.not_held_near": {
		"the rules name %[1]s, which nobody holds",
		"Is %[2]s meant?",
	},
	"roles.not_held_yet": {"the rules name %[1]s: the platform knows it, and nobody here holds it yet", ""},
	"roles.unknown": {
		"the rules name %[1]s, which neither the platform lists nor anybody here holds",
		"See whether it is written as in the marketplace.",
	},
	"roles.unknown_near": {
		"the rules name %[1]s, which neither the platform lists nor anybody here holds",
		"Is %[2]s meant?",
	},
	"roles.not_on_page": {
		"the rules name %[1]s, which nobody on this page holds",
		"Only the first page was looked at. A running gate tells: rolegate status.",
	},

	"freshness.clock": {"the marketplace's clock and this machine's agree", ""},
	"freshness.ahead": {
		"this machine's clock is ahead of the marketplace's by %[1]s",
		"One of them is wrong. If it is this one, tokens of an issuer and certificates are checked wrongly: see timedatectl, or chronyc tracking.",
	},
	"freshness.behind": {
		"this machine's clock is behind the marketplace's by %[1]s",
		"One of them is wrong. If it is this one, tokens of an issuer and certificates are checked wrongly: see timedatectl, or chronyc tracking.",
	},
	"freshness.no_date": {"the reply has no Date, so that clocks cannot be compared", ""},
	"freshness.cached": {
		"a cache answered in the marketplace's stead: Age: %[1]s",
		"The gate counts such a reply as failed, since the list in it is old. Have this URL exempted from the proxy or CDN in between.",
	},
	"freshness.hit": {
		"a cache on the way says that it had the reply: %[1]s: %[2]s",
		"Without an Age the gate cannot tell, and would serve an old list. Have this URL exempted there; until then, marketplace.cache_buster may help.",
	},
	"freshness.cache": {
		"there is a cache on the way, which did not have the reply: %[1]s: %[2]s",
		"It should leave this URL alone: the list is of one app, and of now.",
	},
	"freshness.storable": {
		"the reply's Cache-Control lets caches keep it",
		"There should be none on the way. The marketplace's operator should send Cache-Control: no-store.",
	},
	"freshness.compressed": {"the reply is compressed", ""},
	"freshness.plain": {
		"the reply is not compressed: %[1]s",
		"With gzip it would have about a tenth. Ask the marketplace's operator.",
	},

	"cache.file":     {"the index is kept in %[1]s (%[2]s, stored %[3]s)", ""},
	"cache.file_new": {"the index will be kept in %[1]s, which is not there yet", ""},
	"cache.file_wrong": {
		"cache.file: %[1]s",
		"Whoever can write that file decides who enters: it must be the own file of the user that rolegate runs as.",
	},
	"cache.folder_closed": {
		"cache.file: nothing can be written to the folder %[1]s: %[2]s",
		"The folder must belong to the user that rolegate runs as.",
	},
	"cache.redis": {"Redis %[2]s answers at %[1]s", ""},
	"cache.redis_some": {
		"Redis answers at %[1]s, and does not tell its version",
		"It must be 6.2 or newer.",
	},
	"cache.redis_old": {
		"Redis at %[1]s is %[2]s",
		"6.2 or newer is needed.",
	},
	"cache.redis_away": {
		"Redis at %[1]s cannot be reached: %[2]s",
		"See addresses, ports and cache.redis.tls. Without Redis each replica pulls by itself.",
	},
	"cache.redis_password": {
		"Redis at %[1]s does not accept the user or the password",
		"See cache.redis.username and cache.redis.password.",
	},
	"cache.redis_rights": {
		"the user of Redis at %[1]s may not do what is needed",
		"On keys with the prefix: EVAL, EVALSHA, HMGET, HSET, HDEL, HLEN, XADD, XREAD, XREVRANGE, XTRIM, XLEN, PEXPIRE, TYPE, DEL, UNLINK; and TIME and PING.",
	},
	"cache.redis_error": {
		"Redis at %[1]s answers with the error %[2]s",
		"See its log. LOADING passes by itself; MOVED is a cluster: name its servers in cache.redis.cluster. READONLY is a replica: name the primary, or the Sentinels in cache.redis.sentinel.",
	},
	"cache.redis_clock": {
		"the clocks of this machine and of Redis at %[1]s differ by %[2]s",
		"One of them is wrong. Ages of the shared list are told by that of Redis.",
	},
	"cache.redis_plain": {
		"the password of Redis goes to %[1]s without TLS",
		"Everybody on the way can read it. Set cache.redis.tls, unless the network is your own.",
	},

	"cloud.running": {
		"云上指挥 says that a sync is running: %[1]s",
		"While it runs, removals are held back, for refresh.sync_hold at most.",
	},
	"cloud.done": {"云上指挥 says that the sync is done: %[1]s", ""},
	"cloud.unknown": {
		"云上指挥 answers with a text that nobody knows: %[1]s",
		"It counts as no sync. If it means that a sync is done or running, put it into cloud_command.done or cloud_command.running.",
	},
	"cloud.silent": {"云上指挥 accepts the token, and tells of no sync", ""},
	"cloud.no_done_texts": {
		"cloud_command.done has no texts",
		"Then nothing says that a sync is done, only that it runs no more. When one has ended, run this again and put the text that is shown there.",
	},
	"cloud.refused": {
		"云上指挥 refuses the credentials: %[1]s",
		"See cloud_command.client_id, client_secret, username, password and tenant_id. A role that is too small is refused in the same way.",
	},
	"cloud.failed": {
		"云上指挥 cannot be asked: %[1]s",
		"See cloud_command.url, token_path and path. BladeX as it is sold has blade-auth/oauth/token for token_path.",
	},
	"cloud.http": {
		"cloud_command.url begins with http://, and the host is not this machine",
		"All secrets for it can be read on the way. Ask for its https:// URL.",
	},

	"identity.issuer": {"the issuer %[1]s has keys", ""},
	"identity.issuer_failed": {
		"the keys of the issuer %[1]s cannot be had: %[2]s",
		"The issuer must be written byte for byte as in its /.well-known/openid-configuration, and be reachable from here.",
	},
	"identity.trusted_public": {
		"%[1]s has %[2]s, addresses of the Internet",
		"Whoever is there can send the header and be anybody. Name the addresses of your proxy alone.",
	},
	"identity.trusted_wide": {
		"%[1]s has %[2]s, which is much for a proxy",
		"Whoever is there can send the header and be anybody. Name the addresses of your proxy alone.",
	},

	"listeners.free": {"%[1]s: %[2]s is free", ""},
	"listeners.own":  {"%[1]s: %[2]s is in use, and a rolegate is running", ""},
	"listeners.taken": {
		"%[1]s: %[2]s is in use",
		"If that is not a rolegate which runs already, name another port. Who it is: ss -ltnp",
	},
	"listeners.forbidden": {
		"%[1]s: this user may not listen at %[2]s",
		"Use a port from 1024 on, or give the program the right: setcap cap_net_bind_service=+ep",
	},
	"listeners.elsewhere": {
		"%[1]s: %[2]s is no address of this machine",
		"Name one that it has (ip addr), or 127.0.0.1 if the proxy is on this machine.",
	},
	"listeners.failed": {
		"%[1]s: nothing can listen at %[2]s: %[3]s",
		"Expected host:port, such as 127.0.0.1:9090.",
	},
	"listeners.open_for_nobody": {
		"%[1]s listens on all networks (%[2]s), and only this machine is trusted",
		"Listen at 127.0.0.1: nobody else is answered anyway.",
	},
	"listeners.admin_open": {
		"admin listens on all networks (%[1]s)",
		"Whoever reaches it can read the metrics, and how the gate is. Listen at 127.0.0.1, or at an address of your own network.",
	},

	"control.fine":    {"the control socket can be made: %[1]s", ""},
	"control.running": {"a rolegate is running behind the control socket %[1]s", ""},
	"control.folder": {
		"control: nothing can be written to the folder %[1]s: %[2]s",
		"Make it, as the own folder of the user that rolegate runs as; with systemd: RuntimeDirectory=rolegate",
	},
	"control.not_a_socket": {
		"control: there is something at %[1]s that is no socket",
		"Name another path, or remove what is there.",
	},
	"control.too_long": {
		"control: the path %[1]s is longer than the %[2]d bytes that a socket may have",
		"Name a shorter one, such as /run/rolegate/control.sock",
	},
}
