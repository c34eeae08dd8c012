package lang

// marketTexts are what a refresh of the list can fail with, and what a record can
// be wrong with. The keys of the list stay as they are spelt.
var marketTexts = map[string]string{
	// The connection.
	"no whole page within %v: %w":                             "%[1]s 内没有收到完整的一页：%[2]s",
	"the reply breaks off after %d bytes: %w":                 "响应在 %[1]d 字节之后中断：%[2]s",
	"the reply breaks off after %d bytes":                     "响应在 %[1]d 字节之后中断",
	"unexpected EOF":                                          "意外结束",
	"the call was ended by its caller":                        "调用方已取消",
	"the reply has a Content-Encoding that was not asked for": "响应带有没有请求过的 Content-Encoding",
	"the reply has an Age, so that a cache gave it: exempt this URL from the proxy or CDN in between":                     "响应带有 Age，说明来自缓存：请让途中的代理或 CDN 不缓存这个 URL",
	"the reply has the Date of an earlier one, so that a cache gave it: exempt this URL from the proxy or CDN in between": "响应的 Date 与更早的一次相同，说明来自缓存：请让途中的代理或 CDN 不缓存这个 URL",
	"the page is larger than %s, %d bytes: raise it, or lower %s for fewer users":                                         "一页超过了 %[1]s（%[2]d 字节）：请调大它，或调小 %[3]s",

	// The reply.
	"HTTP status %d, code %d, status %s, message “%s”":      "HTTP 状态码 %[1]d，code %[2]d，status %[3]s，消息“%[4]s”",
	"HTTP status %d, code %d, message “%s”":                 "HTTP 状态码 %[1]d，code %[2]d，消息“%[3]s”",
	"HTTP status %d, code %d":                               "HTTP 状态码 %[1]d，code %[2]d",
	"HTTP status %d":                                        "HTTP 状态码 %[1]d",
	"the access token or the app id is not accepted":        "访问令牌或应用 ID 被拒绝",
	"check %s, and that the app is still on sale":           "请检查 %[1]s，并确认应用仍在上架",
	"%s, where %s has its tokens from":                      "%[1]s，以及 %[2]s 的令牌来源",
	"--app-id, --token-env or --token-file":                 "--app-id、--token-env 或 --token-file",
	"the envelope has no code":                              "信封里没有 code",
	"the envelope has no data":                              "信封里没有 data",
	"the envelope has a key twice":                          "信封里有重复的键",
	"the envelope has a key that is not valid UTF-8":        "信封里有的键不是 UTF-8",
	"the envelope has more than %d keys":                    "信封里的键超过 %[1]d 个",
	"code: expected an integer":                             "code：应为整数",
	"status: expected a string":                             "status：应为字符串",
	"data: expected an array":                               "data：应为数组",
	"data: expected users":                                  "data：应为用户",
	"the reply is JSON, but no object":                      "响应是 JSON，但不是对象",
	"the reply has no JSON in it":                           "响应里没有 JSON",
	"the reply has something after the end of the envelope": "响应在信封结束之后还有内容",
	"the reply has a key twice in an object, at byte %d":    "响应在第 %[1]d 字节处有重复的键",
	"the reply is not the expected JSON from byte %d on":    "响应从第 %[1]d 字节起不是预期的 JSON",
	"it looks like %s":                                      "看起来像：%[1]s",
	"an HTML page, as a login or a proxy sends it":          "登录页或代理返回的网页",
	"GBK, or another encoding than UTF-8":                   "GBK 或 UTF-8 以外的其他编码",
	"the reply is not in UTF-8: it looks like GBK: have the marketplace or the proxy in between answer in UTF-8": "响应不是 UTF-8，看起来像 GBK：请让市场或途中的代理以 UTF-8 应答",
	"sequence %d in a page after %d":        "读取序号 %[2]d 之后的一页，却有序号 %[1]d",
	"the list has more than %s, %d records": "列表超过了 %[1]s（%[2]d 条记录）",

	// A record.
	"record: expected an object":                                                       "记录：应为对象",
	"record: expected each key once":                                                   "记录：每个键只应出现一次",
	"userId: expected an integer above 0, as a number or a decimal string":             "userId：应为大于 0 的整数，写作数字或十进制字符串",
	"lastSequence: expected an integer of at least 0, as a number or a decimal string": "lastSequence：应为不小于 0 的整数，写作数字或十进制字符串",
	"roleList: expected an array, an empty one for a user without roles":               "roleList：应为数组，没有角色的用户为空数组",
	"roleList[]: expected an object":                                                   "roleList[]：应为对象",
	"roleList[].orgId: expected an integer, as a number or a decimal string":           "roleList[].orgId：应为整数，写作数字或十进制字符串",
	"roleList[].roleCode: expected a string":                                           "roleList[].roleCode：应为字符串",
	"roleList[].roleCode: expected valid UTF-8":                                        "roleList[].roleCode：应为 UTF-8",
	"roleList[].userId: expected none, or the userId of the record":                    "roleList[].userId：应没有，或与记录的 userId 相同",
	"%s: expected this key in this case":                                               "%[1]s：这个键的大小写应与此一致",

	// The token, and what the client is made with.
	"access token": "访问令牌",
	"the token source returned an empty token": "取令牌的函数返回了空令牌",
	"no token within %v: %w":                   "%[1]s 内没有取到令牌：%[2]s",
	"has a line break or another control character in it: expected one line of text":                                                                                               "含有换行或其他控制字符：应为一行文本",
	"has an invisible character in it: expected what can be seen of it alone; a byte order mark comes from a file that an editor on Windows has saved, and others from a web page": "含有看不见的字符：应只有看得见的内容；Windows 上的编辑器保存文件时会加上字节顺序标记（BOM），其他的多半来自网页",
	"%s: it is empty: expected the client id that the marketplace gave to the app":                                                                                                 "%[1]s：为空：应为市场分配给应用的客户端 ID",
	"%s: it ends in %s, which the client adds itself: expected the URL without that":                                                                                               "%[1]s：结尾是 %[2]s，客户端会自己加上，请去掉",
	"%s: expected visible ASCII without blanks, since it is sent as a header: look for a line break or a quotation mark that was copied with it":                                   "%[1]s：应为不含空格的可见 ASCII 字符，因为它以请求头发送：请检查是否连同换行或引号一起复制了",
	"%s: expected requests a second, like 2.5, or 0 for no limit":                                                                                                                  "%[1]s：应为每秒的请求数，例如 2.5；0 表示不限",
	"%s: 200 is success and 0 is no code: expected the codes by which the marketplace refuses a token, like 40014":                                                                 "%[1]s：200 表示成功，0 不是 code：应为市场用来拒绝令牌的 code，例如 40014",
	"%s: %q is a parameter of the call itself: expected another name, like %q":                                                                                                     "%[1]s：%[2]q 是该接口自己的参数：应换一个名称，例如 %[3]q",
	"%s: expected a parameter name of letters, digits and . _ ~ -, like %q":                                                                                                        "%[1]s：应为由字母、数字和 . _ ~ - 组成的参数名，例如 %[2]q",
	"%s: %d is out of range: expected 1 to %d %s":                                                                                                                                  "%[1]s：%[2]d 超出范围：应为 1 到 %[3]d %[4]s",

	// pull
	"asked for what comes after sequence %d, the marketplace sent %d: it was set back to an earlier state; pull the whole list": "请求的是序号 %[1]d 之后的内容，市场却返回了 %[2]d：它被恢复到了更早的状态；请拉取完整的列表",
	"more than %d different role codes: roleCode is not what it was":                                                            "不同的角色编码超过 %[1]d 个：roleCode 的含义变了",
	"%d of %d records do not have the list's form: it has changed, or this is not the list":                                     "%[2]d 条记录中有 %[1]d 条不符合列表的格式：列表的格式变了，或者这不是用户列表",
}
