package authzen_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	single = "/access/v1/evaluation"
	batch  = "/access/v1/evaluations"
)

// q is a question about user 1 on a record.
func q(subject, id, action, resource string) string {
	return fmt.Sprintf(`{"subject":{"type":%q,"id":%q},"action":{"name":%q},"resource":{"type":%q,"id":"1"}}`, subject, id, action, resource)
}

func no(reason string) string {
	return fmt.Sprintf(`{"decision":false,"context":{"reason":%q}}`, reason)
}

const yes = `{"decision":true}`

// TestSpecification follows the text of Authorization API 1.0 and of its
// certification scenario; the names begin with the section.
func TestSpecification(t *testing.T) {
	t.Parallel()
	pdp := newPDP(t, config(openGate(t)))
	aliceReads := q("user", "1", "read", "record")
	for _, test := range []struct {
		name, path, body string
		status           int
		answer           string // of a 200: the whole body as JSON
	}{
		{"6.2 permit", single, aliceReads, 200, yes},
		{"6.2 deny is 200", single, q("user", "2", "write", "record"), 200, no("role_missing")},
		{"5.4 context is optional", single, strings.Replace(aliceReads, `{"subject"`, `{"context":{"time":"1985-10-26T01:22-07:00"},"subject"`, 1), 200, yes},
		{"5 properties are optional", single, `{"subject":{"type":"user","id":"1","properties":{"role":"admin"}},"action":{"name":"read","properties":{"method":"GET"}},"resource":{"type":"record","id":"9","properties":{"a":[1,{"b":null}]}}}`, 200, yes},
		{"10.1.1 unknown fields are ignored", single, strings.Replace(aliceReads, `{"subject"`, `{"x":[1,{}],"Subject":3,"options":7,"evaluations":false,"subject"`, 1), 200, yes},
		{"10.1.1 members have no order", single, `{"resource":{"id":"1","type":"record"},"action":{"name":"read"},"subject":{"id":"1","type":"user"}}`, 200, yes},
		{"10.1.1 escapes are text", single, strings.Replace(aliceReads, `"subject"`, `"\u0073ubject"`, 1), 200, yes},

		{"missing subject", single, `{"action":{"name":"read"},"resource":{"type":"record","id":"1"}}`, 400, ""},
		{"missing action", single, `{"subject":{"type":"user","id":"1"},"resource":{"type":"record","id":"1"}}`, 400, ""},
		{"missing resource", single, `{"subject":{"type":"user","id":"1"},"action":{"name":"read"}}`, 400, ""},
		{"missing subject.type", single, strings.Replace(aliceReads, `"type":"user",`, "", 1), 400, ""},
		{"missing subject.id", single, strings.Replace(aliceReads, `,"id":"1"`, "", 1), 400, ""},
		{"missing action.name", single, strings.Replace(aliceReads, `"name":"read"`, "", 1), 400, ""},
		{"missing resource.type", single, strings.Replace(aliceReads, `"type":"record",`, "", 1), 400, ""},
		{"missing resource.id", single, strings.Replace(aliceReads, `"type":"record","id":"1"`, `"type":"record"`, 1), 400, ""},
		{"wrong case is missing", single, strings.Replace(aliceReads, `"subject"`, `"Subject"`, 1), 400, ""},
		{"subject is a string", single, strings.Replace(aliceReads, `{"type":"user","id":"1"}`, `"alice"`, 1), 400, ""},
		{"subject is null", single, strings.Replace(aliceReads, `{"type":"user","id":"1"}`, `null`, 1), 400, ""},
		{"subject.id is a number", single, strings.Replace(aliceReads, `"user","id":"1"`, `"user","id":1`, 1), 400, ""},
		{"subject.type is null", single, strings.Replace(aliceReads, `"user"`, `null`, 1), 400, ""},
		{"subject.properties is an array", single, strings.Replace(aliceReads, `"user"`, `"user","properties":[]`, 1), 400, ""},
		{"resource.id is an object", single, strings.Replace(aliceReads, `"record","id":"1"`, `"record","id":{}`, 1), 400, ""},
		{"resource.properties is null", single, strings.Replace(aliceReads, `"record"`, `"record","properties":null`, 1), 400, ""},
		{"resource is an array", single, strings.Replace(aliceReads, `{"type":"record","id":"1"}`, `[]`, 1), 400, ""},
		{"action is a string", single, strings.Replace(aliceReads, `{"name":"read"}`, `"read"`, 1), 400, ""},
		{"action.name is a boolean", single, strings.Replace(aliceReads, `"read"`, `true`, 1), 400, ""},
		{"action.properties is a string", single, strings.Replace(aliceReads, `"read"`, `"read","properties":"x"`, 1), 400, ""},
		{"context is a string", single, strings.Replace(aliceReads, `{"subject"`, `{"context":"x","subject"`, 1), 400, ""},
		{"empty body", single, ``, 400, ""},
		{"only blanks", single, " \n", 400, ""},
		{"no JSON", single, `subject=alice`, 400, ""},
		{"cut off", single, aliceReads[:len(aliceReads)-1], 400, ""},
		{"an array", single, `[` + aliceReads + `]`, 400, ""},
		{"something behind it", single, aliceReads + `{}`, 400, ""},
		{"blanks behind it", single, aliceReads + " \n", 200, yes},
		{"name twice", single, strings.Replace(aliceReads, `{"subject"`, `{"subject":{"type":"user","id":"2"},"subject"`, 1), 400, ""},
		{"name twice, one escaped", single, strings.Replace(aliceReads, `"id":"1"`, `"id":"1","\u0069d":"2"`, 1), 400, ""},
		{"name twice, deep in what is ignored", single, strings.Replace(aliceReads, `{"subject"`, `{"x":[{"y":{"a":1,"a":1}}],"subject"`, 1), 400, ""},
		{"invalid UTF-8", single, strings.Replace(aliceReads, `"1"`, "\"\xff\"", 1), 400, ""},
		{"invalid UTF-8 in what is ignored", single, strings.Replace(aliceReads, `{"subject"`, "{\"context\":{\"x\":\"\xff\"},\"subject\"", 1), 400, ""},
		{"unpaired surrogate in what is ignored", single, strings.Replace(aliceReads, `{"subject"`, `{"context":{"x":"\ud800"},"subject"`, 1), 400, ""},
		{"unpaired surrogate", single, strings.Replace(aliceReads, `"1"`, `"\ud800"`, 1), 400, ""},
		{"nested too deep", single, strings.Replace(aliceReads, `{"subject"`, `{"x":`+strings.Repeat("[", 20000)+strings.Repeat("]", 20000)+`,"subject"`, 1), 400, ""},

		{"7.1 no evaluations is the single form", batch, aliceReads, 200, yes},
		{"7.1 empty evaluations is the single form", batch, strings.Replace(aliceReads, `{"subject"`, `{"evaluations":[],"subject"`, 1), 200, yes},
		{"7.1 the single form needs its fields", batch, `{"evaluations":[]}`, 400, ""},
		{"7.1 no defaults", batch, `{"evaluations":[` + aliceReads + `,` + q("user", "2", "write", "record") + `]}`, 200, `{"evaluations":[` + yes + `,` + no("role_missing") + `]}`},
		{"7.1.1 defaults", batch, `{"subject":{"type":"user","id":"2"},"action":{"name":"read"},"context":{},"evaluations":[{"resource":{"type":"record","id":"1"}},{"action":{"name":"write"},"resource":{"type":"record","id":"1"}}]}`, 200,
			`{"evaluations":[` + yes + `,` + no("role_missing") + `]}`},
		{"7.1.1 defaults may stand behind", batch, `{"evaluations":[{}],"resource":{"type":"record","id":"1"},"subject":{"type":"user","id":"2"},"action":{"name":"read"}}`, 200, `{"evaluations":[` + yes + `]}`},
		{"7.1.1 whole objects are overridden", batch, `{"subject":{"type":"user","id":"1"},"action":{"name":"write"},"resource":{"type":"report","id":"1","properties":{"org_id":"7"}},"evaluations":[{},{"resource":{"type":"report","id":"1"}}]}`, 200,
			`{"evaluations":[` + yes + `,` + no("org_unreadable") + `]}`},
		{"7.1.1 half an object is not completed", batch, `{"subject":{"type":"user","id":"1"},"action":{"name":"read"},"resource":{"type":"record","id":"1"},"evaluations":[{"subject":{"type":"user"}},{"resource":{"id":"1"}},{"action":{}},{}]}`, 200,
			`{"evaluations":[` + no("incomplete") + `,` + no("incomplete") + `,` + no("incomplete") + `,` + yes + `]}`},
		{"7.1.1 a default must be whole", batch, `{"subject":{"type":"user"},"evaluations":[` + aliceReads + `]}`, 400, ""},
		{"7.2.1 an item lacks a field", batch, `{"subject":{"type":"user","id":"1"},"action":{"name":"read"},"evaluations":[{"resource":{"type":"record","id":"1"}},{}]}`, 200,
			`{"evaluations":[` + yes + `,` + no("incomplete") + `]}`},
		{"an item's field has the wrong type", batch, `{"evaluations":[` + aliceReads + `,{"subject":"alice"}]}`, 400, ""},
		{"an item's field is null", batch, `{"subject":{"type":"user","id":"1"},"evaluations":[{"subject":null}]}`, 400, ""},
		{"an item is no object", batch, `{"evaluations":[` + aliceReads + `,1]}`, 400, ""},
		{"evaluations is an object", batch, strings.Replace(aliceReads, `{"subject"`, `{"evaluations":{},"subject"`, 1), 400, ""},
		{"evaluations is null", batch, strings.Replace(aliceReads, `{"subject"`, `{"evaluations":null,"subject"`, 1), 400, ""},
		{"7.1.2 other options are ignored", batch, `{"options":{"another_option":3},"evaluations":[` + aliceReads + `]}`, 200, `{"evaluations":[` + yes + `]}`},
		{"options is an array", batch, `{"options":[],"evaluations":[` + aliceReads + `]}`, 400, ""},
		{"7.1.2.1 unknown semantic", batch, `{"options":{"evaluations_semantic":"any"},"evaluations":[` + aliceReads + `]}`, 400, ""},
		{"7.1.2.1 semantic is no string", batch, `{"options":{"evaluations_semantic":1},"evaluations":[` + aliceReads + `]}`, 400, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := post(pdp, test.path, test.body)
			require.Equal(t, test.status, w.Code, w.Body)
			if test.status != http.StatusOK {
				assert.Equal(t, "text/plain; charset=utf-8", w.Header().Get("Content-Type"))
				assert.NotEmpty(t, w.Body.String())
				assert.NotContains(t, w.Body.String(), "alice", "nothing of the request is sent back")
				return
			}
			assert.Equal(t, "application/json", w.Header().Get("Content-Type"))
			assert.Equal(t, test.answer, w.Body.String())
		})
	}
}

