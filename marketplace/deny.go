package marketplace

import (
	"encoding/json"
	"net/http"

	"github.com/rolegate/rolegate"
)

// DenyEnvelope shapes refusals, for rolegate.Config.Deny, as the marketplace
// shapes its own answers:
// {"code":403,"status":"fail","message":"…","data":{"decision":"…"}}. The message is
// Chinese unless the request prefers English.
func DenyEnvelope(h http.Header, _ *http.Request, d rolegate.Denial) []byte {
	h.Set("Content-Type", "application/json")
	if d.Language == "" {
		d.Language = "zh"
	}
	status := "fail"
	if d.Status >= http.StatusInternalServerError {
		status = "error"
	}
	type data struct {
		Decision string `json:"decision"`
	}
	body, err := json.Marshal(struct {
		Code    int    `json:"code"`
		Status  string `json:"status"`
		Message string `json:"message"`
		Data    data   `json:"data"`
	}{d.Status, status, d.Message(), data{d.ID}})
	if err != nil {
		panic(err) // strings and numbers always marshal
	}
	return append(body, '\n')
}
