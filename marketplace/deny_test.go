package marketplace_test

import (
	"net/http"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/marketplace"
)

func TestDenyEnvelope(t *testing.T) {
	t.Parallel()
	for status, says := range map[int]string{401: "fail", 403: "fail", 499: "fail", 500: "error", 503: "error"} {
		h := http.Header{}
		for language, speaks := range map[string]string{"": "zh", "zh": "zh", "en": "en"} {
			d := rolegate.Denial{Status: status, ID: "id", Language: language}
			body := marketplace.DenyEnvelope(h, nil, d)
			d.Language = speaks
			assert.JSONEq(t, `{"code":`+strconv.Itoa(status)+`,"status":"`+says+`","message":"`+d.Message()+`","data":{"decision":"id"}}`, string(body))
		}
		assert.Equal(t, "application/json", h.Get("Content-Type"))
	}
}
