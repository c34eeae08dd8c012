package faults_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/marketplace"
	"github.com/rolegate/rolegate/rolegatetest"
)

// keepLeakJSON is keepLeak as a JSON string.
var keepLeakJSON = func() string {
	b, err := json.Marshal(keepLeak)
	if err != nil {
		panic(err)
	}
	return string(b)
}()

// keepNewUser is a record that would let the stranger in.
const keepNewUser = `{"userId":4,"account":"wang.alice","lastSequence":99,"roleList":[{"orgId":7,"roleCode":"admin"}]}`

// A reply under HTTP 200 that is no list fails the refresh, and the list stays.
// Code and data must both be there: a code that is absent is not 0, nor 200.
func TestFault01ReplyThatIsNoList(t *testing.T) {
	t.Parallel()
	var faults []rawFault
	for _, f := range []struct{ name, body, says string }{
		{"an HTML page", "<!DOCTYPE html><html><title>登录</title><body>" + keepLeak + "</body></html>", "from byte 0 on"},
		{"an empty body", "", "no JSON"},
		{"blanks", " \r\n\t", "no JSON"},
		{"null", "null", "no object"},
		{"an array", "[]", "no object"},
		{"an array of users", `[` + keepNewUser + `]`, "no object"},
		{"an empty object", "{}", "no code"},
		{"an object of something else", `{"error":` + keepLeakJSON + `}`, "no code"},
		{"data without a code", `{"status":"success","data":[]}`, "no code"},
		{"users without a code", `{"data":[` + keepNewUser + `]}`, "no code"},
		{"a code that is null", `{"code":null,"data":[]}`, "code"},
		{"a code that is text", `{"code":"ok","data":[]}`, "code"},
		{"a code without data", `{"code":200,"status":"success","message":` + keepLeakJSON + `}`, "no data"},
	} {
		faults = append(faults, rawBodies(f.name, f.body, marketplace.FailureMalformed, f.says)...)
	}
	rawKeeps(t, faults)
}

// An envelope that says that the call failed is believed, whatever its data: the
// code is checked before data is decoded.
func TestFault02EnvelopeThatSaysItFailed(t *testing.T) {
	t.Parallel()
	message := `"message":"查询失败 accessToken=AT-3-s3cr3t/+ Basic a2VlcGVyOnMzY3IzdA== wang.alice@school.example 13800001111"`
	var faults []rawFault
	for _, f := range []struct{ name, body, says string }{
		{"code 500 with the documented data", `{"code":500,"data":{},` + message + `,"status":"fail"}`, "code 500"},
		{"its message, without what is secret or personal", `{"code":500,"data":{},` + message + `,"status":"fail"}`, "查询失败"},
		{"code 500 that calls itself a success", `{"code":500,"status":"success","data":{}}`, "code 500"},
		{"code 0", `{"code":0,"status":"success","data":[]}`, "code 0"},
		{"code -200", `{"code":-200,"data":[]}`, "code -200"},
		{"code 201", `{"code":201,"data":[]}`, "code 201"},
		{"status fail", `{"code":200,"status":"fail","data":{}}`, `status "fail"`},
		{"status error", `{"code":200,"status":"error","data":{}}`, `status "error"`},
		{"status fail after an empty list", `{"code":200,"data":[],"status":"fail"}`, `status "fail"`},
		{"code 500 with an empty list", `{"code":500,"data":[]}`, "code 500"},
		{"code 500 with users", `{"code":500,"data":[` + keepNewUser + `]}`, "code 500"},
		{"code 500 after users", `{"data":[` + keepNewUser + `],"code":500}`, "code 500"},
		{"status error after users", `{"code":200,"data":[` + keepNewUser + `],"status":"error"}`, `status "error"`},
		{"code 500 with data that nobody could decode", `{"data":[{"userId":"x","userId":null},7,` + keepLeakJSON + `],"code":500}`, "code 500"},
		{"code 500 without data", `{"code":500}`, "code 500"},
		{"code 500 with data null", `{"code":500,"data":null}`, "code 500"},
	} {
		faults = append(faults, rawBodies(f.name, f.body, marketplace.FailureUpstream, f.says)...)
	}
	rawKeeps(t, faults)
}

