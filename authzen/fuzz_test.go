package authzen_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzEvaluations compares each answer with that of a second reading of the
// same body, by encoding/json: what is answered 200 must be a request by the
// specification's rules, and the decisions those that a plain reading gives.
func FuzzEvaluations(f *testing.F) {
	read := q("user", "1", "read", "record")
	for _, body := range []string{
		read, `{}`, `{"evaluations":[]}`, `{"evaluations":[` + read + `,{}]}`,
		`{"subject":{"type":"user","id":"1"},"action":{"name":"write"},"resource":{"type":"report","id":"1","properties":{"org_id":9007199254740993}},"evaluations":[{},{"resource":{"type":"report","id":"1","properties":{"org_id":"8"}}}],"options":{"evaluations_semantic":"deny_on_first_deny"}}`,
		`{"subject":{"type":"user","id":"2"},"action":{"name":"read"},"resource":{"type":"record","id":"1"},"evaluations":[{"action":{"name":"write"}},{}],"options":{"evaluations_semantic":"permit_on_first_permit"}}`,
		strings.Replace(read, `"id":"1"`, `"id":"1","id":"2"`, 1),
	} {
		f.Add(true, []byte(body))
		f.Add(false, []byte(body))
	}
	pdp := newPDP(f, config(openGate(f)))
	f.Fuzz(func(t *testing.T, many bool, body []byte) {
		path := single
		if many {
			path = batch
		}
		w := post(pdp, path, string(body))
		want, good := plainly(body, many)
		switch w.Code {
		case http.StatusBadRequest:
			require.Equal(t, "text/plain; charset=utf-8", w.Header().Get("Content-Type"))
			if good { // it must be for what encoding/json accepts
				require.True(t, strings.Contains(w.Body.String(), "same name twice") || strings.Contains(w.Body.String(), "not valid JSON") ||
					strings.Contains(w.Body.String(), "more than"), "%s: %q", w.Body, body)
			}
		case http.StatusOK:
			require.True(t, good, "answered although it is no request: %q", body)
			var got struct {
				Decision    *bool
				Evaluations []struct{ Decision *bool }
			}
			d := json.NewDecoder(bytes.NewReader(w.Body.Bytes()))
			d.UseNumber()
			require.NoError(t, d.Decode(&got))
			var decisions []bool
			if got.Decision != nil {
				decisions = append(decisions, *got.Decision)
			}
			for _, e := range got.Evaluations {
				require.NotNil(t, e.Decision)
				decisions = append(decisions, *e.Decision)
			}
			require.Equal(t, want, decisions, "%q", body)
		default:
			t.Fatalf("status %d", w.Code)
		}
	})
}

// plainly reads a request as simply as can be.
func plainly(body []byte, many bool) (decisions []bool, good bool) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var top map[string]any
	if d.Decode(&top) != nil || top == nil || !valid(top) {
		return nil, false
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, false
	}
	items, semantic := []any(nil), "execute_all"
	if many {
		if options, there := top["options"]; there {
			set, isObject := options.(map[string]any)
			if !isObject {
				return nil, false
			}
			if s, there := set["evaluations_semantic"]; there {
				semantic, _ = s.(string)
			}
			if semantic != "execute_all" && semantic != "deny_on_first_deny" && semantic != "permit_on_first_permit" {
				return nil, false
			}
		}
		if list, there := top["evaluations"]; there {
			if items, good = list.([]any); !good {
				return nil, false
			}
		}
	}
	for _, part := range []string{"subject", "action", "resource"} {
		entity, there := top[part].(map[string]any)
		if there && !whole(part, entity) || len(items) == 0 && !there {
			return nil, false
		}
	}
	if len(items) == 0 {
		return []bool{permits(top)}, true
	}
	over := false
	for _, item := range items {
		members, isObject := item.(map[string]any)
		if !isObject || !valid(members) {
			return nil, false
		}
		merged := map[string]any{"subject": top["subject"], "action": top["action"], "resource": top["resource"]}
		for part := range merged {
			if own, there := members[part]; there {
				merged[part] = own
			}
		}
		if over {
			continue
		}
		permit := permits(merged)
		decisions = append(decisions, permit)
		over = semantic == "deny_on_first_deny" && !permit || semantic == "permit_on_first_permit" && permit
	}
	return decisions, true
}

// valid reports whether what is there has the right types.
func valid(members map[string]any) bool {
	for _, part := range []string{"subject", "action", "resource", "context"} {
		value, there := members[part]
		if !there {
			continue
		}
		entity, isObject := value.(map[string]any)
		if !isObject {
			return false
		}
		if part == "context" {
			continue
		}
		strs := []string{"type", "id"}
		if part == "action" {
			strs = []string{"name"}
		}
		for _, name := range strs {
			if field, there := entity[name]; there {
				if _, isString := field.(string); !isString {
					return false
				}
			}
		}
		if properties, there := entity["properties"]; there {
			if _, isObject := properties.(map[string]any); !isObject {
				return false
			}
		}
	}
	return true
}

func whole(part string, entity map[string]any) bool {
	if part == "action" {
		_, named := entity["name"]
		return named
	}
	_, typed := entity["type"]
	_, identified := entity["id"]
	return typed && identified
}

// permits knows who may do what in [config], but for the rules that never permit.
func permits(members map[string]any) bool {
	text := func(part, name string) string {
		entity, _ := members[part].(map[string]any)
		s, _ := entity[name].(string)
		return s
	}
	resource, _ := members["resource"].(map[string]any)
	if _, there := resource["id"]; !there {
		return false
	}
	user := map[[2]string]int{
		{"user", "1"}: 1, {"account", "alice"}: 1, {"email", "alice@example.com"}: 1, {"third_account", "a-1"}: 1, {"third_user", "4711"}: 1,
		{"user", "2"}: 2, {"account", "bob"}: 2, {"user", "3"}: 3, {"user", "4"}: 4,
	}[[2]string{text("subject", "type"), text("subject", "id")}]
	switch text("resource", "type") + " " + text("action", "name") {
	case "record read":
		return user == 1 || user == 2
	case "record write":
		return user == 1
	case "report write":
		properties, _ := resource["properties"].(map[string]any)
		org, _ := properties["org_id"].(string)
		if number, isNumber := properties["org_id"].(json.Number); isNumber {
			org = number.String()
		}
		return user == 1 && (org == "7" || org == "9007199254740993")
	case "org read":
		org := text("resource", "id")
		return user == 1 && (org == "7" || org == "9007199254740993")
	case "shadow read":
		return user != 0
	}
	return false
}
