package console_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

var (
	tags  = regexp.MustCompile(`<(/?)([a-zA-Z][a-zA-Z0-9]*)((?:\s+[a-zA-Z][-a-zA-Z0-9:]*(?:="[^"<]*")?)*)\s*(/?)>`)
	ids   = regexp.MustCompile(`\sid="([^"]*)"`)
	refs  = regexp.MustCompile(`\s(?:aria-labelledby|form)="([^"]*)"|href="#([^"]*)"`)
	names = regexp.MustCompile(`(?s)<(style|script)>.*?</(?:style|script)>`)
)

// wellFormed fails the test if tags do not nest, if one was broken by what is in
// it, or if ids are not unique or lead nowhere.
func wellFormed(t *testing.T, page string) {
	t.Helper()
	page = strings.TrimPrefix(page, "<!DOCTYPE html>")
	page = names.ReplaceAllString(page, "<$1></$1>")
	empty := map[string]bool{"meta": true, "link": true, "input": true, "br": true}
	var open []string
	for _, m := range tags.FindAllStringSubmatch(page, -1) {
		name := strings.ToLower(m[2])
		switch {
		case m[1] == "/":
			if !assert.NotEmpty(t, open, "</%s> closes nothing", name) || !assert.Equal(t, open[len(open)-1], name, "closed in another order: %v", open) {
				return
			}
			open = open[:len(open)-1]
		case m[4] == "" && !empty[name]:
			open = append(open, name)
		}
	}
	assert.Empty(t, open, "not closed")
	rest := tags.ReplaceAllString(page, "")
	assert.False(t, strings.ContainsAny(rest, "<>"), "there is more than tags and text")

	known := map[string]bool{}
	for _, m := range ids.FindAllStringSubmatch(page, -1) {
		assert.False(t, known[m[1]], "id %s is there twice", m[1])
		known[m[1]] = true
	}
	if strings.Contains(page, "<html") {
		for _, m := range refs.FindAllStringSubmatch(page, -1) {
			assert.True(t, known[m[1]+m[2]], "id %s%s is not there", m[1], m[2])
		}
	}
}
