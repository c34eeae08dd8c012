package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Between these lines of a README, its table goes.
const (
	beginMark = "<!-- benchmarks:begin -->"
	endMark   = "<!-- benchmarks:end -->"
)

// A readme is a README in one language.
type readme struct {
	file  string
	head  string // the table's first line
	after string // what follows the table; the %s is when and on what it was measured
	rows  []readmeRow

	missing string
}

// A readmeRow is a row of its table. A row with several figures has a %s for
// each.
type readmeRow struct {
	what, form string
	measures   []measure
}

// The figures of the rows, the same in each language.
var (
	figuresMap     = []measure{worst("Decide", pick(fresh, large), "×map"), worst("Decide", pick(changed, large), "×map")}
	figuresPeers   = []measure{one("Peers", "cedar-go/users=100000", "×rolegate"), one("Peers", "casbin/users=100000", "×rolegate"), one("Peers", "opa/users=100000", "×rolegate")}
	figuresHeap    = []measure{one("Heap", "grants/users=1000000", "B/user"), one("Heap", "grants/users=1000000", "map-B/user")}
	figuresGuard   = []measure{worst("Middleware", guarded, "ns/request-extra"), worst("Middleware", guarded, "allocs/request-extra")}
	figuresGC      = []measure{one("GC", "users=5000000", "ms/GC"), one("GC", "users=5000000", "map-ms/GC")}
	figuresRefresh = []measure{one("Refresh", "users=1000000", "ms/refresh"), one("Refresh", "users=1000000", "ms/anew")}
	figuresStart   = []measure{one("Start", "users=1000000", "s/start")}
	figuresFull    = []measure{one("FullRefresh", "users=1000000", "s/full"), one("FullRefresh", "users=1000000", "×faster")}
)

var readmes = []readme{
	{
		file: "README.md", head: "| what | measured |", missing: "not measured",
		after: "![What a decision takes, by the number of users](docs/benchmarks.svg)\n\n" +
			"Measured on %s, by `GOWORK=off go run ./report` in the folder benchmarks. [docs/benchmarks.md](docs/benchmarks.md) has all figures, and how they came about.",
		rows: []readmeRow{
			{"a decision, beside a look-up in a plain Go map, 1,000,000 and 5,000,000 users", "at most %s × as long; %s × while a fifth of the list changes", figuresMap},
			{"a decision of cedar-go, casbin, the Open Policy Agent, 100,000 users", "%s ×, %s ×, %s × as long as rolegate's", figuresPeers},
			{"what a guard adds to a request", "%s ns, %s allocations", figuresGuard},
			{"heap for each user, ids and grants alone", "%s bytes; the Go map: %s bytes", figuresHeap},
			{"a garbage collection with 5,000,000 users", "%s ms; with the Go map: %s ms", figuresGC},
			{"taking in 1,000 changes, 1,000,000 users", "%s ms; building the index anew: %s ms", figuresRefresh},
			{"a full refresh of 1,000,000 users over HTTP", "%s s: %s × as fast as a client with `encoding/json`", figuresFull},
			{"a start from the file of a stored index, 1,000,000 users", "%s s", figuresStart},
		},
	},
	{
		file: "README.zh-CN.md", head: "| 项目 | 实测 |", missing: "未测",
		after: "![不同用户数下一次判定的耗时](docs/benchmarks.svg)\n\n" +
			"测试日期与环境：%s。命令：在 benchmarks 目录中运行 `GOWORK=off go run ./report`。全部数据和测量方法见 [docs/benchmarks.md](docs/benchmarks.md)（英文）。",
		rows: []readmeRow{
			{"一次判定的耗时，与直接查 Go map 相比，1,000,000 与 5,000,000 个用户", "最多为 map 的 %s 倍；五分之一的名单陆续变更期间最多为 %s 倍", figuresMap},
			{"cedar-go、casbin、Open Policy Agent 的一次判定，100,000 个用户", "耗时分别是 rolegate 的 %s 倍、%s 倍、%s 倍", figuresPeers},
			{"守卫给每个请求增加的开销", "%s ns，%s 次内存分配", figuresGuard},
			{"每个用户占用的堆内存（仅含 id 与授权）", "%s 字节；Go map 为 %s 字节", figuresHeap},
			{"内存中有 5,000,000 个用户时的一次垃圾回收", "%s ms；用 Go map 时为 %s ms", figuresGC},
			{"1,000,000 个用户时应用 1,000 条变更", "%s ms；重建整个索引需 %s ms", figuresRefresh},
			{"经 HTTP 全量同步 1,000,000 个用户", "%s s，速度是用 `encoding/json` 编写的普通客户端的 %s 倍", figuresFull},
			{"从磁盘上保存的索引启动，1,000,000 个用户", "%s s", figuresStart},
		},
	},
}

// update puts the table between the marks of the README. One without marks, or
// none at all, is passed over and told.
func (r readme) update(root string, all results, log io.Writer) error {
	file := filepath.Join(root, r.file)
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		fmt.Fprintf(log, "%s: there is none, so that it gets no table\n", file)
		return nil
	}
	if err != nil {
		return err
	}
	updated, found, err := between(text, r.table(all))
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", file, err)
	case !found:
		fmt.Fprintf(log, "%s: it has no %s, so that it gets no table\n", file, beginMark)
		return nil
	case bytes.Equal(updated, text):
		return nil
	}
	return os.WriteFile(file, updated, 0o644)
}

// between puts table between the marks of text; found is false if there are
// none. Both must be there once, in this order.
func between(text []byte, table string) (updated []byte, found bool, err error) {
	begins, ends := bytes.Count(text, []byte(beginMark)), bytes.Count(text, []byte(endMark))
	if begins == 0 && ends == 0 {
		return text, false, nil
	}
	before, rest, _ := bytes.Cut(text, []byte(beginMark))
	_, after, ok := bytes.Cut(rest, []byte(endMark))
	if begins != 1 || ends != 1 || !ok {
		return nil, true, fmt.Errorf("expected %s and then %s, each once", beginMark, endMark)
	}
	return bytes.Join([][]byte{before, []byte(beginMark + "\n" + table + endMark), after}, nil), true, nil
}

// table is the README's table and the line below it.
func (r readme) table(all results) string {
	var b strings.Builder
	b.WriteString(r.head + "\n| --- | --- |\n")
	for _, row := range r.rows {
		fmt.Fprintf(&b, "| %s | %s |\n", row.what, row.figures(all, r.missing))
	}
	if _, ok := all["Decide"]; ok {
		b.WriteString("\n" + fmt.Sprintf(r.after, where(all)) + "\n")
	}
	return b.String()
}

// where says when and on what the figures of a README were measured: as Decide was,
// but for those families that are named.
func where(all results) string {
	most := all["Decide"]
	text := fmt.Sprintf("%s, %s", most.Date, most.Machine)
	for _, name := range []string{"Peers", "Middleware", "Heap", "GC", "Refresh", "FullRefresh", "Start"} {
		if f, ok := all[name]; ok && (f.Date != most.Date || f.Machine != most.Machine) {
			text += fmt.Sprintf("; %s: %s, %s", name, f.Date, f.Machine)
		}
	}
	return text
}

func (row readmeRow) figures(all results, missing string) string {
	var values []any
	for _, m := range row.measures {
		value, ok := m(all)
		if !ok {
			return missing
		}
		values = append(values, number(value))
	}
	return fmt.Sprintf(row.form, values...)
}
