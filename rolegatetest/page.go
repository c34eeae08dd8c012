package rolegatetest

import (
	"context"
	"encoding/json"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"unicode/utf8"

	"github.com/rolegate/rolegate"
)

// servePage is what a Marketplace does when nothing is wrong with it. It returns
// how many users, or roles, it found for the page.
func (m *Marketplace) servePage(w http.ResponseWriter, r *http.Request) (rows int) {
	q := parseQuery(r)
	m.mu.RLock()
	token, pageCap, roles := m.token, m.pageCap, m.roles
	m.mu.RUnlock()

	switch {
	case r.URL.Path != m.cfg.Path && (roles == nil || r.URL.Path != m.cfg.RoleListPath):
		writeError(w, http.StatusNotFound, 404, "请求的地址不存在")
		return 0
	case r.Method != http.MethodGet:
		w.Header().Set("Allow", http.MethodGet)
		writeError(w, http.StatusMethodNotAllowed, 405, "请求方式不支持")
		return 0
	case len(r.Header.Values("X-App-Id")) != 1 || r.Header.Get("X-App-Id") == "":
		writeError(w, http.StatusOK, 400, "缺少请求头 X-App-Id")
		return 0
	case q.problem != "":
		writeError(w, http.StatusOK, 400, q.problem)
		return 0
	case r.Header.Get("X-App-Id") != m.cfg.AppID, token == "", q.token != token, spoiltBy(r).refuse:
		if m.cfg.Refusal != nil {
			m.cfg.Refusal(w, r, http.NotFoundHandler())
			return 0
		}
		status := http.StatusOK
		if m.cfg.UnauthorizedHTTP {
			status = http.StatusUnauthorized
		}
		writeError(w, status, 401, "应用或 accessToken 无效")
		return 0
	}

	e := encoders.Get().(*encoder)
	defer encoders.Put(e)
	e.reset(m.cfg.IDs)
	if r.URL.Path != m.cfg.Path {
		e.roleList(roles)
		writeJSON(w, http.StatusOK, e.buf)
		return len(roles)
	}
	limit := int(q.limit)
	if pageCap > 0 {
		limit = min(limit, pageCap)
	}
	e.rows = m.find(e.rows[:0], q.after, limit, spoiltBy(r))
	m.mu.RLock()
	spellings := m.spellings
	m.mu.RUnlock()
	e.page(spellings)
	writeJSON(w, http.StatusOK, e.buf)
	return len(e.rows)
}

// find looks up the rows of a page.
func (m *Marketplace) find(buf []row, after int64, limit int, how spoilt) []row {
	from := after
	if !m.cfg.Inclusive {
		if after == math.MaxInt64 {
			return buf
		}
		from++
	}
	if how.lagging != nil {
		return how.lagging.users.page(buf, from, limit)
	}
	if how.descending {
		m.mu.RLock()
		defer m.mu.RUnlock()
		all := m.users.page(nil, from, m.users.len())
		slices.Reverse(all)
		return append(buf, all[:min(limit, len(all))]...)
	}
	if !how.cut {
		m.mu.RLock()
		defer m.mu.RUnlock()
		return m.users.page(buf, from, limit)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.users.compact() // without gaps, the first n users are the first n rows
	short := list{rows: m.users.rows[:min(how.keep, len(m.users.rows))]}
	return short.page(buf, from, limit)
}

// spoilt is what a fault asks of the page that it passes on.
type spoilt struct {
	refuse bool // as if the token were wrong
	cut    bool // as if the list ended after keep users
	keep   int

	descending bool
	lagging    *Backup // the list that is answered from, if it is another
}

type spoiltKey struct{}

func spoil(r *http.Request, how spoilt) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), spoiltKey{}, how))
}

func spoiltBy(r *http.Request) spoilt {
	how, _ := r.Context().Value(spoiltKey{}).(spoilt)
	return how
}

// query is what a request asks for.
type query struct {
	token        string
	after, limit int64  // -1 if not readable
	problem      string // why it is answered with code 400
}

func parseQuery(r *http.Request) query {
	q := query{after: -1, limit: -1}
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		q.problem = "请求参数格式错误"
		return q
	}
	if len(values["accessToken"]) == 1 {
		q.token = values.Get("accessToken")
	}
	if q.token == "" {
		q.problem = "缺少参数 accessToken"
	}
	var ok bool
	if q.after, ok = parseInt(values["lastSequence"], 0, 0, math.MaxInt64); !ok {
		q.problem = "lastSequence 参数错误"
	}
	if q.limit, ok = parseInt(values["limit"], maxLimit, 1, maxLimit); !ok {
		q.problem = "limit 必须大于 0 且不超过 1000"
	}
	return q
}

