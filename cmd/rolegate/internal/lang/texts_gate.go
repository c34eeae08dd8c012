package lang

// gateTexts are what the library and its handlers say: mistakes of a config, in
// the keys of a settings file, and why a request matches no rule.
var gateTexts = map[string]string{
	"rolegate: the config has mistakes:":                                                                                        "rolegate：配置有以下错误：",
	"%s is a cycle: leave one of these out":                                                                                     "%[1]s 形成循环：请去掉其中一个",
	"a role code is empty: give every code as the marketplace spells it":                                                        "角色编码为空：请按市场的写法填写",
	"%s is %v: expected a part from 0 to 1, such as 0.3; 0 is the default":                                                      "%[1]s 为 %[2]s：应为 0 到 1 的比例，例如 0.3；0 表示默认值",
	"%s (%v) is less than twice %s (%v): one full refresh that fails would close the gate; raise the first or lower the second": "%[1]s（%[2]s）小于 %[3]s（%[4]s）的两倍：一次全量同步失败就会拒绝所有人；请调大前者或调小后者",
	"%s (%v) and a full refresh before it (%s is %v) take longer than %s (%v): whoever is held would be refused before it is over; lower the first or raise the last": "%[1]s（%[2]s）加上此前的一次全量同步（%[3]s 为 %[4]s）超过了 %[5]s（%[6]s）：被暂缓的用户不等期满就会被拒绝；请调小第一个或调大最后一个",
	"%s has %d bytes: expected at least %d random ones: make them with openssl rand -base64 48":                                                                       "%[1]s 有 %[2]d 个字节：应为至少 %[3]d 个随机字节，可用 openssl rand -base64 48 生成",
	"%s is negative (%v): 0 is the default, everything else is a time above 0":                                                                                        "%[1]s 为负（%[2]s）：0 表示默认值，其他应为大于 0 的时长",
	"%s is %v: less than %v is surely a mistake; a bare number is nanoseconds, write 30*time.Second":                                                                  "%[1]s 为 %[2]s：小于 %[3]s 一定是写错了；请写成 30s 的形式",
	"%s is %v: more than a year is surely a mistake":                                                                                                                  "%[1]s 为 %[2]s：超过一年一定是写错了",
	"%s is %d: expected a number from 1 to 6000; 0 is the default of 30, and %s turns it off":                                                                         "%[1]s 为 %[2]d：应为 1 到 6000；0 表示默认值 30，用 %[3]s 关闭",

	"no pattern matches the method, host and path, or only that of another path to which http.ServeMux would redirect": "没有规则匹配该方法、主机和路径，或者只匹配 http.ServeMux 会重定向到的另一个路径",
	"the path has an empty segment":                                       "路径里有空的路径段",
	"the path has a segment of dots":                                      "路径里有由点组成的路径段",
	"the path has a byte that must be encoded":                            "路径里有必须编码的字节",
	"the path has a percent sign without two hexadecimal digits":          "路径里的百分号后面没有两个十六进制数字",
	"the path has an encoded dot or control byte":                         "路径里有编码的点或控制字符",
	"the path does not decode to UTF-8":                                   "路径解码后不是 UTF-8",
	"the path is encoded twice":                                           "路径编码了两次",
	"the path has a segment of dots, or an empty one, once it is decoded": "路径解码后有由点组成的或空的路径段",
	"the path has an encoded slash, backslash, semicolon, percent sign, question mark or hash, or a semicolon, and no rule for it that lets this stand": "路径里有编码的斜杠、反斜杠、分号、百分号、问号或井号，或者有分号，而且没有允许它们的规则",
	"path value %q: expected a decimal number above 0, without sign, leading zeros, fraction or exponent":                                               "路径变量 %[1]q：应为大于 0 的十进制整数，不带正负号、前导零、小数或指数",
}
