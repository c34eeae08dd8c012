// Package layers keeps the direction of rolegate's imports: its test reads what
// the go command says of the module, so that no habit has to.
package layers

import (
	"fmt"
	"slices"
)

// layers are the packages below the root and the root itself, lowest first. One
// imports those of the layers below it and no other of its own layer.
var layers = [][]string{
	{"internal/clock"},
	{"internal/index"},
	{"internal/snapshot"},
	{"internal/policy", "internal/refresh", "internal/replication"},
	{"internal/pull"},
	{""}, // the root
}

// layer returns the number of a package's layer; ok is false for a package in
// none: one that stands above the root, or a helper that stands below all.
func layer(path string) (n int, ok bool) {
	n = slices.IndexFunc(layers, func(l []string) bool { return slices.Contains(l, path) })
	return n, n >= 0
}

// Violations lists what breaks the order. imports has for each package of the
// module what it imports of the module: paths below the module's, "" for the
// root. A package in no layer may be imported by one in a layer only if it is a
// helper: it imports none but other helpers.
func Violations(imports map[string][]string) (wrong []string) {
	for path, imported := range imports {
		n, ok := layer(path)
		if !ok {
			continue
		}
		for _, to := range imported {
			m, ok := layer(to)
			switch {
			case ok && m >= n:
				wrong = append(wrong, fmt.Sprintf("%s imports %s, which is not in a layer below it", name(path), name(to)))
			case !ok && !isHelper(imports, to, nil):
				wrong = append(wrong, fmt.Sprintf("%s imports %s, which is in no layer and imports what is", name(path), name(to)))
			}
		}
	}
	slices.Sort(wrong)
	return wrong
}

func isHelper(imports map[string][]string, path string, seen []string) bool {
	if _, ok := layer(path); ok {
		return false
	}
	if slices.Contains(seen, path) {
		return true
	}
	return !slices.ContainsFunc(imports[path], func(to string) bool {
		return !isHelper(imports, to, append(seen, path))
	})
}

func name(path string) string {
	if path == "" {
		return "the root"
	}
	return path
}
