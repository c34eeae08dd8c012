package doclinks_test

import (
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// instead is what to write instead of words that texts and names do without. Of two
// words, they follow each other.
var instead = map[string]string{
	"he": "they", "him": "them", "his": "their", "whom": "a sentence without it",
	"barred": "invalid record", "bereft": "lost all roles", "roleless": "without roles", "unheld": "unassigned",
	"brake": "shrink guard", "full walk": "full refresh", "full walks": "full refreshes",
	"swap in": "publish", "swaps in": "publishes", "swapped in": "published",
	"ill": "failing or unhealthy", "mend": "fix or repair", "mends": "fixes or repairs", "mended": "fixed or repaired",
	"kids": "children", "walks": "full refreshes, or visits", "found out": "determined, or learnt", "borne": "accepted",
	"poke": "renew now", "kick": "publish now", "afford": "wait for the budget", "abstain": "no lease until",
	"let through": "admit", "lets through": "admits", "let in": "admitted", "lets in": "admits",
}

var hump = regexp.MustCompile(`(\p{Ll})(\p{Lu})`)

// written is where words are looked at; elsewhere is what others wrote, what tells of
// renames, and this file.
var (
	written   = regexp.MustCompile(`\.(go|md|yaml|yml|html|css|js|json|sh|service)$|^\.ci/run$`)
	elsewhere = regexp.MustCompile(`^CHANGELOG\.md$|/testdata/|/words_test\.go$`)
)

// One term stands for one thing, in code and in pages.
func TestWords(t *testing.T) {
	t.Parallel()
	repository, seen := os.DirFS("../.."), 0
	require.NoError(t, fs.WalkDir(repository, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == ".git" || d.Name() == "node_modules"):
			return fs.SkipDir
		case !d.Type().IsRegular() || !written.MatchString(name) || elsewhere.MatchString(name):
			return nil
		}
		seen++
		text, err := fs.ReadFile(repository, name)
		for _, problem := range wrongWords(string(text)) {
			t.Errorf("%s:%s", name, problem)
		}
		return err
	}))
	assert.Greater(t, seen, 500, "the repository was looked through")
}

func wrongWords(text string) (problems []string) {
	line := 0
	for l := range strings.Lines(text) {
		line++
		before := ""
		l = strings.ToLower(hump.ReplaceAllString(l, "$1 $2")) // the words of a name count too
		for w := range strings.FieldsFuncSeq(l, func(r rune) bool { return !unicode.IsLetter(r) && r != '_' }) {
			for _, found := range []string{w, before + " " + w} {
				if better, wrong := instead[found]; wrong {
					problems = append(problems, fmt.Sprintf("%d: %q: expected %s", line, found, better))
				}
			}
			before = w
		}
	}
	return problems
}

func TestWrongWords(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		"a user whom it knows\n":            {`1: "whom": expected a sentence without it`},
		"He is out.\nThe shrink brake\n":    {`1: "he": expected they`, `2: "brake": expected shrink guard`},
		"// swapped in at once, full walk":  {`1: "swapped in": expected published`, `1: "full walk": expected full refresh`},
		"func TestUnheldRoles(lostHis int)": {`1: "unheld": expected unassigned`, `1: "his": expected their`},
		"the history of this, somewhom":     nil,
		"a walk; atomic.Swap(&i)":           nil,
	} {
		assert.Equal(t, want, wrongWords(text), text)
	}
}
