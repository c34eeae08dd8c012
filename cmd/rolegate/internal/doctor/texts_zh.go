package doctor

var chinese = map[string]text{
	"settings.file": {"%[1]s 可以读取，格式正确", ""},
	"settings.file_wrong": {
		"配置文件：%[1]s",
		"请改正后重试；文件里可以写什么，见 docs/rolegate.zh-CN.yaml。",
	},
	"settings.secret_env":  {"%[1]s 读自环境变量 %[2]s", ""},
	"settings.secret_file": {"%[1]s 读自文件 %[2]s", ""},
	"settings.secret_unset": {
		"%[1]s：环境变量 %[2]s 没有设置，或者是空的",
		"请在启动 rolegate 的地方设置：export %[2]s=…，systemd 用 Environment= 或 EnvironmentFile=，容器用 env。",
	},
	"settings.secret_unreadable": {
		"无法从 %[3]s 读取 %[1]s：%[2]s",
		"文件必须存在、只有一行，并且运行 rolegate 的系统用户有权读取。",
	},
	"settings.secret_open": {
		"%[1]s：本机其他用户也能访问 %[2]s（%[3]s）",
		"谁读到它，谁就能冒充本应用。请执行：chmod g-w,o= %[4]s",
	},
	"settings.token_blanks": {
		"marketplace.token 首尾有空白字符",
		"空白会一起发送，令牌就不对了。请去掉。",
	},
	"settings.token_bearer": {
		"marketplace.token 以 “Bearer ” 开头",
		"这个词是用在 Authorization 请求头里的，而此令牌放在查询参数中发送。请只保留它后面的内容。",
	},
	"settings.token_parameter": {
		"marketplace.token 前面带着参数名",
		"请只保留“=”后面的内容。",
	},
	"settings.token_quotes": {
		"marketplace.token 外面有引号或尖括号",
		"引号会一起发送，令牌就不对了。请去掉；env 文件里的值不需要引号。",
	},
	"settings.token_blank_inside": {
		"marketplace.token 中间有空格",
		"令牌里不会有空格。请检查是否多复制了内容。",
	},
	"settings.token_invisible": {
		"marketplace.token 里有看不见的字符",
		"它会一并发送，令牌因此就不对了。字节顺序标记（BOM）来自 Windows 上的编辑器：请保存为不带 BOM 的 UTF-8；其他的多半来自网页：请重新输入令牌。",
	},
	"settings.marketplace_wrong": {"%[1]s", ""},
	"settings.gate_wrong": {
		"%[1]s",
		"这样 rolegate serve 无法启动。",
	},
	"settings.gate": {"rolegate serve 可以用这份配置启动，规则 %[1]d 条", ""},
	"settings.nobody_asks": {
		"文件里没有 forward_auth、authzen 和 admin",
		"用于 doctor 和 pull 已经够了；要运行 rolegate serve，还需写明由谁来询问。",
	},

	"address.http": {
		"地址以 http:// 开头，而且不是本机",
		"令牌就在每个请求的查询参数里，沿途任何人都能看到。请向市场方索取 https:// 地址。",
	},
	"address.proxy": {
		"请求经过代理 %[1]s（来自 HTTPS_PROXY 或 HTTP_PROXY）",
		"如果可以直接访问市场，请把市场的主机名加入 NO_PROXY。",
	},
	"address.proxy_wrong": {
		"HTTPS_PROXY 或 HTTP_PROXY 不是合法的 URL",
		"请写成 http://proxy.example.com:3128 的形式，或者取消设置。",
	},
	"address.name": {"%[1]s 解析为 %[2]s", ""},
	"address.name_unknown": {
		"域名 %[1]s 不存在",
		"请检查地址是否写错。如果是只在市场内网有效的域名，需要使用内网 DNS 或 VPN。",
	},
	"address.name_failed": {
		"DNS 服务器没有给出 %[1]s 的地址",
		"请检查 /etc/resolv.conf，容器则检查其 DNS 设置；可以执行：getent hosts %[1]s",
	},
	"address.connected": {"%[1]s 可以连接（%[2]s）", ""},
	"address.refused": {
		"%[1]s 拒绝连接",
		"该端口没有程序在监听，或被防火墙拒绝。请核对主机和端口。",
	},
	"address.refused_here": {
		"%[1]s 拒绝连接",
		"该端口没有程序在监听。在容器里，这个地址指的是容器自身：请改用宿主机名或另一个容器的名称。",
	},
	"address.timeout": {
		"%[1]s 没有应答",
		"多半是防火墙，或者你的网络到不了这个地址。请问市场方是否需要把你的出口 IP 加入白名单。",
	},
	"address.unreachable": {
		"无法到达 %[1]s：%[2]s",
		"请检查本机的路由和防火墙。",
	},
	"address.tls": {"%[1]s；证书属于 %[2]s，有效期至 %[3]s", ""},
	"address.tls_ends_soon": {
		"%[1]s；%[2]s 的证书将于 %[3]s 到期",
		"到期后将无法拉取列表。请提醒市场的运维人员。",
	},
	"address.tls_expired": {
		"%[1]s 的证书已于 %[2]s 过期",
		"如果本机时间正确，需要由市场的运维人员更新证书。",
	},
	"address.tls_authority": {
		"%[1]s 的证书由本机不信任的机构签发",
		"请把该机构的根证书装到本机，或用 SSL_CERT_FILE 指定。如果这里有检查流量的代理，那就是它的证书。",
	},
	"address.tls_name": {
		"%[1]s 的证书不属于域名 %[2]s",
		"请改用证书里的域名；也可能是别的服务器在冒充市场应答。",
	},
	"address.no_tls": {
		"%[1]s 不支持 TLS",
		"端口不对，或者地址应当以 http:// 开头。",
	},
	"address.tls_failed": {
		"与 %[1]s 建立 TLS 连接失败：%[2]s",
		"请检查途中是否有代理或防火墙中断了连接：openssl s_client -connect %[1]s",
	},

	"token.untried":  {"市场无法访问，令牌、页面等后续检查没有进行", ""},
	"token.accepted": {"令牌有效，应用 %[1]s 已被接受", ""},
	"token.refused": {
		"令牌或应用 ID 被拒绝：%[1]s",
		"从外部无法判断是哪一个的问题。请换一个新令牌，并核对应用 ID 与市场显示的客户端 ID 是否一致；应用必须处于上架状态。",
	},
	"token.refused_in_body": {
		"令牌或应用 ID 被拒绝（响应体中的 code 为 401）：%[1]s",
		"从外部无法判断是哪一个的问题。请换一个新令牌，并核对应用 ID 与市场显示的客户端 ID 是否一致；应用必须处于上架状态。",
	},
	"token.code": {
		"市场返回调用失败：%[1]s",
		"如果市场用这个 code 表示令牌无效，请换新令牌，并把它写入 marketplace.refused_codes，这样运行中的服务会立即更换令牌；否则请向市场运维人员询问该 code 的含义。",
	},
	"token.redirect": {
		"市场返回 %[1]d，重定向到 %[2]s",
		"程序不会跟随，否则令牌会一起发过去。这多半是登录页：说明填的是网站地址，而不是接口地址。",
	},
	"token.redirect_https": {
		"市场返回 %[1]d，要求改用 https",
		"请把地址改为 %[2]s。令牌刚刚经 http 明文发送过，建议更换。",
	},
	"token.html": {
		"返回的是网页，而不是 JSON",
		"请求被登录页或门户拦住了，或者填的是网站地址而不是接口地址。请索取接口地址。",
	},
	"token.not_found": {
		"该地址没有用户列表接口：%[1]s",
		"请试试把地址改为 %[2]s，或修改路径（marketplace.path、--path）。",
	},
	"token.forbidden": {
		"市场禁止访问：%[1]s",
		"多半是市场前面的防火墙不认识你的地址。请询问是否需要把出口 IP 加入白名单。",
	},
	"token.too_many": {
		"请求过于频繁：%[1]s",
		"请稍后再试，并检查还有谁在用这个应用 ID。请把 marketplace.max_requests_per_second 设为允许的值。多个副本可用 cache.redis 共享一份列表，也可以调大 refresh.every。",
	},
	"token.proxy_password": {
		"代理要求提供密码",
		"请写入 HTTPS_PROXY，或把市场的主机名加入 NO_PROXY。",
	},
	"token.server": {
		"市场自身出错：%[1]s",
		"请过几分钟再试。如果一直如此，请把时间和路径告诉运维人员；运行中的服务会继续使用最后一份列表。",
	},
	"token.status": {
		"返回的不是用户列表：%[1]s",
		"请对照市场文档核对地址和路径。",
	},
	"token.content": {
		"返回内容与文档不符：%[1]s",
		"这个地址上是别的服务，或者接口已经变更。可以这样查看：curl -iG --data-urlencode accessToken@文件 -H 'X-App-Id: …' 地址",
	},
	"token.cut_off": {
		"页面没有传完连接就断了：%[1]s",
		"可能是途中的代理截断了较长的响应，或服务器中途出错。可以把 marketplace.page_size 调小再试。",
	},
	"token.timeout": {
		"%[1]s 内没有收到完整的页面",
		"服务器太慢或没有响应。可以调小 marketplace.page_size，或调大 marketplace.page_timeout。",
	},
	"token.broken": {
		"连接中断：%[1]s",
		"请重试。如果一直如此，请检查途中的代理或防火墙。",
	},
	"token.unavailable": {
		"没有令牌：%[1]s",
		"请检查 marketplace.token 从哪里读取。",
	},
	"token.unknown": {"是否接受令牌尚不清楚：应答来自缓存", ""},
	"token.failed": {
		"没有取到页面：%[1]s",
		"请重试；仍不行请联系市场运维人员。",
	},

	"page.whole": {"用户 %[1]d 个，列表到此为止（%[2]s，%[3]s）", ""},
	"page.first": {"第一页有用户 %[1]d 个，后面还有（%[2]s，%[3]s）", ""},
	"page.some":  {"第一页有用户 %[1]d 个，后面是否还有不清楚（%[2]s，%[3]s）", ""},
	"page.empty": {
		"列表是空的：应用 %[1]s 没有授权给任何人",
		"这样所有人都会被拒绝。请确认应用 ID 和环境是否正确，以及应用是否已授权给用户。",
	},
	"page.room": {"按目前的每页数量、速度和频率，refresh.resync_every（%[2]s）之内大约能读取 %[1]d 个用户", ""},
	"page.room_small": {
		"按目前的每页数量、速度和频率，refresh.resync_every（%[2]s）之内最多只能读取约 %[1]d 个用户",
		"列表更长时，一次全量同步还没结束，下一次就到了，撤销授权也会相应变慢。请调大 marketplace.max_requests_per_second、marketplace.page_size 或 refresh.resync_every。",
	},
	"page.slow": {
		"取一页用了 %[1]s，超过 %[2]s 就算失败",
		"可以调小 marketplace.page_size，或调大 marketplace.page_timeout。",
	},
	"page.large": {
		"一页有 %[1]s，超过 %[2]s 就算失败",
		"请调小 marketplace.page_size，或调大 marketplace.max_page_bytes。",
	},
	"page.too_large": {
		"第一页太大：%[1]s",
		"请调小 marketplace.page_size，或调大 marketplace.max_page_bytes。",
	},

	"ids.numbers": {"ID 以数字形式返回", ""},
	"ids.strings": {"ID 以字符串形式返回，同样能精确读取", ""},
	"ids.mixed":   {"ID 有的是数字，有的是字符串，都能精确读取", ""},
	"ids.large": {
		"大于 2^53 的用户 ID：%[1]d 个",
		"rolegate 能精确读取。但在 JavaScript 或浮点数里末几位会变：请按字符串传递。",
	},
	"ids.nobody": {
		"为 0 或负数的用户 ID：%[1]d 个",
		"它们不代表任何人，会被拒绝。请向市场运维人员询问这些记录是什么。",
	},
	"ids.no_role_list": {
		"缺少 roleList 的用户：%[1]d 个",
		"缺少不等于没有角色，这些用户会被拒绝。没有角色的用户应返回 “roleList”: []，请告知市场运维人员。",
	},
	"ids.repeated": {
		"页面中重复出现的用户：%[1]d 个，例如 %[2]d",
		"多条记录中以序号最大的为准。请确认角色是否分散在这些记录里：那样会丢失一部分。",
	},
	"ids.bad": {
		"无法理解的记录：%[1]d 条（%[2]s），第一条属于用户 %[3]d",
		"只有这些用户会被拒绝。请告知市场运维人员。",
	},
	"ids.bad_without_id": {
		"无法理解的记录：%[1]d 条（%[2]s），看不出属于谁",
		"只有这些用户会被拒绝。请告知市场运维人员。",
	},
	"ids.null_roles": {
		"roleList 为 null 的用户：%[1]d 个",
		"按没有角色的用户处理。",
	},
	"ids.unreadable": {
		"%[2]s 无法读取的记录：%[1]d 条",
		"如果应用按该字段识别用户或保留该字段，这些用户会被拒绝；否则忽略。请告知市场运维人员：应为有效的 UTF-8，且每条记录只出现一次。",
	},
	"ids.drift": {
		"%[2]d 条记录中有 %[1]d 条无法理解，这样的列表会被整份拒绝",
		"接口已经变更，或者这不是用户列表。请对照市场文档核对。",
	},

	"cursor.rising": {"序号递增，从 %[1]d 到 %[2]d", ""},
	"cursor.none": {
		"没有一条记录的序号大于 0",
		"无法按序号增量同步：新授权要等全量同步（refresh.resync_every）才生效，也取不到第二页。请让运维人员提供 lastSequence。",
	},
	"cursor.some_none": {
		"其他用户有序号，但有 %[1]d 个用户的序号不大于 0",
		"他们的变更要等全量同步（refresh.resync_every）才能看到。请让运维人员为他们提供 lastSequence。",
	},
	"cursor.absurd": {
		"有 %[1]d 个序号远大于其余序号：从 %[2]d 起，而在它之前的序号是 %[3]d",
		"个别的这类序号不计入游标，之后的变更仍能看到；数量多了，就会当作市场正常的编号。请向运维人员确认是否写错了。",
	},
	"cursor.disordered": {
		"序号没有递增（介于 %[1]d 和 %[2]d 之间）",
		"所有用户都在一页内时没有影响；超过一页，低于最大序号的用户就会漏掉。请让运维人员按升序返回。",
	},
	"cursor.disordered_pages": {
		"序号没有递增（介于 %[1]d 和 %[2]d 之间），而且列表不止一页",
		"下一页从最大序号之后取，低于它的用户会漏掉并被拒绝。请让运维人员按升序返回。",
	},
	"cursor.shared": {
		"与他人共用同一序号的用户：%[1]d 个",
		"请保持 marketplace.unique_sequences 关闭，否则分页恰好落在他们之间时会漏人。",
	},
	"cursor.shared_but_unique": {
		"marketplace.unique_sequences 已打开，但有 %[1]d 个用户与他人共用序号",
		"请关闭它：分页恰好落在他们之间时会漏人，这些人会被拒绝，而且没有任何提示。",
	},
	"cursor.exclusive": {"按序号请求时，服务器不再返回该序号本身", ""},
	"cursor.inclusive": {"按序号请求时，服务器会重复返回该序号；rolegate 能够处理", ""},
	"cursor.not_heeded": {
		"请求序号 %[1]d 之后的用户，服务器却返回了更小的序号",
		"服务器没有理会 lastSequence，或者途中被去掉了：拉取永远无法完成。请联系运维人员。",
	},
	"cursor.stuck": {
		"列表无法继续向后翻页：%[1]s",
		"同一序号的用户超过一页，或者 lastSequence 没有生效。请把 marketplace.page_size 设为 1000，并联系运维人员。",
	},
	"cursor.tie": {
		"过多用户共用同一序号：%[1]s",
		"无法判断是否还有其他用户，这样的列表会被拒绝。请让运维人员为每次变更分配不同的序号；在此之前，修改其中一个用户可能有效。",
	},
	"cursor.descending": {
		"分页为降序：%[1]s",
		"门禁从最大的序号继续读取，会漏掉其余用户，因此拒绝这样的列表。请让运维人员按 lastSequence 升序排列。",
	},
	"cursor.unknown": {
		"请求下一页失败：%[1]s",
		"请重试：每次拉取都离不开它。",
	},
	"cursor.short_pages": {
		"请求 %[2]d 个用户，一页只返回 %[1]d 个，后面还有",
		"服务器限制了每页数量。rolegate 会继续翻页，只是全量同步的请求次数更多。",
	},

	"roles.held": {"角色编码 %[1]d 种，人数最多的：%[2]s", ""},
	"roles.none": {
		"页面上没有人拥有任何角色",
		"要求角色的规则会拒绝所有人。请在市场中确认本应用是否已授予角色。",
	},
	"roles.without": {
		"没有任何角色的用户：%[1]d 个",
		"只有“在列表中即可”的地方才允许他们通过。",
	},
	"roles.dropped": {
		"缺少组织或角色编码的授权：%[1]d 条",
		"这些授权不起作用；拥有它们的用户不能通过任何 NoRole 检查，因为无法排除就是那个角色。请让市场运维人员修正。",
	},
	"roles.alike": {
		"仅大小写或空白不同的角色编码：%[1]s",
		"编码逐字节比较，写了其中一个并不包含另一个。请都写上，或在市场中统一。",
	},
	"roles.blanks": {
		"首尾带空白的角色编码：%[1]s",
		"规则里也得带上这些空白。最好在市场中改正。",
	},
	"roles.list": {"平台列出的角色编码 %[1]d 种（%[2]s）", ""},
	"roles.list_failed": {
		"取不到平台的角色列表：%[1]s",
		"这不影响任何人的权限，只影响拼写提示。请改正或去掉 marketplace.role_list_path。",
	},
	"roles.rules": {"规则中的 %[1]d 种角色编码都有人拥有", ""},
	"roles.not_held": {
		"规则中的 %[1]s 没有人拥有",
		"请检查它与市场中的写法是否一致。",
	},
	"roles.not_held_near": {
		"规则中的 %[1]s 没有人拥有",
		"是不是想写 %[2]s？",
	},
	"roles.not_held_yet": {"规则中的 %[1]s：平台有这个角色，目前还没有人拥有", ""},
	"roles.unknown": {
		"规则中的 %[1]s 不在平台的角色列表里，也没有人拥有",
		"请检查它与市场中的写法是否一致。",
	},
	"roles.unknown_near": {
		"规则中的 %[1]s 不在平台的角色列表里，也没有人拥有",
		"是不是想写 %[2]s？",
	},
	"roles.not_on_page": {
		"规则中的 %[1]s 在这一页没有人拥有",
		"这里只看了第一页。运行中的服务可以告诉你：rolegate status。",
	},

	"freshness.clock": {"市场与本机的时间一致", ""},
	"freshness.ahead": {
		"本机时间比市场快 %[1]s",
		"两者必有一个不准。如果是本机，令牌和证书的有效期判断都会出错：请查看 timedatectl 或 chronyc tracking。",
	},
	"freshness.behind": {
		"本机时间比市场慢 %[1]s",
		"两者必有一个不准。如果是本机，令牌和证书的有效期判断都会出错：请查看 timedatectl 或 chronyc tracking。",
	},
	"freshness.no_date": {"响应没有 Date 头，无法比较时间", ""},
	"freshness.cached": {
		"应答来自缓存而不是市场：Age: %[1]s",
		"其中的列表是旧的，这样的响应一律算失败。请在中间的代理或 CDN 上排除这个地址。",
	},
	"freshness.hit": {
		"途中的缓存声称命中：%[1]s: %[2]s",
		"没有 Age 头，服务无法察觉，会用上旧列表。请在缓存上排除这个地址；在此之前可以试试 marketplace.cache_buster。",
	},
	"freshness.cache": {
		"途中有缓存，这次没有命中：%[1]s: %[2]s",
		"应当让缓存跳过这个地址：列表只属于本应用，并且必须是最新的。",
	},
	"freshness.storable": {
		"响应的 Cache-Control 允许缓存",
		"途中不应有缓存。市场应当返回 Cache-Control: no-store。",
	},
	"freshness.compressed": {"响应经过压缩", ""},
	"freshness.plain": {
		"响应未压缩：%[1]s",
		"开启 gzip 后大约只有十分之一。可以向市场运维人员提出。",
	},

	"cache.file":     {"索引保存在 %[1]s（%[2]s，保存于 %[3]s）", ""},
	"cache.file_new": {"索引将保存在 %[1]s，目前还没有这个文件", ""},
	"cache.file_wrong": {
		"缓存文件 cache.file：%[1]s",
		"谁能写这个文件，谁就能决定放行谁：它必须只属于运行 rolegate 的系统用户。",
	},
	"cache.folder_closed": {
		"cache.file：无法写入目录 %[1]s：%[2]s",
		"该目录必须属于运行 rolegate 的系统用户。",
	},
	"cache.redis": {"%[1]s 上的 Redis %[2]s 有应答", ""},
	"cache.redis_some": {
		"%[1]s 上的 Redis 有应答，但没有给出版本号",
		"版本必须不低于 6.2。",
	},
	"cache.redis_old": {
		"%[1]s 上的 Redis 版本是 %[2]s",
		"需要 6.2 或更高版本。",
	},
	"cache.redis_away": {
		"无法访问 %[1]s 上的 Redis：%[2]s",
		"请检查地址、端口和 cache.redis.tls。没有 Redis 时，每个副本各自同步。",
	},
	"cache.redis_password": {
		"%[1]s 上的 Redis 不接受用户名或密码",
		"请检查 cache.redis.username 和 cache.redis.password。",
	},
	"cache.redis_rights": {
		"%[1]s 上的 Redis 用户权限不足",
		"需要对带前缀的键执行：EVAL、EVALSHA、HMGET、HSET、HDEL、HLEN、XADD、XREAD、XREVRANGE、XTRIM、XLEN、PEXPIRE、TYPE、DEL、UNLINK；以及 TIME 和 PING。",
	},
	"cache.redis_error": {
		"%[1]s 上的 Redis 返回错误 %[2]s",
		"请查看它的日志。LOADING 会自行消失；MOVED 说明是集群：请把节点写在 cache.redis.cluster 中。READONLY 说明是从库：请填写主库地址，或在 cache.redis.sentinel 中填写哨兵。",
	},
	"cache.redis_clock": {
		"本机与 %[1]s 上的 Redis 时间相差 %[2]s",
		"两者必有一个不准。共享列表的新旧以 Redis 的时间为准。",
	},
	"cache.redis_plain": {
		"Redis 密码以明文发送到 %[1]s",
		"沿途任何人都能看到。除非是自己的内网，否则请设置 cache.redis.tls。",
	},

	"cloud.running": {
		"云上指挥表示正在同步：%[1]s",
		"同步期间会暂缓移除用户，最长为 refresh.sync_hold。",
	},
	"cloud.done": {"云上指挥表示同步已完成：%[1]s", ""},
	"cloud.unknown": {
		"云上指挥返回了未知的文字：%[1]s",
		"按没有同步处理。如果它表示已完成或进行中，请加入 cloud_command.done 或 cloud_command.running。",
	},
	"cloud.silent": {"云上指挥接受令牌，目前没有同步", ""},
	"cloud.no_done_texts": {
		"cloud_command.done 没有设置",
		"这样只能知道同步不在进行，无法确认已完成。同步结束后再运行一次本命令，把显示的文字填进去。",
	},
	"cloud.refused": {
		"云上指挥拒绝了凭据：%[1]s",
		"请检查 cloud_command 的 client_id、client_secret、username、password 和 tenant_id。角色权限不足时也会这样拒绝。",
	},
	"cloud.failed": {
		"无法查询云上指挥：%[1]s",
		"请检查 cloud_command 的 url、token_path 和 path。BladeX 商业版的 token_path 是 blade-auth/oauth/token。",
	},
	"cloud.http": {
		"cloud_command.url 以 http:// 开头，而且不是本机",
		"沿途任何人都能看到它的全部凭据。请索取 https:// 地址。",
	},

	"identity.issuer": {"签发方 %[1]s 的密钥可以取到", ""},
	"identity.issuer_failed": {
		"取不到签发方 %[1]s 的密钥：%[2]s",
		"签发方必须与其 /.well-known/openid-configuration 中的写法逐字节一致，并且从本机可以访问。",
	},
	"identity.trusted_public": {
		"%[1]s 包含公网地址 %[2]s",
		"那里的任何人都能伪造请求头、冒充任何用户。请只写代理自己的地址。",
	},
	"identity.trusted_wide": {
		"%[1]s 中的 %[2]s 对代理来说太大了",
		"那里的任何人都能伪造请求头、冒充任何用户。请只写代理自己的地址。",
	},

	"listeners.free": {"%[1]s：%[2]s 可用", ""},
	"listeners.own":  {"%[1]s：%[2]s 已被占用，有一个 rolegate 正在运行", ""},
	"listeners.taken": {
		"%[1]s：%[2]s 已被占用",
		"如果不是已在运行的 rolegate，请换一个端口。查看占用者：ss -ltnp",
	},
	"listeners.forbidden": {
		"%[1]s：当前系统用户无权监听 %[2]s",
		"请使用 1024 及以上的端口，或授予权限：setcap cap_net_bind_service=+ep",
	},
	"listeners.elsewhere": {
		"%[1]s：%[2]s 不是本机地址",
		"请填写本机的地址（ip addr）；代理在本机时填 127.0.0.1。",
	},
	"listeners.failed": {
		"%[1]s：无法监听 %[2]s：%[3]s",
		"应写成 host:port，例如 127.0.0.1:9090。",
	},
	"listeners.open_for_nobody": {
		"%[1]s 监听所有网络（%[2]s），但只信任本机",
		"请改为监听 127.0.0.1：别处的请求反正不会得到应答。",
	},
	"listeners.admin_open": {
		"admin 监听所有网络（%[1]s）",
		"谁能访问它，谁就能看到指标和运行状态。请监听 127.0.0.1 或内网地址。",
	},

	"control.fine":    {"可以创建控制套接字：%[1]s", ""},
	"control.running": {"控制套接字 %[1]s 后面有一个 rolegate 正在运行", ""},
	"control.folder": {
		"control：无法写入目录 %[1]s：%[2]s",
		"请创建该目录，并归运行 rolegate 的系统用户所有；使用 systemd 时：RuntimeDirectory=rolegate",
	},
	"control.not_a_socket": {
		"control：%[1]s 已存在，但不是套接字",
		"请换一个路径，或删除已有的文件。",
	},
	"control.too_long": {
		"control：路径 %[1]s 超过了套接字允许的 %[2]d 字节",
		"请换一个更短的路径，例如 /run/rolegate/control.sock",
	},
}
