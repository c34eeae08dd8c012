package marketplace_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/marketplace"
)

// recordOf is user i as the document shows them.
func recordOf(i, grants int) string {
	id := 1542135022016057346 + int64(i)
	var roles []string
	for j := range grants {
		roles = append(roles, fmt.Sprintf(`{"orgId":%d,"roleCode":"role_%d","roleId":%d,"roleName":"教师","userId":%d}`, 1542135022016050000+j, (i+j)%20, j, id))
	}
	return fmt.Sprintf(`{"account":"user%d","email":"user%d@school.example","gender":1,"lastSequence":%d,"nickname":"张三%d","roleList":[%s],"thirdAccount":"t%d","thirdUserId":%d,"thirdUserName":"三%d","userId":%d}`,
		i, i, i+1, i, strings.Join(roles, ","), i, id+7, i, id)
}

// pageOf is a page of n users with three grants each.
func pageOf(n int) []byte {
	var records []string
	for i := range n {
		records = append(records, recordOf(i, 3))
	}
	return []byte(ok(records...))
}

// A plainPage is what a client without any scruples decodes.
type plainPage struct {
	Code int         `json:"code"`
	Data []plainUser `json:"data"`
}

type plainUser struct {
	UserID       int64            `json:"userId"`
	LastSequence int64            `json:"lastSequence"`
	RoleList     []rolegate.Grant `json:"roleList"`
}

func BenchmarkDecodePage(b *testing.B) {
	for _, n := range []int{1, 1000} {
		page := pageOf(n)
		good := func(r rolegate.Record) {
			if r.Bad != nil {
				b.Fatal(r.Bad)
			}
		}
		d := marketplace.NewDecoder()
		for _, way := range []struct {
			name   string
			decode func() (rows int, err error)
		}{
			{"rolegate", func() (int, error) { return d.Page(page, good) }},
			{"encoding_json", func() (int, error) {
				var p plainPage
				err := json.Unmarshal(page, &p)
				return len(p.Data), err
			}},
		} {
			b.Run(fmt.Sprintf("users=%d/%s", n, way.name), func(b *testing.B) {
				b.SetBytes(int64(len(page)))
				b.ReportAllocs()
				for b.Loop() {
					if rows, err := way.decode(); err != nil || rows != n {
						b.Fatal(rows, err)
					}
				}
			})
		}
	}
}

// BenchmarkFullRefresh reads a whole list over loopback into a map: with Pull, and with
// a plain client that has nothing of it but encoding/json.
func BenchmarkFullRefresh(b *testing.B) {
	const users = 50_000
	l := newLongList(users)
	srv := httptest.NewServer(l)
	defer srv.Close()
	c := client(nil, func(c *marketplace.Config) { c.BaseURL = srv.URL })
	defer c.CloseIdleConnections()
	for _, way := range []struct {
		name string
		full func(map[int64][]rolegate.Grant) error
	}{
		{"rolegate", func(m map[int64][]rolegate.Grant) error {
			return c.Pull(b.Context(), 0, func(r rolegate.Record) { m[r.UserID] = slices.Clone(r.Grants) })
		}},
		{"encoding_json", func(m map[int64][]rolegate.Grant) error { return plainFull(srv.Client(), srv.URL, m) }},
	} {
		b.Run(way.name, func(b *testing.B) {
			b.SetBytes(int64(len(l.records)))
			b.ReportAllocs()
			for b.Loop() {
				m := map[int64][]rolegate.Grant{}
				if err := way.full(m); err != nil || len(m) != users {
					b.Fatal(len(m), err)
				}
			}
		})
	}
}

func plainFull(hc *http.Client, base string, m map[int64][]rolegate.Grant) error {
	for after := int64(0); ; {
		res, err := hc.Get(fmt.Sprintf("%s/app/user/list?lastSequence=%d&limit=1000", base, after))
		if err != nil {
			return err
		}
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil {
			return err
		}
		var p plainPage
		if err := json.Unmarshal(body, &p); err != nil {
			return err
		}
		if len(p.Data) == 0 {
			return nil
		}
		for _, u := range p.Data {
			m[u.UserID] = u.RoleList
			after = max(after, u.LastSequence)
		}
	}
}

// A longList answers with users 1 to n, whose sequences are their numbers.
// Nothing is encoded while it is measured.
type longList struct {
	records []byte // each with a comma after it
	ends    []int  // ends[n] is where the first n records end
}

func newLongList(n int) *longList {
	l := &longList{ends: []int{0}}
	for i := range n {
		l.records = append(append(l.records, recordOf(i, 1+i%3)...), ',')
		l.ends = append(l.ends, len(l.records))
	}
	return l
}

func (l *longList) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	after, err := strconv.Atoi(r.FormValue("lastSequence"))
	limit, err2 := strconv.Atoi(r.FormValue("limit"))
	if err != nil || err2 != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	from := min(after, len(l.ends)-1)
	to := min(from+limit, len(l.ends)-1)
	_, _ = io.WriteString(w, `{"code":200,"status":"success","message":"","data":[`)
	_, _ = w.Write(bytes.TrimSuffix(l.records[l.ends[from]:l.ends[to]], []byte(",")))
	_, _ = io.WriteString(w, `]}`)
}