// A success whose data is no array is not "nobody is authorised": that is [].
func TestFault03SuccessWithoutAList(t *testing.T) {
	t.Parallel()
	var faults []rawFault
	for name, data := range map[string]string{
		"text": `"[]"`, "a number": `0`, "true": `true`, "false": `false`, "an object with users": `{"0":` + keepNewUser + `}`,
	} {
		body := `{"code":200,"status":"success","message":"请求成功","data":` + data + `}`
		faults = append(faults, rawBodies("data is "+name, body, marketplace.FailureMalformed, "data: expected an array")...)
	}
	rawKeeps(t, faults)
	for name, data := range map[string]string{"null": `null`, "empty text": `""`, "an empty object": `{}`} {
		t.Run("of a full refresh: data is "+name, func(t *testing.T) {
			t.Parallel()
			rawBubble(t, func(w *keepWorld, server *rawServer) {
				before := w.decisions()
				server.fail(rawOK(`{"code":200,"status":"success","message":"请求成功","data":` + data + `}`))
				w.fails(func(ctx context.Context) error { return w.gate.RefreshAll(ctx) }, marketplace.FailureMalformed, []string{"data: expected an array"})
				require.NoError(w, w.gate.Refresh(w.Context()), "for an incremental refresh it is no news")
				assert.Equal(w, before, w.decisions())
			})
		})
	}
	t.Run("an empty list is another thing", func(t *testing.T) {
		t.Parallel()
		rawBubble(t, func(w *keepWorld, server *rawServer) {
			server.fail(rawOK(`{"code":200,"status":"success","message":"","data":[]}`))
			require.NoError(w, acceptShrink(w.Context(), w.gate))
			assert.Zero(w, w.gate.Status().Users)
		})
	})
}

