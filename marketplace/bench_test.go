package marketplace_test

import (
	"fmt"
	"testing"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/marketplace"
)

// pageOf is a page of n users as the document shows them, with three grants
// each.
func pageOf(n int) []byte {
	var records []string
	for i := range n {
		id := 1542135022016057346 + int64(i)
		roles := ""
		for j := range 3 {
			roles += fmt.Sprintf(`{"orgId":%d,"roleCode":"role_%d","roleId":%d,"roleName":"教师","userId":%d},`, 1542135022016050000+j, (i+j)%20, j, id)
		}
		records = append(records, fmt.Sprintf(`{"account":"user%d","email":"user%d@school.example","gender":1,"lastSequence":%d,"nickname":"张三%d","roleList":[%s],"thirdAccount":"t%d","thirdUserId":%d,"thirdUserName":"三%d","userId":%d}`,
			i, i, i+1, i, roles[:len(roles)-1], i, id+7, i, id))
	}
	return []byte(ok(records...))
}

func BenchmarkDecodePage(b *testing.B) {
	for _, n := range []int{1, 1000} {
		b.Run(fmt.Sprintf("users=%d", n), func(b *testing.B) {
			page := pageOf(n)
			b.SetBytes(int64(len(page)))
			b.ReportAllocs()
			for b.Loop() {
				rows, err := marketplace.DecodePage(page, func(r rolegate.Record) {
					if r.Bad != nil {
						b.Fatal(r.Bad)
					}
				})
				if err != nil || rows != n {
					b.Fatal(rows, err)
				}
			}
		})
	}
}
