package cloudcommand_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/rolegate/rolegate/cloudcommand"
)

// Where the strict reading accepts an answer, encoding/json has to read the
// same of it.
func FuzzState(f *testing.F) {
	for _, body := range []string{
		said("正在同步数据中...!"), `{"code":"200","data":null}`, `{"code":0,"data":"","success":false,"msg":null}`,
		`{"code":401,"msg":"x","data":-1}`, `{"code":0,"data":{"mess\u0061ge":"\ud83d\ude00","ak":5}}`,
		`{"code":0,"code":1}`, `{"Code":0}`, `{"code":0}x`, `{"code":0,"data":{"message":"`, ``, `null`, `[]`, "\xff", `{"code":1e2}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		d, appKey, _, err := cloudcommand.DecodeState(body)
		if err != nil {
			// Short texts, and those of the errors, occur in both by chance.
			if s := d.Message + d.Name; s != "" {
				t.Fatalf("an error, and data: %q", s)
			}
			return
		}
		var naive struct {
			Data json.RawMessage `json:"data"`
		}
		if err := json.Unmarshal(body, &naive); err != nil {
			t.Fatalf("accepted what is no JSON: %v", err)
		}
		var data struct {
			Name    string `json:"name"`
			AK      string `json:"ak"`
			Message string `json:"message"`
		}
		if bytes.HasPrefix(naive.Data, []byte("{")) {
			if err := json.Unmarshal(naive.Data, &data); err != nil {
				t.Fatalf("accepted data that is none: %v", err)
			}
		}
		if data.Name != d.Name || data.Message != d.Message || data.AK != appKey {
			t.Fatalf("%+v %q, but encoding/json has %+v", d, appKey, data)
		}
	})
}

func FuzzToken(f *testing.F) {
	for _, body := range []string{
		tokenAnswer, `{"code":200,"data":{"accessToken":"a","expiresIn":"3600"}}`, `{"access_token":"a","accessToken":"b"}`,
		`{"error_code":400,"error_description":"x"}`, `{"access_token":"a\r\nX: y"}`, `{"expires_in":9223372036854775807,"access_token":"a"}`, ``, `{}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := cloudcommand.DecodeToken(body)
		if err != nil {
			return
		}
		if !json.Valid(body) {
			t.Fatal("accepted what is no JSON")
		}
		kind, access, ok := strings.Cut(got.Header, " ")
		if !ok || kind == "" || access == "" || strings.ContainsFunc(kind+access, func(r rune) bool { return r <= ' ' || r > '~' }) {
			t.Fatalf("no header: %q", got.Header)
		}
		if got.Usable < 0 {
			t.Fatalf("usable for %v", got.Usable)
		}
	})
}
