package promgate_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate/rolegatetest"
)

var update = flag.Bool("update", false, "write the table of ../docs/metrics.md")

// A known metric is one that the collector has, with its labels.
type known struct{ kind, help, labels string }

func catalogue(t *testing.T) map[string]known {
	t.Helper()
	families, err := register(t, openGate(t, rolegatetest.NewStatic(record(1, "teacher")))).Gather()
	require.NoError(t, err)
	all := map[string]known{}
	for _, family := range families {
		var labels []string
		for _, l := range family.GetMetric()[0].GetLabel() {
			labels = append(labels, l.GetName())
		}
		all[family.GetName()] = known{strings.ToLower(family.GetType().String()), family.GetHelp(), strings.Join(labels, ", ")}
	}
	require.NotEmpty(t, all)
	return all
}

const (
	begin = "<!-- metrics:begin -->\n"
	end   = "<!-- metrics:end -->\n"
)

// docs/metrics.md lists what the collector has, and nothing else.
func TestDocs(t *testing.T) {
	t.Parallel()
	metrics := catalogue(t)
	var table strings.Builder
	table.WriteString("| metric | type | labels | what it says |\n| --- | --- | --- | --- |\n")
	var names []string
	for name := range metrics {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		labels := ""
		if l := metrics[name].labels; l != "" {
			labels = "`" + strings.ReplaceAll(l, ", ", "`, `") + "`"
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s | %s |\n", name, metrics[name].kind, labels, metrics[name].help)
	}

	const file = "../docs/metrics.md"
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	before, rest, ok := strings.Cut(string(text), begin)
	require.True(t, ok)
	listed, after, ok := strings.Cut(rest, end)
	require.True(t, ok)
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(before+begin+table.String()+end+after), 0o644))
		return
	}
	assert.Equal(t, table.String(), listed, "write it with: go test -run TestDocs -update .")

	blocks := regexp.MustCompile("(?s)```promql\n(.*?)```").FindAllStringSubmatch(after, -1)
	require.NotEmpty(t, blocks)
	for _, block := range blocks {
		checkExpression(t, metrics, block[1])
	}
}

// The dashboard asks for nothing that the collector does not have.
func TestDashboard(t *testing.T) {
	t.Parallel()
	metrics := catalogue(t)
	text, err := os.ReadFile("../docs/grafana.json")
	require.NoError(t, err)
	var dashboard any
	require.NoError(t, json.Unmarshal(text, &dashboard))

	expressions, ids := 0, map[float64]bool{}
	var look func(v any)
	look = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, item := range v {
				look(item)
			}
		case map[string]any:
			if expr, ok := v["expr"].(string); ok {
				checkExpression(t, metrics, expr)
				expressions++
			}
			if query, ok := v["definition"].(string); ok { // of a variable
				assert.Equal(t, query, v["query"])
				inner := regexp.MustCompile(`^label_values\((.*), (job|instance)\)$`).FindStringSubmatch(query)
				if assert.NotNil(t, inner, query) {
					checkExpression(t, metrics, inner[1])
				}
			}
			if id, ok := v["id"].(float64); ok {
				assert.False(t, ids[id], "two panels have the id %v", id)
				ids[id] = true
			}
			for _, item := range v {
				look(item)
			}
		}
	}
	look(dashboard)
	assert.Greater(t, expressions, 20)
}

// The parts of an expression of PromQL, as far as the dashboard needs it.
var (
	selector = regexp.MustCompile(`([a-zA-Z_:][\w:]*)\s*\{([^}]*)\}`)
	matcher  = regexp.MustCompile(`^\s*(\w+)\s*(=~|!~|!=|=)\s*"[^"]*"\s*$`)
	grouping = regexp.MustCompile(`\b(by|without)\s*\(([^)]*)\)`)
	window   = regexp.MustCompile(`\[[^\]]*\]`)
	word     = regexp.MustCompile(`[a-zA-Z_:][\w:]*`)
	funcs    = []string{"sum", "min", "max", "rate", "increase", "time", "and"}
	given    = []string{"job", "instance"} // by the scrape
)

// checkExpression fails the test if an expression names a metric or a label that
// is not there.
func checkExpression(t *testing.T, metrics map[string]known, expr string) {
	t.Helper()
	labels := slices.Clone(given)
	found := false
	for _, name := range word.FindAllString(expr, -1) {
		if m, ok := metrics[name]; ok {
			found = true
			labels = append(labels, strings.Split(m.labels, ", ")...)
		}
	}
	assert.True(t, found, "no metric in: %s", expr)
	for _, s := range selector.FindAllStringSubmatch(expr, -1) {
		own := append(strings.Split(metrics[s[1]].labels, ", "), given...)
		for _, part := range strings.Split(s[2], ",") {
			m := matcher.FindStringSubmatch(part)
			if assert.NotNil(t, m, "%q in: %s", part, expr) {
				assert.Contains(t, own, m[1], "label of %s in: %s", s[1], expr)
			}
		}
	}
	for _, g := range grouping.FindAllStringSubmatch(expr, -1) {
		for _, label := range strings.Split(g[2], ",") {
			assert.Contains(t, labels, strings.TrimSpace(label), "in: %s", expr)
		}
	}
	rest := window.ReplaceAllString(grouping.ReplaceAllString(selector.ReplaceAllString(expr, "$1"), ""), "")
	for _, name := range word.FindAllString(rest, -1) {
		if _, ok := metrics[name]; !ok {
			assert.Contains(t, funcs, name, "in: %s", expr)
		}
	}
	assert.Equal(t, strings.Count(expr, "("), strings.Count(expr, ")"), expr)
}
