package marketplace_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/marketplace"
)

// A naive reading of the list, as encoding/json does it: last key wins, case is
// all the same. Where the strict one accepts a record, they must agree.
type naiveRecord struct {
	UserID        naiveID `json:"userId"`
	LastSequence  naiveID `json:"lastSequence"`
	Account       string  `json:"account"`
	Email         string  `json:"email"`
	ThirdAccount  string  `json:"thirdAccount"`
	Nickname      any     `json:"nickname"`
	ThirdUserName any     `json:"thirdUserName"`
	RoleList      []struct {
		OrgID    naiveID `json:"orgId"`
		RoleCode string  `json:"roleCode"`
	} `json:"roleList"`
}

// naiveID is an integer that may be written as a string.
type naiveID int64

func (n *naiveID) UnmarshalJSON(b []byte) error {
	if b[0] == '"' {
		var s string
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
		b = []byte(s)
	}
	if len(b) == 0 {
		return nil // null, as some platforms write it
	}
	return json.Unmarshal(b, (*int64)(n))
}

func FuzzPage(f *testing.F) {
	for _, record := range []string{
		``, `{}`, `null`, user(1, 1), user(1, 1) + "," + user(2, 2),
		`{"userId":"7","lastSequence":"9","account":"a","email":"e","roleList":[{"orgId":"3","roleCode":"r","userId":7}],"thirdUserId":5}`,
		`{"userId":7,"userId":8,"USERID":9,"lastSequence":1}`,
		`{"userId":9223372036854775808,"lastSequence":-1,"roleList":null}`,
		`{"userId":1e2,"lastSequence":1.5,"roleList":[null,5,{}],"nickname":[]}`,
		"{\"userId\":1,\"lastSequence\":1,\"roleList\":[],\"nickname\":\"\xff\\ud800\"}",
		`{"u\u0073erId":1,"lastSequence":1,"roleList":[],"x":{"a":1,"a":2}}`,
		full(1, 1), full(1, 1) + "," + full(2, 2), full(1, 1) + `,{"userId":2,"userId":2},` + full(3, 3),
		with(`"x":1,"x":2`), with(`"x":{"y":[{"z":1,"z":2}]}`), with(`"x":1,"\u0078":2`), with("\"x\":\"\xff\""),
		`[[[[[[]]]]]]`, `"\u0000"`, ` { } , { } `,
	} {
		f.Add([]byte(ok(record)))
		f.Add([]byte(`{"data":[` + record + `],"code":200}`))
	}
	for _, page := range []string{``, `{`, `{}`, `[]`, `{"code":200,"data":{}}`, `{"code":500,"data":{},"message":"m","status":"fail"}`, `{"code":200,"data":[]}x`, `<html>`} {
		f.Add([]byte(page))
	}
	f.Fuzz(func(t *testing.T, page []byte) {
		before := bytes.Clone(page)
		d := marketplace.NewDecoder()
		if _, _, err := decoded(d.Page, []byte(ok(full(1, 1), full(2, 2)))); err != nil { // nothing of it may be seen again
			t.Fatal(err)
		}
		got, rows, err := decoded(d.Page, page)
		want, wantRows, wantErr := decoded(marketplace.NewDecoder().Page, page)
		if !bytes.Equal(page, before) {
			t.Fatal("the page was written to")
		}
		if !reflect.DeepEqual(got, want) || rows != wantRows || !reflect.DeepEqual(err, wantErr) {
			t.Fatalf("%d rows, %v, %+v; by a fresh decoder: %d rows, %v, %+v", rows, err, got, wantRows, wantErr, want)
		}
		for _, r := range got {
			switch {
			case r.Bad == nil && r.UserID <= 0:
				t.Fatalf("a good record of nobody: %+v", r)
			case r.UserID < 0 || r.Sequence < 0:
				t.Fatalf("below 0: %+v", r)
			case r.Bad != nil && (len(r.Grants) > 0 || r.Account+r.Email+r.ThirdAccount+r.ThirdUserID+r.Nickname+r.ThirdUserName != ""):
				t.Fatalf("a bad record with something to use: %+v", r)
			}
		}
		if err != nil {
			if len(got) > 0 {
				t.Fatalf("%d records of a page with an error: %v", len(got), err)
			}
			return
		}
		if !json.Valid(page) {
			t.Fatal("accepted, but no JSON")
		}
		var env struct {
			Code json.Number       `json:"code"`
			Data []json.RawMessage `json:"data"`
		}
		if err := json.Unmarshal(page, &env); err != nil || env.Code != "200" || len(env.Data) != rows {
			t.Fatalf("%d rows; read naively: code %s, %d rows, %v", rows, env.Code, len(env.Data), err)
		}
		if len(got) != rows {
			return // a bad record with several ids: the two do not line up
		}
		for i, r := range got {
			if r.Bad != nil || r.Unreadable != (rolegate.Keep{}) {
				continue
			}
			var n naiveRecord
			if err := json.Unmarshal(env.Data[i], &n); err != nil {
				t.Fatalf("good, but read naively: %v", err)
			}
			nickname, _ := n.Nickname.(string)
			thirdName, _ := n.ThirdUserName.(string)
			if int64(n.UserID) != r.UserID || int64(n.LastSequence) != r.Sequence || n.Account != r.Account || n.Email != r.Email ||
				n.ThirdAccount != r.ThirdAccount || nickname != r.Nickname || thirdName != r.ThirdUserName || len(n.RoleList) != len(r.Grants) {
				t.Fatalf("%+v; read naively: %+v", r, n)
			}
			for j, g := range r.Grants {
				if int64(n.RoleList[j].OrgID) != g.OrgID || n.RoleList[j].RoleCode != g.RoleCode {
					t.Fatalf("%+v; read naively: %+v", r, n)
				}
			}
		}
	})
}

func FuzzRetryAfter(f *testing.F) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, s := range []string{"", "0", "7", "-7", "1.5", "99999999999999999999", "soon", now.Format(http.TimeFormat), now.Add(time.Hour).Format(time.RFC850), "Fri, 31 Dec 9999 23:59:59 GMT"} {
		f.Add(s, "")
		f.Add(s, now.Format(http.TimeFormat))
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, value, date string) {
		got := marketplace.RetryAfter(http.Header{"Retry-After": {value}, "Date": {date}}, now)
		if got < 0 || got > 5*time.Minute {
			t.Fatalf("%v", got)
		}
		if strings.HasPrefix(strings.TrimSpace(value), "-") && got != 0 {
			t.Fatalf("%v for %q", got, value)
		}
	})
}