// parseInt reads a parameter that comes at most once. A number out of bounds is
// returned nevertheless, -1 for none.
func parseInt(values []string, absent, least, most int64) (n int64, ok bool) {
	switch len(values) {
	case 0:
		return absent, true
	case 1:
		n, err := strconv.ParseInt(values[0], 10, 64)
		if err != nil {
			return -1, false
		}
		return n, least <= n && n <= most
	default:
		return -1, false
	}
}

func writeError(w http.ResponseWriter, status, code int, message string) {
	b := strconv.AppendInt([]byte(`{"code":`), int64(code), 10)
	b = appendString(append(b, `,"data":{},"message":`...), message)
	writeJSON(w, status, append(b, `,"status":"fail"}`...))
}

func writeJSON(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json;charset=UTF-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client may have left
}

// encoder spells pages. It is used again, so that a full refresh of a large list leaves
// little for the collector in the process whose memory is being measured.
type encoder struct {
	ids    IDs
	quoted bool // the turn of IDsMixed
	rows   []row
	grants []rolegate.Grant
	buf    []byte
}

var encoders = sync.Pool{New: func() any { return new(encoder) }}

func (e *encoder) reset(ids IDs) { e.ids, e.quoted, e.buf = ids, false, e.buf[:0] }

// success is what an envelope begins with.
const success = `{"code":200,"status":"success","message":"请求成功","data":[`

// page spells the envelope with e.rows in it.
func (e *encoder) page(spellings map[int64]func(string) string) {
	e.key(success)
	for i, row := range e.rows {
		if i > 0 {
			e.buf = append(e.buf, ',')
		}
		start := len(e.buf)
		e.user(row)
		if respell := spellings[row.id]; respell != nil {
			record := respell(string(e.buf[start:]))
			e.buf = append(e.buf[:start], record...)
		}
	}
	e.buf = append(e.buf, `]}`...)
}

func (e *encoder) user(r row) {
	u := unpack(r.id, r.packed, e.grants[:0])
	e.grants = u.Grants
	e.key(`{"userId":`).id(u.ID)
	e.key(`,"account":`).text(u.Account)
	e.key(`,"email":`).text(u.Email)
	e.key(`,"gender":`)
	e.buf = strconv.AppendInt(e.buf, int64(u.Gender), 10)
	e.key(`,"nickname":`).text(u.Nickname)
	e.key(`,"thirdAccount":`).text(u.ThirdAccount)
	e.key(`,"thirdUserId":`).thirdID(u.ThirdUserID)
	e.key(`,"thirdUserName":`).text(u.ThirdUserName)
	e.key(`,"roleList":[`)
	for i, g := range u.Grants {
		if i > 0 {
			e.key(`,`)
		}
		e.key(`{"orgId":`).id(g.OrgID)
		e.key(`,"roleCode":`).text(g.RoleCode)
		e.key(`,"roleId":`).id(roleID(g.RoleCode))
		e.key(`,"roleName":`).text(g.RoleCode)
		e.key(`,"userId":`).id(u.ID)
		e.key(`}`)
	}
	e.key(`],"lastSequence":`).id(r.sequence)
	e.key(`}`)
}

func (e *encoder) key(json string) *encoder {
	e.buf = append(e.buf, json...)
	return e
}

func (e *encoder) text(s string) { e.buf = appendString(e.buf, s) }

func (e *encoder) id(n int64) {
	if !e.quote() {
		e.buf = strconv.AppendInt(e.buf, n, 10)
		return
	}
	e.buf = append(strconv.AppendInt(append(e.buf, '"'), n, 10), '"')
}

func (e *encoder) thirdID(s string) {
	switch {
	case e.quote():
		e.text(s)
	case s == "":
		e.buf = append(e.buf, '0')
	case canonical(s):
		e.buf = append(e.buf, s...)
	default:
		e.text(s)
	}
}

func canonical(s string) bool {
	n, err := strconv.ParseInt(s, 10, 64)
	return err == nil && strconv.FormatInt(n, 10) == s
}

// quote says whether the next id is a string.
func (e *encoder) quote() bool {
	if e.ids == IDsMixed {
		e.quoted = !e.quoted
		return !e.quoted
	}
	return e.ids == IDsString
}

// appendString spells s as a JSON string. What is plain text, Chinese included,
// needs no more than its quotes.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c == 0x7f {
			return appendEscaped(b, s)
		}
	}
	if !utf8.ValidString(s) {
		return appendEscaped(b, s)
	}
	return append(append(append(b, '"'), s...), '"')
}

func appendEscaped(b []byte, s string) []byte {
	escaped, err := json.Marshal(s)
	if err != nil {
		panic(err) // no string is refused
	}
	return append(b, escaped...)
}

// roleID makes up the number of a role: the same for the same code, and mostly
// above 2^53, as the real ones are. It is FNV-1a without its sign.
func roleID(code string) int64 {
	h := uint64(14695981039346656037)
	for i := range len(code) {
		h = (h ^ uint64(code[i])) * 1099511628211
	}
	return int64(h >> 1)
}
