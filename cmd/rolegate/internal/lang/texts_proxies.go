package lang

// What forwardauth says of its config, and of requests that are denied before a rule is
// asked.
var proxyTexts = map[string]string{
	"rolegate: forwardauth: the config has mistakes:":     "rolegate: forwardauth: 配置有错误：",
	"rolegate: forwardauth: the config has mistakes:\n%w": "rolegate: forwardauth: 配置有错误：\n%[1]s",
	"the gate is nil": "没有给出门禁",
	"Proxy is %v: say which program asks, such as forwardauth.Nginx":                                                                                                             "Proxy 为 %[1]s：请写明是哪种代理来询问，例如 forwardauth.Nginx",
	"Prefix is for Envoy: %v does not put one before the path":                                                                                                                   "Prefix 只用于 Envoy：%[1]s 不会在路径前面加前缀",
	"Prefix %q: %w: give a path such as /check":                                                                                                                                  "Prefix %[1]q：%[2]s：应为路径，例如 /check",
	"Trusted is empty: say which networks the proxy connects from: without them every client could ask about any path":                                                           "Trusted 为空：请写明代理从哪些网段连接：否则任何客户端都可以询问任何路径",
	"Trusted: network %d (%v) is not one that a proxy of yours is in: give its address range, such as 10.1.2.0/24":                                                               "Trusted：第 %[1]d 个网段（%[2]s）不会是你的代理所在的网段：请写它的地址范围，例如 10.1.2.0/24",
	"GODEBUG has httpmuxgo121=1: http.ServeMux takes \"GET /grades/{id}\" for a path then, and no rule would match: remove it from the environment, go.mod and //go:debug lines": "GODEBUG 里有 httpmuxgo121=1：这样 http.ServeMux 会把 \"GET /grades/{id}\" 当作路径，没有规则能匹配：请从环境变量、go.mod 和 //go:debug 行中去掉",
	"Headers: %q is not the name of a header of the original request":                                                                                                            "Headers：%[1]q 不是原请求的请求头的名字",
	"ReturnParam is there without LoginURL":                                                                                                                                      "有 ReturnParam，却没有 LoginURL",
	"it ends with a slash":                                                                                                                                                       "以斜杠结尾",
	"it has a semicolon or an encoded byte that means something":                                                                                                                 "有分号，或者有含义特殊的编码字节",

	"the method has other bytes than A to Z":                    "方法里有 A 到 Z 以外的字符",
	"the method is CONNECT, or none":                            "方法是 CONNECT，或者没有方法",
	"the host is not an address in brackets":                    "主机不是方括号里的地址",
	"the host has something behind its brackets":                "主机的方括号后面还有别的内容",
	"the host has capitals, or bytes that no host has":          "主机名里有大写字母，或者有主机名不会有的字符",
	"the host is empty, or has a dot too many":                  "主机名为空，或者有多余的点",
	"the host's port is not a number":                           "主机的端口不是数字",
	"the query has a blank, a control byte or a fragment in it": "查询里有空格、控制字符或片段（#）",
	"net/http reads another path in it":                         "net/http 会读出另一个路径",
	"the target is not a path":                                  "请求的目标不是路径",
	"the path has a byte encoded that the pattern has as it is: an app that matches paths before it decodes them would take it for another one": "路径里有一个字节是编码的，而规则里写的是原样：先匹配路径、后解码的应用会把它当成另一个路径",
}