// A body that breaks off is never taken for a shorter list, wherever it does and
// however its end is told; nor is one that goes on after its end.
func TestFault04BodyThatBreaksOffOrGoesOn(t *testing.T) {
	t.Parallel()
	const head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	page := `{"code":200,"status":"success","message":"请求成功","data":[` + keepNewUser + `,{"userId":5,"lastSequence":99,"roleList":[]}]}`
	half := page[:len(page)/2]
	faults := []rawFault{
		{"shorter than its length", rawBytes(fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", head, len(page), half)), marketplace.FailureMalformed, "breaks off"},
		{"whole, and shorter than its length", rawBytes(fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", head, len(page)+1, page)), marketplace.FailureMalformed, "breaks off"},
		{"cut, with no length", rawUnsized(half), marketplace.FailureMalformed, "breaks off"},
		{"cut, with a length to match", rawOK(half), marketplace.FailureMalformed, "breaks off"},
		{"a chunk that breaks off", rawBytes(head + "Transfer-Encoding: chunked\r\n\r\nffff\r\n" + page), marketplace.FailureMalformed, "breaks off"},
		{"chunks without the last one", rawBytes(fmt.Sprintf("%sTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", head, len(page), page)), marketplace.FailureMalformed, "breaks off"},
		{"no body after its length", rawBytes(head + "Content-Length: 512\r\n\r\n"), marketplace.FailureMalformed, "breaks off"},
	}
	for name, extra := range map[string]string{
		"a second envelope": page, "a brace": "}", "a comma": ",", "a null byte": "\x00", "a page for people": "<html>" + keepLeak, "a number": "\n200",
	} {
		faults = append(faults, rawBodies("then "+name, page+extra, marketplace.FailureMalformed, "after the end")...)
	}
	rawKeeps(t, faults)
	keepServers(t, []keepFault{
		{name: "cut in the middle", fault: rolegatetest.Truncated(), want: marketplace.FailureMalformed, want2: marketplace.FailureNetwork}, // RST_STREAM
		{name: "cut, with no length", fault: rolegatetest.Unterminated(), want: marketplace.FailureMalformed, says: "breaks off"},
		{name: "bytes after the end", fault: rolegatetest.Trailing("{}"), want: marketplace.FailureMalformed, says: "after the end"},
	})
	t.Run("cut after each of its bytes", func(t *testing.T) {
		t.Parallel()
		rawBubble(t, func(w *keepWorld, server *rawServer) {
			before := w.gate.Status()
			for n := range len(page) {
				server.fail(rawUnsized(page[:n]))
				var failed *rolegate.PullError
				require.ErrorAs(w, w.gate.RefreshAll(w.Context()), &failed, "after %d bytes", n)
				require.Equal(w, marketplace.FailureMalformed, failed.Failure)
				if n > 0 {
					require.ErrorContains(w, failed, "breaks off after")
				}
			}
			assert.Equal(w, before.Generation, w.gate.Status().Generation)
			server.fail(rawUnsized(page))
			require.NoError(w, acceptShrink(w.Context(), w.gate), "it is a list once it is whole")
			assert.True(w, w.admits(keepStranger))
		})
	})
}

// A page over the cap fails with an error that says so: it is not cut there. What
// counts is its size after decompression.
func TestFault05PageOverTheCap(t *testing.T) {
	t.Parallel()
	const limit = 8 << 10
	capped := func(c *marketplace.Config) { c.MaxPageBytes = limit }
	list := func(users string, size int) string {
		page := `{"code":200,"data":[` + users + `]}`
		return page + strings.Repeat(" ", size-len(page))
	}
	gzipped := func(body string) string {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = z.Write([]byte(body))
		_ = z.Close()
		return b.String()
	}
	unpacks := func(body string) rawAnswer {
		return rawBytes("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n" + gzipped(body))
	}
	const says = "larger than Config.MaxPageBytes, 8192 bytes"
	var users []string
	for id := range 200 {
		users = append(users, fmt.Sprintf(`{"userId":%d,"lastSequence":99,"roleList":[]}`, 5000+id))
	}
	tooLarge := rolegate.FailureTooLarge
	faults := rawBodies("a list of many users", `{"code":200,"data":[`+strings.Join(users, ",")+`]}`, tooLarge, says)
	faults = append(faults, rawBodies("a list up to the cap, and one blank more", list(keepNewUser, limit+1), tooLarge, says)...)
	faults = append(faults, rawFault{"one byte too many inside of gzip", unpacks(list(keepNewUser, limit+1)), tooLarge, says})
	rawKeeps(t, faults, capped)

	t.Run("up to the cap it is a page", func(t *testing.T) {
		t.Parallel()
		for name, answer := range map[string]rawAnswer{"plain": rawOK(list("", limit)), "gzip": unpacks(list("", limit))} {
			rawBubble(t, func(w *keepWorld, server *rawServer) {
				server.fail(answer)
				require.NoError(w, w.gate.Refresh(w.Context()), name)
			}, capped)
		}
	})
	// Bodies that never end: who reads on past the cap never returns.
	patient := func(c *marketplace.Config) { c.PageTimeout = time.Minute } // on a busy machine
	blanks := bytes.Repeat([]byte(" "), 1<<16)
	endless := func(packed bool) rolegatetest.Fault {
		return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			var out io.Writer = w
			if packed {
				w.Header().Set("Content-Encoding", "gzip")
				out = gzip.NewWriter(w)
			}
			_, err := io.WriteString(out, `{"code":200,"data":[`)
			for err == nil {
				_, err = out.Write(blanks)
			}
		}
	}
	keepServers(t, []keepFault{
		{name: "a body without end", fault: endless(false), want: tooLarge, says: "1048576 bytes"},
		{name: "a gzip bomb without end", fault: endless(true), want: tooLarge, says: "1048576 bytes"},
	}, patient, func(c *marketplace.Config) { c.MaxPageBytes = 1 << 20 })
	t.Run("a gzip bomb, with the cap that is the default", func(t *testing.T) {
		t.Parallel()
		w := keepHTTP1(t, patient)
		w.m.Fail(endless(true))
		w.fails(w.gate.Refresh, tooLarge, []string{"larger than Config.MaxPageBytes, 16777216 bytes"})
	})
}
