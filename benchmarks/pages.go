package benchmarks

import (
	"fmt"
	"hash/fnv"
	"net/http"
	"sort"
	"strconv"
	"sync/atomic"
)

const (
	appID       = "bench-app"
	accessToken = "AT-0-benchmark"

	// pageSize is how many users both clients ask for in each request: the most
	// that the marketplace gives.
	pageSize = 1000
)

// Pages are the marketplace's whole list as JSON, spelt beforehand, so that a
// server has nothing to do but send pieces of it. They lie outside of the
// heap that the garbage collector knows: were they in it, it would hardly ever
// run, and there would be no telling what a client needs.
type pages struct {
	records   []byte  // all users, with commas between
	ends      []int   // where each user's record ends
	sequences []int64 // their sequences, ascending
	free      func()
	asked     atomic.Int64 // requests served
}

const (
	pageHead = `{"code":200,"status":"success","message":"请求成功","data":[`
	pageTail = `]}`

	mostRecordBytes = 1024
)

// newPages spells the list as it is now.
func newPages(w *workload) (*pages, error) {
	buf, free, err := offHeap(w.size * mostRecordBytes)
	if err != nil {
		return nil, err
	}
	p := &pages{records: buf[:0], free: free}
	for i := range w.users(0) {
		if len(p.ends) > 0 {
			p.records = append(p.records, ',')
		}
		p.records = appendRecord(p.records, w, i)
		p.ends = append(p.ends, len(p.records))
		p.sequences = append(p.sequences, w.sequence(i))
	}
	if cap(p.records) > len(buf) {
		return nil, fmt.Errorf("a record is longer than %d bytes", mostRecordBytes)
	}
	return p, nil
}

// appendRecord spells one user with every field that the marketplace has, as
// package rolegatetest does, which spells them from the marketplace's document.
func appendRecord(b []byte, w *workload, i int) []byte {
	p, id := w.profile(i), w.userID(i)
	b = strconv.AppendInt(append(b, `{"userId":`...), id, 10)
	b = appendText(append(b, `,"account":`...), p.account)
	b = appendText(append(b, `,"email":`...), p.email)
	b = strconv.AppendInt(append(b, `,"gender":`...), int64(1+i%2), 10)
	b = appendText(append(b, `,"nickname":`...), p.nickname)
	b = appendText(append(b, `,"thirdAccount":`...), p.thirdAccount)
	b = append(append(b, `,"thirdUserId":`...), p.thirdUserID...)
	b = appendText(append(b, `,"thirdUserName":`...), p.thirdUserName)
	b = append(b, `,"roleList":[`...)
	var buf [3]grant
	for k, g := range w.grants(buf[:], i) {
		if k > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(append(b, `{"orgId":`...), g.org, 10)
		b = appendText(append(b, `,"roleCode":`...), roleCodes[g.role])
		b = strconv.AppendInt(append(b, `,"roleId":`...), roleIDs[g.role], 10)
		b = appendText(append(b, `,"roleName":`...), roleCodes[g.role])
		b = strconv.AppendInt(append(b, `,"userId":`...), id, 10)
		b = append(b, '}')
	}
	b = strconv.AppendInt(append(b, `],"lastSequence":`...), w.sequence(i), 10)
	return append(b, '}')
}

// appendText spells a text in which nothing needs an escape.
func appendText(b []byte, s string) []byte { return append(append(append(b, '"'), s...), '"') }

// roleIDs are the numbers that rolegatetest makes up for the roles.
var roleIDs = func() (ids [roles]int64) {
	for i, code := range roleCodes {
		h := fnv.New64a()
		_, _ = h.Write([]byte(code))
		ids[i] = int64(h.Sum64() >> 1)
	}
	return ids
}()

// ServeHTTP answers the marketplace's call for the list.
func (p *pages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.asked.Add(1)
	q := r.URL.Query()
	after, errAfter := strconv.ParseInt(q.Get("lastSequence"), 10, 64)
	limit, errLimit := strconv.Atoi(q.Get("limit"))
	if errAfter != nil || errLimit != nil || q.Get("accessToken") != accessToken || r.Header.Get("X-App-Id") != appID {
		http.Error(w, "not what the benchmark's clients ask", http.StatusBadRequest)
		return
	}
	page := p.page(after, limit)
	w.Header().Set("Content-Type", "application/json;charset=UTF-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(pageHead)+len(page)+len(pageTail)))
	for _, part := range [][]byte{[]byte(pageHead), page, []byte(pageTail)} {
		if _, err := w.Write(part); err != nil {
			return // the client has left
		}
	}
}

// page returns the records of up to limit users whose sequence is above after.
func (p *pages) page(after int64, limit int) []byte {
	first := sort.Search(len(p.sequences), func(i int) bool { return p.sequences[i] > after })
	next := min(first+limit, len(p.sequences))
	if first >= next {
		return nil
	}
	from := 0
	if first > 0 {
		from = p.ends[first-1] + 1
	}
	return p.records[from:p.ends[next-1]]
}