// The three semantics, over a deny, a permit and an item that is broken.
func TestSemantics(t *testing.T) {
	t.Parallel()
	pdp := newPDP(t, config(openGate(t)))
	item := map[byte]string{'y': q("user", "1", "read", "record"), 'n': q("user", "2", "write", "record"), 'x': `{}`}
	answer := map[byte]string{'y': yes, 'n': no("role_missing"), 'x': no("incomplete")}
	for _, test := range []struct{ semantic, items, answers string }{
		{"execute_all", "nyxy", "nyxy"},
		{"", "nyxy", "nyxy"},
		{"deny_on_first_deny", "yyny", "yyn"},
		{"deny_on_first_deny", "yxny", "yx"},
		{"deny_on_first_deny", "yyy", "yyy"},
		{"permit_on_first_permit", "nxyn", "nxy"},
		{"permit_on_first_permit", "y", "y"},
		{"permit_on_first_permit", "nnx", "nnx"},
	} {
		t.Run(test.semantic+" "+test.items, func(t *testing.T) {
			t.Parallel()
			join := func(from map[byte]string, kinds string) string {
				var all []string
				for _, k := range []byte(kinds) {
					all = append(all, from[k])
				}
				return strings.Join(all, ",")
			}
			options := ""
			if test.semantic != "" {
				options = fmt.Sprintf(`"options":{"evaluations_semantic":%q},`, test.semantic)
			}
			w := post(pdp, batch, `{`+options+`"evaluations":[`+join(item, test.items)+`]}`)
			require.Equal(t, 200, w.Code)
			assert.Equal(t, `{"evaluations":[`+join(answer, test.answers)+`]}`, w.Body.String())
		})
	}
}
