package main

import "strings"

const chineseMarketplace = `市场取自配置文件（-c），或者 --url 和 --app-id，或者环境变量
` + urlVariable + ` 和 ` + appIDVariable + `。令牌取自环境变量 ` + tokenVariable + `，
除非配置文件、--token-env 或 --token-file 另有指定。`

// chineseHelp has each command but the one that is called by itself, "".
var chineseHelp = map[string]helpText{
	"": {"只放行应用市场授权的用户", `rolegate 把市场的授权用户列表保存在内存里，反向代理或通过 OpenID AuthZEN 发问的
程序向它询问谁可以进入。

退出码：0 完成；1 无法完成；2 命令行参数或配置文件有误；3 已完成，但答案是否定的
（why：拒绝；status：不在服务；doctor：发现了问题；pull：有记录无法解析）。

任何子命令都不从参数接收密钥，因为本机的其他用户能看到参数：密钥来自环境变量和文件。`,
		`  rolegate fake &                          # 供试用的模拟市场
  rolegate doctor --url http://127.0.0.1:9400 --app-id test-app
  rolegate serve -c rolegate.yaml
  rolegate why 1542135022016057002 'GET /grades' -c rolegate.yaml
  source <(rolegate completion bash)`},

	"serve": {"应答反向代理，或通过 OpenID AuthZEN 发问的程序", `serve 按配置文件运行门禁：把市场的列表保存在内存里，应答转发请求之前来询问的反向代理
（nginx、Traefik、Caddy、Envoy、HAProxy）、通过 OpenID AuthZEN 1.0 发问的程序，以及
运维人员。拿到列表之前，一律以 503 拒绝。

收到 SIGHUP，或者执行 rolegate reload 时，它会重新读取配置文件，期间不会因此拒绝任何人。
文件里只要有错误，日志会说明原因，旧配置继续使用。修改监听地址需要重启。

配置文件是 YAML，说明见 docs/command.zh-CN.md，全部的键见
docs/rolegate.zh-CN.yaml。其中没有任何密钥，只写明各个密钥在哪个环境变量或文件里。`,
		`  rolegate serve -c rolegate.yaml
  rolegate serve -c rolegate.yaml --check     # 只检查配置文件是否正确
  kill -HUP "$(pidof rolegate)"               # 重新读取配置文件`},

	"why": {"说明某个用户为什么能访问，或为什么不能", `why 询问本机正在运行的服务会怎样判定一个请求，并逐步列出判定的过程。查询不会放行或拒绝
任何人，也不计入任何统计。身份不是用户编号时，还会给出它在日志中的摘要，用来查找它的拒绝
记录。

USER 是市场的用户编号。别的身份要在前面加上种类，前提是服务索引了这种身份：
account:wang、email:w@example.com、third_account:w、third_user_id:42。

ROUTE 是一个请求：方法和路径，或者 URL；不写方法就是 GET。不写 ROUTE，只说明用户是否
在列表里；写了 --resource 和 --action，则说明 OpenID AuthZEN 会怎样回答。

判定依据服务的规则，不含请求头：前面的代理会做什么，不在其中。退出码：可以为 0，
不可以为 3。`, ""},

	"status": {"查看正在运行的服务", `status 询问本机正在运行的服务，它的列表情况如何。退出码：正在正常服务为 0；没有列表或列表
过旧、因而一律拒绝时为 3。`, ""},

	"reload": {"让正在运行的服务重新读取配置文件", `reload 让本机正在运行的服务重新读取配置文件，与 SIGHUP 相同，并等待结果。文件里只要有错误，
旧配置就继续使用，reload 会说明原因，退出码为 2。

期间不会因此拒绝任何人。如果市场或列表的配置变了，会先读取新的列表，最多两分钟；拿不到
则旧配置继续使用，退出码为 1。按 Ctrl-C 放弃；之后对另一份内容的 reload 也会取代它。

新配置里没有任何用户拥有的角色编码会列出来，此时退出码为 0。`, ""},

	"doctor": {"检查市场接口，说明哪里有问题", `doctor 检查门禁所依赖的一切：地址、令牌和应用 ID、一页列表及其中的 ID、序号和角色、途中的
时钟和缓存。凡有问题的，都会说明含义和解决办法。它只向市场发送几个请求，不打印任何密钥、
账号、邮箱和姓名。

` + chineseMarketplace + `

加上 -c，还会检查配置文件的其余部分：规则、缓存文件或 Redis、云上指挥、签发者、监听地址和
控制套接字。不做任何修改。

退出码：0 没有问题（可以有警告）；1 没有检查完就被中断；2 命令行参数或配置文件有误；
3 有其他问题。`, ""},

	"pull": {"导出用户列表，格式为 JSON Lines 或 CSV", `pull 从头到尾读取市场的列表，然后按用户编号排序输出。要么输出完整的列表，要么什么都不输出：
如果拉取失败或被中断，标准输出上没有内容，-o 的文件保持原样。

` + chineseMarketplace + `

JSON Lines 每行一个用户：

  {"user_id":"1542135022016057001","sequence":"1","grants":[{"org_id":"7","role":"teacher"}]}

编号和序号是字符串，因为 JavaScript、jq 等会丢失 2^53 以上数字的末几位。CSV 每个角色一行；
没有角色的用户也有一行，机构和角色为空。账号、邮箱和其他名称默认不输出，需要时加 --names。
用 -o 写出的文件只有属主可读。

不加 --excel 的 CSV 不要用电子表格软件打开：编号会被舍入，形似公式的名称会被执行。
Excel 最多显示 1048576 行。

记录的判断与门禁相同。同一个用户有多条记录时，以序号最高的为准。无法解析的记录使该用户不在
列表里，会在标准错误上说明；其余内容照常输出，但退出码为 3。超过十条且超过 1 % 时，拉取失败。

--after 只输出某个序号之后的内容，该序号见上次拉取最后的统计。它不能说明谁已经不在：市场
没有这样的消息，只有完整的列表才能看出来。

列表在输出之前全部在内存里：一百万用户、每人两个角色约占 120 MB，带名称为 220 MB。`, ""},

	"fake": {"运行一个供试用的模拟市场", `fake 在内存里模拟市场的用户列表接口，正常的和出故障的都可以，直到被中断。启动时会打印 URL、
令牌、用户，以及可以试用的命令。

其中的数据都不是真的，也不会保存。它只在本机监听；--public 允许别的机器读取列表。运行期间
可以通过 /_fake/ 下的请求修改它，只限本机：GET /_fake/ 列出全部操作。

故障写作 [cloud:]NAME[=ARG][@WHEN]，cloud: 表示云上指挥的故障。同时命中多个时，以最后给出
的为准。--list-faults 列出所有名称，以及 WHEN 可以怎样写。`,
		`  rolegate fake
  rolegate fake --users 100000 --orgs 50 --roles teacher,parent,pupil
  rolegate fake --ids mixed --page-cap 100 --inclusive --latency 50ms
  rolegate fake --fault http-status=503@p=0.2          # 五个请求里有一个失败
  rolegate fake --fault truncated@full,every=3         # 每三次全量同步有一次中断
  rolegate fake --fault drop-rows=3@from=30s..2m -v    # 有一段时间缺少大部分用户
  curl -d user=1542135022016057005 -d org=8 -d role=teacher http://127.0.0.1:9400/_fake/grant
  curl -d fault=truncated@next=5 http://127.0.0.1:9400/_fake/fault`},

	"version": {"显示版本", "", ""},
	"help":    {"查看任一子命令的说明", "查看任一子命令的说明：rolegate help 子命令。", ""},

	"completion": {"生成命令补全脚本", `为指定的 shell 生成 rolegate 的命令补全脚本。怎样使用见各个 shell 的说明。`, ""},
	"completion bash": {"生成 bash 的补全脚本", `生成 bash 的补全脚本，需要软件包 bash-completion。

在当前会话中生效：

	source <(rolegate completion bash)

永久生效，执行一次：

	rolegate completion bash > /etc/bash_completion.d/rolegate   # Linux
	rolegate completion bash > $(brew --prefix)/etc/bash_completion.d/rolegate   # macOS

然后打开新的 shell。`, ""},
	"completion zsh": {"生成 zsh 的补全脚本", `生成 zsh 的补全脚本。如果还没有启用补全，先执行一次：

	echo "autoload -U compinit; compinit" >> ~/.zshrc

在当前会话中生效：

	source <(rolegate completion zsh)

永久生效，执行一次：

	rolegate completion zsh > "${fpath[1]}/_rolegate"   # Linux
	rolegate completion zsh > $(brew --prefix)/share/zsh/site-functions/_rolegate   # macOS

然后打开新的 shell。`, ""},
	"completion fish": {"生成 fish 的补全脚本", `生成 fish 的补全脚本。

在当前会话中生效：

	rolegate completion fish | source

永久生效，执行一次：

	rolegate completion fish > ~/.config/fish/completions/rolegate.fish

然后打开新的 shell。`, ""},
	"completion powershell": {"生成 PowerShell 的补全脚本", `生成 PowerShell 的补全脚本。

在当前会话中生效：

	rolegate completion powershell | Out-String | Invoke-Expression

永久生效：把上述命令的输出写进 PowerShell 的 profile。`, ""},
}

