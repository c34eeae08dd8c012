package main

import (
	"bytes"
	"encoding/xml"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const output = `goos: linux
goarch: amd64
pkg: github.com/rolegate/rolegate/benchmarks
cpu: AMD EPYC
BenchmarkDecide/users=1000/fresh-2   	       1	        71.89 map-ns/decision	       138.8 ns/decision	         1.929 ×map
BenchmarkDecide/users=1000/changed-2 	       1	         1.932 ×map
PASS
ok  	github.com/rolegate/rolegate/benchmarks	76.1s
`

func TestParse(t *testing.T) {
	t.Parallel()
	f, err := parse(strings.NewReader(output))
	require.NoError(t, err)
	assert.Equal(t, machine{CPU: "AMD EPYC", Procs: 2, Platform: "linux/amd64"}, f.Machine)
	assert.Equal(t, map[string]map[string]float64{
		"users=1000/fresh":   {"map-ns/decision": 71.89, "ns/decision": 138.8, "×map": 1.929},
		"users=1000/changed": {"×map": 1.932},
	}, f.Metrics)

	f, err = parse(strings.NewReader(strings.ReplaceAll(output, "-2 ", " ")))
	require.NoError(t, err)
	assert.Equal(t, 1, f.Machine.Procs)
	assert.Contains(t, f.Metrics, "users=1000/fresh")

	for name, bad := range map[string]string{
		"no result":   "PASS\n",
		"half a pair": "BenchmarkGC/users=1-2 \t 1 \t 3.1\n",
		"no number":   "BenchmarkGC/users=1-2 \t 1 \t x ms/GC\n",
	} {
		_, err := parse(strings.NewReader(bad))
		require.Error(t, err, name)
	}
}

func TestNumber(t *testing.T) {
	t.Parallel()
	for v, want := range map[float64]string{
		0: "0", 1.929: "1.93", 2: "2", 0.30064: "0.301", 0.01: "0.01", 0.0031449: "0.00314",
		34.79: "34.8", 115.7: "116", 1109: "1,109", 9.996: "10", 12345678: "12,345,678", -1234.5: "-1,234", 1e6: "1,000,000",
	} {
		assert.Equal(t, want, number(v))
	}
	assert.Equal(t, "71.9 ns", duration(71.89))
	assert.Equal(t, "1 µs", duration(1000))
	assert.Equal(t, "13.6 µs", duration(13578))
	assert.Equal(t, "1 ms", duration(1e6))
}

// full are results in which every figure that is asked for is there.
func full() results {
	all := results{}
	seen := map[string]map[string]map[string]float64{}
	for _, name := range families {
		seen[name] = map[string]map[string]float64{}
	}
	put := func(family, benchmark string, units ...string) {
		m := map[string]float64{}
		for _, u := range units {
			m[u] = 2
		}
		seen[family][benchmark] = m
	}
	for i := range decideSizes {
		put("Decide", fresh[i], "×map", "ns/decision", "map-ns/decision")
		put("Decide", changed[i], "×map", "ns/decision", "map-ns/decision")
	}
	for _, p := range peerNames {
		for _, n := range peerSizes {
			put("Peers", p.name+"/users="+n, "×rolegate", "ns/decision")
		}
	}
	for _, b := range heapSizes {
		put("Heap", b, "×map", "B/user", "map-B/user")
	}
	put("Heap", "profiles/users=1000000", "B/user-beyond-strings", "B/user")
	for _, b := range append(guarded, "casbin", "casbin-one-route") {
		put("Middleware", b, "ns/request-extra", "allocs/request-extra", "×rolegate-extra", "×least", "least-ns/request-extra")
	}
	for _, f := range frameworks {
		put("Frameworks", f.name, "ns/request-extra", "allocs/request-extra", "casbin-ns/request-extra", "casbin-allocs/request-extra", "×rolegate-extra")
	}
	put("Parallel", "users=100000", "×one-core", "map-×one-core", "Mdecisions/s")
	put("Swapping", "users=100000", "×one-core", "×one-core-swapping")
	put("Start", "users=1000000", "×full", "s/start")
	put("GC", "users=5000000", "×without", "ms/GC", "map-ms/GC")
	put("Refresh", "users=1000000", "×anew", "ms/refresh", "ms/anew", "ms/full")
	put("RefreshLatency", "users=1000000", "×idle")
	put("FullRefresh", "users=1000000", "×faster", "s/full", "plain-s/full", "MB")
	put("FullRefreshHeap", "users=1000000", "×index", "MB-peak")
	for name, metrics := range seen {
		all[name] = family{Date: "2026-03-01", Seconds: 12, Machine: machine{"AMD EPYC", 2, "go1.26.8", "linux/amd64"}, Metrics: metrics}
	}
	return all
}

func TestRequirements(t *testing.T) {
	t.Parallel()
	all := full()
	all["Decide"].Metrics[fresh[3]]["×map"] = 3
	figure, reached := requirements[0].measured(all)
	assert.Equal(t, "3 × the map's time", figure)
	assert.Equal(t, "**no**", reached)
	assert.Equal(t, "≤ 1.1 × the map's time", requirements[0].goal())

	peer := requirement{"p", 25, true, "%s × rolegate's time", one("Peers", "cedar-go/users=100000", "×rolegate")}
	assert.Equal(t, "≥ 25 × rolegate's time", peer.goal())
	assert.True(t, peer.reached(25))
	assert.False(t, peer.reached(24.9))

	delete(all["Decide"].Metrics, fresh[4])
	figure, reached = requirements[0].measured(all)
	assert.Equal(t, "not measured", figure)
	assert.Equal(t, "–", reached)
}

func TestMarkdown(t *testing.T) {
	t.Parallel()
	text := string(markdown(full()))
	assert.NotContains(t, text, "not measured")
	assert.NotContains(t, text, "| – |")
	assert.NotContains(t, text, "%!")
	assert.Contains(t, text, "- AMD EPYC, 2 cores, linux/amd64, go1.26.8, on 2026-03-01: Decide (12 s), ")
	for _, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(line, "|") {
			assert.True(t, strings.HasSuffix(line, "|"), line)
		}
	}
	text = string(markdown(results{}))
	assert.Contains(t, text, "Nothing has been measured yet")
	assert.NotContains(t, text, "| yes |")
}

