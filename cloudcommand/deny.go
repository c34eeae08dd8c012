package cloudcommand

import (
	"encoding/json"
	"net/http"

	"github.com/rolegate/rolegate"
)

// DenyBladeX shapes refusals, for rolegate.Config.Deny, as BladeX does, on which
// 云上指挥 is built: {"code":403,"success":false,"data":{"decision":"…"},"msg":"…"}.
// The msg is Chinese unless the request prefers English.
func DenyBladeX(h http.Header, _ *http.Request, d rolegate.Denial) []byte {
	h.Set("Content-Type", "application/json")
	if d.Language == "" {
		d.Language = "zh"
	}
	type data struct {
		Decision string `json:"decision"`
	}
	body, err := json.Marshal(struct {
		Code    int    `json:"code"`
		Success bool   `json:"success"`
		Data    data   `json:"data"`
		Msg     string `json:"msg"`
	}{d.Status, false, data{d.ID}, d.Message()})
	if err != nil {
		panic(err) // strings and numbers always marshal
	}
	return append(body, '\n')
}