// chineseFlags has each flag: "COMMAND --FLAG", or "--FLAG" if it says the same
// for several.
var chineseFlags = map[string]string{
	"--help":            "显示说明",
	"--lang":            "语言（`LANGUAGE`），en 或 zh；默认取自 LC_ALL、LC_MESSAGES 或 LANG",
	"--no-descriptions": "补全时不显示说明",
	"--json":            "以 JSON 输出",

	// The marketplace.
	"--config":     "从这个配置文件（`FILE`）读取市场的配置",
	"--url":        "市场接口的起始地址（$" + urlVariable + "）",
	"--app-id":     "应用的客户端 ID（$" + appIDVariable + "）",
	"--path":       "URL 之下的接口路径（app/user/list）",
	"--token-env":  "存放访问令牌的环境变量（`NAME`，" + tokenVariable + "）",
	"--token-file": "存放访问令牌的文件（`FILE`）",

	// The server that runs.
	"why --config":    "服务的配置文件（`FILE`），从中取得控制套接字",
	"status --config": "服务的配置文件（`FILE`），从中取得控制套接字",
	"reload --config": "服务的配置文件（`FILE`），从中取得控制套接字",
	"--socket":        "控制套接字的路径（`PATH`，$" + socketVariable + "）",

	"serve --config": "配置文件（`FILE`）",
	"serve --check":  "只检查配置文件是否正确，不提供服务",

	"why --host":     "请求的主机名（`HOST`），用于写了主机名的规则（localhost）",
	"why --resource": "资源的类型（`TYPE`），与 authzen.rules 中一致",
	"why --action":   "操作的名称（`NAME`），与 authzen.rules 中一致",
	"why --org":      "资源所属机构的编号（`ID`）",

	"status --json":    "以 JSON 输出全部内容",
	"doctor --json":    "最后输出一个 JSON 对象",
	"doctor --timeout": "全部检查最多用多久",

	"pull --output": "写入这个文件（`FILE`），权限 0600；默认为标准输出",
	"pull --format": "jsonl 或 csv（写了 --excel 或文件名以 .csv 结尾为 csv，否则为 jsonl）",
	"pull --names":  "同时输出账号、邮箱和其他名称",
	"pull --excel":  "供 Excel 使用的 CSV：编号不会被舍入，文本不会被执行",
	"pull --after":  "只输出这个序号（`SEQUENCE`）之后的内容；不能说明谁已经不在",
	"pull --quiet":  "标准错误上不显示进度和统计",

	"fake --listen":            "监听地址（`ADDRESS`）；端口 0 表示任选空闲端口",
	"fake --public":            "允许 --listen 使用别的机器可达的地址",
	"fake --app-id":            "接受的客户端 ID",
	"fake --token-env":         "另一个可接受的访问令牌（也是模拟的）所在的环境变量（`NAME`）；不会打印出来",
	"fake --token-file":        "另一个可接受的访问令牌所在的文件（`FILE`）",
	"fake --users":             "除演示用户外，再生成多少用户",
	"fake --orgs":              "这些用户分布在多少个机构，从 7 开始编号",
	"fake --roles":             "这些用户的角色编码（`CODES`）",
	"fake --seed":              "随机种子（`NUMBER`）：相同则生成的用户也相同",
	"fake --ids":               "JSON 里编号的写法：number、string 或 mixed",
	"fake --page-cap":          "一页最多多少行（`ROWS`）；0 表示按请求的数量",
	"fake --inclusive":         "lastSequence 包含该序号本身，而不是从其后开始",
	"fake --latency":           "每个请求在途中用多久",
	"fake --quiet-role-loss":   "收回角色不提高用户的序号",
	"fake --unauthorized-http": "令牌被拒绝时返回 HTTP 401，而不是 HTTP 200 中的 code 401",
	"fake --refusal":           "令牌被拒绝时的返回方式：" + strings.Join(refusals(), "、"),
	"fake --writes":            "读取列表期间，每秒变更多少用户",
	"fake --lag":               "每两个请求中有一个由这么旧的列表应答",
	"fake --tied":              "所有用户开始时的 lastSequence 都相同，如同批处理之后",
	"fake --fault":             "对请求制造这种故障（`FAULT`）；可以重复",
	"fake --list-faults":       "列出所有故障后退出（同 --fault list）",
	"fake --cloud-command":     "在同一地址上再模拟云上指挥",
	"fake --verbose":           "在标准错误上记录每个请求",
}