func TestChart(t *testing.T) {
	t.Parallel()
	for name, all := range map[string]results{"full": full(), "empty": {}} {
		svg, err := chart(all)
		require.NoError(t, err, name)
		again, err := chart(all)
		require.NoError(t, err, name)
		assert.Equal(t, svg, again, "the same results give the same drawing")
		d := xml.NewDecoder(bytes.NewReader(svg))
		for {
			if _, err := d.Token(); err == io.EOF {
				break
			} else {
				require.NoError(t, err, name)
			}
		}
		assert.NotContains(t, string(svg), "NaN")
		assert.Equal(t, name == "full", strings.Contains(string(svg), "Open Policy Agent"))
	}
}

func TestReadme(t *testing.T) {
	t.Parallel()
	for _, r := range readmes {
		table := r.table(full())
		assert.NotContains(t, table, "%!", r.file)
		assert.NotContains(t, table, r.missing, r.file)
		assert.Contains(t, r.table(results{}), r.missing)
		for i, row := range r.rows {
			assert.Len(t, row.measures, strings.Count(row.form, "%s"), row.what)
			assert.Len(t, row.measures, len(readmes[0].rows[i].measures), row.what)
		}

		root := t.TempDir()
		file := filepath.Join(root, r.file)
		var log bytes.Buffer
		require.NoError(t, r.update(root, full(), &log))
		assert.Contains(t, log.String(), "there is none")
		for text, want := range map[string]string{
			"no marks\n": "no marks\n",
			"a\n" + beginMark + "\nold\n" + endMark + "\nb\n": "a\n" + beginMark + "\n" + table + endMark + "\nb\n",
			beginMark + endMark: beginMark + "\n" + table + endMark,
			"a\n" + beginMark + "\n" + table + endMark + "\n": "a\n" + beginMark + "\n" + table + endMark + "\n",
		} {
			require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
			require.NoError(t, r.update(root, full(), &log))
			got, err := os.ReadFile(file)
			require.NoError(t, err)
			assert.Equal(t, want, string(got))
		}
		for _, bad := range []string{beginMark, endMark, endMark + beginMark, beginMark + beginMark + endMark} {
			require.NoError(t, os.WriteFile(file, []byte(bad), 0o600))
			require.ErrorContains(t, r.update(root, full(), &log), "each once")
		}
	}
}

func TestResultsFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "benchmarks.json")
	all, err := load(file)
	require.NoError(t, err)
	assert.Empty(t, all)
	require.NoError(t, save(file, full()))
	all, err = load(file)
	require.NoError(t, err)
	assert.Equal(t, full(), all)

	for bad, says := range map[string]string{
		`{`:                               "start anew",
		`{"Decide":{"when":"yesterday"}}`: "unknown field",
		`{"Dcide":{}}`:                    `no family "Dcide"`,
	} {
		require.NoError(t, os.WriteFile(file, []byte(bad), 0o600))
		_, err := load(file)
		require.ErrorContains(t, err, says)
	}
}

func TestArgs(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(root, "docs"), 0o700))
	s, err := parseArgs([]string{"-root", root, "-only", "^(GC|Heap)$"}, io.Discard)
	require.NoError(t, err)
	assert.True(t, s.only.MatchString("GC"))
	assert.False(t, s.only.MatchString("FullRefresh"))
	for says, args := range map[string][]string{
		"flags only":     {"-root", root, "Decide"},
		"-only":          {"-root", root, "-only", "("},
		"none of Decide": {"-root", root, "-only", "Dcide"},
		"mean nothing":   {"-short"},
		"folder docs":    {"-root", filepath.Join(root, "docs")},
		"not defined":    {"-olny", "GC"},
	} {
		_, err := parseArgs(args, io.Discard)
		require.ErrorContains(t, err, says)
	}
	require.ErrorContains(t, run(t.Context(), []string{"-root", root}, io.Discard), "folder benchmarks")
}

// A README names each machine that its figures are of.
func TestReadmeNamesMachines(t *testing.T) {
	t.Parallel()
	all := full()
	const most = "2026-03-01, AMD EPYC, 2 cores, linux/amd64, go1.26.8"
	for _, r := range readmes {
		assert.Contains(t, r.table(all), most)
		assert.NotContains(t, r.table(all), "Middleware")
	}
	f := all["Middleware"]
	f.Date, f.Machine.CPU = "2026-04-02", "another"
	all["Middleware"] = f
	for _, r := range readmes {
		assert.Contains(t, r.table(all), most+"; Middleware: 2026-04-02, another, 2 cores, linux/amd64, go1.26.8")
	}
}

// A run of no family writes everything that there is to write.
func TestWrite(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(root, "docs"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(root, "README.md"), []byte(beginMark+endMark), 0o600))
	require.NoError(t, write(root, full(), io.Discard))
	for _, name := range []string{"docs/benchmarks.md", "docs/benchmarks.svg", "README.md"} {
		text, err := os.ReadFile(filepath.Join(root, name))
		require.NoError(t, err)
		assert.Greater(t, len(text), 500, name)
	}
}

// Every family that has a figure in a table is run, and no other name is used.
func TestFamilies(t *testing.T) {
	t.Parallel()
	all := full()
	assert.ElementsMatch(t, families, slices.Collect(maps.Keys(all)))
	for _, q := range requirements {
		value, ok := q.measure(all)
		assert.True(t, ok && !math.IsInf(value, 0), q.what)
	}
}
