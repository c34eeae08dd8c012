package rolegate_test

import (
	"fmt"
	"net/http"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/cloudcommand"
	"github.com/rolegate/rolegate/marketplace"
)

// The default: problem details, as of RFC 9457, in English or Chinese.
func ExampleDenyProblem() {
	gate := exampleGate()
	defer gate.Close()

	exampleAnswer(gate.Admit(examplePage), "Cookie", "session=99")
	exampleAnswer(gate.Admit(examplePage), "Accept-Language", "zh-CN,zh;q=0.9,en;q=0.8")
	// Output:
	// 403  application/problem+json
	// {"type":"about:blank","title":"Forbidden","status":403,"detail":"You do not have permission to do this. If you think you should, contact your administrator and quote the decision id.","decision":"…"}
	// 401  application/problem+json
	// {"type":"about:blank","title":"Unauthorized","status":401,"detail":"您尚未登录。","decision":"…"}
}

func ExampleConfig_deny() {
	gate := exampleGateWith(func(c *rolegate.Config) { c.Deny = marketplace.DenyEnvelope })
	defer gate.Close()

	exampleAnswer(gate.Admit(examplePage))
	// Output:
	// 401  application/json
	// {"code":401,"status":"fail","message":"您尚未登录。","data":{"decision":"…"}}
}

func ExampleConfig_denyBladeX() {
	gate := exampleGateWith(func(c *rolegate.Config) { c.Deny = cloudcommand.DenyBladeX })
	defer gate.Close()

	exampleAnswer(gate.Admit(examplePage))
	// Output:
	// 401  application/json
	// {"code":401,"success":false,"data":{"decision":"…"},"msg":"您尚未登录。"}
}

// A browser that is not logged in is sent to the login page; a script gets its
// 401.
func ExampleDenyRedirect() {
	gate := exampleGateWith(func(c *rolegate.Config) { c.Deny = rolegate.DenyRedirect("/login", cloudcommand.DenyBladeX) })
	defer gate.Close()

	exampleAnswer(gate.Admit(examplePage), "Sec-Fetch-Mode", "navigate")
	exampleAnswer(gate.Admit(examplePage), "Sec-Fetch-Mode", "cors")
	// Output:
	// 303 /login application/json
	// {"code":401,"success":false,"data":{"decision":"…"},"msg":"您尚未登录。"}
	// 401  application/json
	// {"code":401,"success":false,"data":{"decision":"…"},"msg":"您尚未登录。"}
}

// One guard among others: pages send browsers to the login page, the interface
// beside them does not.
func ExampleDenyWith() {
	gate := exampleGate()
	defer gate.Close()
	teacher := rolegate.AnyRole("teacher")
	pages := gate.Require(teacher, rolegate.DenyWith(rolegate.DenyRedirect("/login", nil)))
	api := gate.Require(teacher, rolegate.DenyWith(cloudcommand.DenyBladeX))

	exampleAnswer(pages(examplePage), "Sec-Fetch-Mode", "navigate")
	exampleAnswer(api(examplePage), "Sec-Fetch-Mode", "navigate")
	// Output:
	// 303 /login application/problem+json
	// {"type":"about:blank","title":"Unauthorized","status":401,"detail":"You are not logged in.","decision":"…"}
	// 401  application/json
	// {"code":401,"success":false,"data":{"decision":"…"},"msg":"您尚未登录。"}
}

// A shape of the app's own. It need not care for the status, which the gate
// writes.
func ExampleDenyFunc() {
	inChinese := func(h http.Header, _ *http.Request, d rolegate.Denial) []byte {
		text := "您没有权限进行此操作"
		switch d.Status {
		case http.StatusUnauthorized:
			text = "请先登录"
		case http.StatusServiceUnavailable:
			text = "服务暂时不可用，请稍后再试"
		}
		h.Set("Content-Type", "text/plain; charset=utf-8")
		return fmt.Appendf(nil, "%s（%s）\n", text, d.ID)
	}
	gate := exampleGateWith(func(c *rolegate.Config) { c.Deny = inChinese })
	defer gate.Close()

	exampleAnswer(gate.Admit(examplePage))
	exampleAnswer(gate.Admit(examplePage), "Cookie", "session=99")
	// Output:
	// 401  text/plain; charset=utf-8
	// 请先登录（…）
	// 403  text/plain; charset=utf-8
	// 您没有权限进行此操作（…）
}
