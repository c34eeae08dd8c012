package lang

// fakeTexts are what rolegate fake prints.
var fakeTexts = map[string]string{
	"A fake marketplace: nothing in it is real, and nothing is kept. Ctrl-C ends it.": "模拟市场：其中的数据都不是真的，也不会保存。按 Ctrl-C 结束。",
	"  app id   %s": "  应用 ID  %[1]s",
	"  token    %s": "  令牌     %[1]s",
	"  fault:   %s": "  故障：   %[1]s",
	"A fake 云上指挥 is at the same URL: client id %s, client secret %s.": "同一地址上还有模拟的云上指挥：client id 为 %[1]s，client secret 为 %[2]s。",
	"In another terminal:": "在另一个终端里：",
	"Make the guest a teacher, which the gate's next incremental refresh sees, and take\nthe teacher off the list, which only its next full refresh does:": "让访客成为教师（门禁在下一次增量同步时得知），并把教师移出列表\n（要到下一次全量同步才得知）：",
	"GET %s/_fake/ lists what else can be done, from this machine alone.":                                                                                  "其他操作见 GET %[1]s/_fake/，只能在本机使用。",
	"that of the environment variable %s": "取自环境变量 %[1]s",
	"that of the file %s":                 "取自文件 %[1]s",
	"none, but is on the list":            "没有角色，但在列表里",
	"%d more":                             "另外 %[1]d 个",

	"A fault is [cloud:]NAME[=ARG][@WHEN]. NAME and ARG:":                            "故障写作 [cloud:]NAME[=ARG][@WHEN]。NAME 和 ARG 有：",
	"WHEN, or several with commas between them, which are asked from left to right:": "WHEN 可以有多个，用逗号分隔，从左到右依次判断：",
	"list them all": "全部列出",

	"the connection breaks in the middle of a page":                "一页传到一半时连接断开",
	"a page ends in its middle, and nothing but the JSON shows it": "一页只有一半，除了 JSON 不完整之外看不出来",
	"the connection breaks before there is an answer":              "还没有应答连接就断开",
	"there is no answer until the client gives up":                 "一直不应答，直到客户端放弃",
	"a page is read at once and sent after that time":              "立即读取一页，过这么久才发送",
	"a page is sent byte by byte, with that pause before each":     "逐字节发送一页，每个字节之前停这么久",
	"HTTP 200 with the documented error envelope":                  "HTTP 200，内容为文档所述的错误信封",
	"HTTP 200 with the error envelope of 云上指挥":                     "HTTP 200，内容为云上指挥的错误信封",
	"that HTTP status": "返回该 HTTP 状态码",
	"HTTP 503 that asks to be left alone for so long":                     "HTTP 503，要求过这么久再来",
	"the right access token is refused":                                   "拒绝正确的访问令牌",
	"HTTP 200 with a login page":                                          "HTTP 200，内容为登录页",
	"HTTP 200 with bytes that are not JSON":                               "HTTP 200，内容不是 JSON",
	"HTTP 200 with nothing":                                               "HTTP 200，没有内容",
	"success, with {} where the list belongs":                             "返回成功，但列表处是 {}",
	"HTTP 200 with that text":                                             "HTTP 200，内容为该文本",
	"a page with that text behind it":                                     "一页之后多出该文本",
	"a page that a cache has had for so long, in whole seconds":           "一页在缓存里已有这么久（整秒）",
	"the list ends after its first N users, and that is called a success": "列表只有前 N 个用户，并返回成功",
	"pages begin with the highest sequence":                               "每页从最高的序号开始",
	"each record has the lastSequence of the request":                     "每条记录的序号都是请求里的 lastSequence",
	"that text in place of an empty list":                                 "用该文本代替空列表",
	"null in place of an empty roleList":                                  "用 null 代替空的 roleList",
	"HTTP 429 to all but N requests a second":                             "每秒超过 N 个的请求返回 HTTP 429",
	"the same, with Retry-After: 1":                                       "同上，并带有 Retry-After: 1",
	"every request gets the first page":                                   "每个请求都得到第一页",
	"full pages whose sequence never moves on":                            "每页都满，但序号不前进",
	"full pages without an end":                                           "每页都满，没有尽头",

	"every request, as without any @":      "每个请求，与不写 @ 相同",
	"requests for the list from its start": "从头读取列表的请求",
	"requests for what came after some sequence: incremental refreshes, and a full refresh's later pages": "读取某个序号之后内容的请求：增量同步，以及全量同步的后续各页",
	"the next 5 requests":                                      "接下来的 5 个请求",
	"each third request":                                       "每三个请求中的一个",
	"one request of five, at random":                           "随机，平均五个请求中的一个",
	"from 30 seconds after the start on":                       "启动 30 秒之后",
	"from 30 seconds after the start until 2 minutes after it": "启动 30 秒之后，到 2 分钟为止",

	// What is below /_fake/.
	`Change the fake marketplace, from this machine alone:

  POST /_fake/grant?user=ID&org=ID&role=CODE   give a role, or several; none: put the user on the list
  POST /_fake/take?user=ID&org=ID&role=CODE    take a role away
  POST /_fake/revoke?user=ID                   take the user off the list
  POST /_fake/bind?user=ID&third_user_id=ID    bind the app's own id to the user; or third_account=TEXT
  POST /_fake/fault?fault=NAME[=ARG][@WHEN]    let requests fail: see rolegate fake --fault list
  POST /_fake/recover                          end all faults
  POST /_fake/sync?state=running|done|unknown  say how the sync of 云上指挥 is (--cloud-command)
  GET  /_fake/requests?last=20                 what the marketplace was asked, as JSON lines
  GET  /_fake/settings                         a settings file for rolegate serve
`: `修改模拟市场，只能在本机使用：

  POST /_fake/grant?user=ID&org=ID&role=CODE   授予角色，可以多个；不写角色：只把用户加入列表
  POST /_fake/take?user=ID&org=ID&role=CODE    收回角色
  POST /_fake/revoke?user=ID                   把用户移出列表
  POST /_fake/bind?user=ID&third_user_id=ID    把应用自己的 ID 绑定到用户；或 third_account=TEXT
  POST /_fake/fault?fault=NAME[=ARG][@WHEN]    让请求失败：见 rolegate fake --fault list
  POST /_fake/recover                          结束所有故障
  POST /_fake/sync?state=running|done|unknown  设定云上指挥的同步状态（--cloud-command）
  GET  /_fake/requests?last=20                 市场收到过的请求，JSON Lines 格式
  GET  /_fake/settings                         供 rolegate serve 使用的配置文件
`,
	"expected a request from this machine: others cannot change the fake":                         "只接受来自本机的请求：别的机器不能修改模拟市场",
	"expected a request to localhost or a loopback address, such as http://127.0.0.1:9400/_fake/": "请求应发往 localhost 或环回地址，例如 http://127.0.0.1:9400/_fake/",
	"expected no request of a page of another site: use curl":                                     "不接受其他网站页面发来的请求：请用 curl",
	"last: expected how many of the last requests, such as 20":                                    "last：应为最近的请求数，例如 20",
	" Nothing has changed.":                                             "没有变化。",
	" The gate's next incremental refresh sees it.":                     "门禁在下一次增量同步时得知。",
	" The gate's next full refresh sees it; an incremental one cannot.": "门禁在下一次全量同步时得知，增量同步看不出来。",
	" Only a full refresh sees it (--quiet-role-loss).":                 "只有全量同步才能得知（--quiet-role-loss）。",
	"User %d is not on the list.":                                       "用户 %[1]d 不在列表里。",
	"User %d is on the list, without a role.":                           "用户 %[1]d 在列表里，没有角色。",
	"User %d is %s.": "用户 %[1]d 的角色：%[2]s。",
	"User %d has the third_user_id %q and the third_account %q. The gate's next incremental refresh sees it.": "用户 %[1]d 的 third_user_id 为 %[2]q，third_account 为 %[3]q。门禁在下一次增量同步时得知。",
	"On now: %s. POST /_fake/recover ends it.":                                                                "当前的故障：%[1]s。用 POST /_fake/recover 结束。",
	"No faults any more.":            "故障已全部结束。",
	"A sync is running.":             "同步正在进行。",
	"The sync is done.":              "同步已完成。",
	"Nothing is known of a sync.":    "同步状态未知。",
	"send form fields, not JSON: %s": "请发送表单字段，而不是 JSON：%[1]s",
	"expected parameters in the query, or a form of up to 64 KiB":              "参数应在查询里，或为不超过 64 KiB 的表单",
	"parameter %q: expected none":                                              "参数 %[1]q：不应有参数",
	"parameter %q: expected none but %s":                                       "参数 %[1]q：只应有 %[2]s",
	"%s: expected an id once, a whole number above 0":                          "%[1]s：应有且只有一个编号，为大于 0 的整数",
	"role: expected the code of a role, such as teacher":                       "role：应为角色编码，例如 teacher",
	"expected third_user_id or third_account, each once; an empty one unbinds": "应有 third_user_id 或 third_account，各一次；空值表示解除绑定",
	"user %d is not on the list: expected one who is":                          "用户 %[1]d 不在列表里：应为列表里的用户",
	"fault: expected one, such as fault=http-status=503@next=5":                "fault：应有一个，例如 fault=http-status=503@next=5",
	"fault %q: expected one of %s":                                             "故障 %[1]q：应为以下之一：%[2]s",
	"fault %q: expected nothing after %s, which has no argument":               "故障 %[1]q：%[2]s 没有参数，后面不应再写",
	"fault %q, argument %s of %s: %w":                                          "故障 %[1]q，%[3]s 的参数 %[2]s：%[4]s",
	"fault %q: expected --cloud-command too, or else there is no 云上指挥 here":    "故障 %[1]q：还应写 --cloud-command，否则这里没有云上指挥",
	"fault %q: %w": "故障 %[1]q：%[2]s",
	"there is no 云上指挥 here: start rolegate fake with --cloud-command": "这里没有云上指挥：请以 --cloud-command 启动 rolegate fake",
	"state: expected running, done or unknown":                        "state：应为 running、done 或 unknown",
}
