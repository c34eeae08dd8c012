package doctor

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/rolegate/rolegate/cmd/rolegate/internal/lang"
)

// A Language is one that findings are told in.
type Language struct {
	of    lang.Language
	texts map[string]text
	words words
}

// A text is what a finding says: what was found and, if it is not fine, what it
// means and what to do. Each verb names its argument: two languages have them
// in two orders.
type text struct{ found, todo string }

// words are the rest of what is printed.
type words struct {
	comma                string // between the things of a list
	gap                  string // between sentences
	fine, warnings, fix  string
	fixAndWarn, cutShort string
	checks               map[string]string
}

// The languages.
var (
	English = Language{lang.English, english, words{
		comma: ", ", gap: " ",
		fine: "Everything is fine.", warnings: "It works; warnings: %d.",
		fix: "Things to fix: %d.", fixAndWarn: "Things to fix: %d; warnings: %d.",
		cutShort: "It was ended before all was tried.",
		checks: map[string]string{
			"settings": "Settings", "address": "Address", "token": "Token and app id", "page": "One page", "ids": "Ids and records",
			"cursor": "Cursor", "roles": "Roles", "freshness": "Freshness", "cache": "Cache", "cloud": "Cloud command",
			"identity": "Identity", "listeners": "Listeners", "control": "Control socket",
		},
	}}
	Chinese = Language{lang.Chinese, chinese, words{
		comma: "、",
		fine:  "一切正常。", warnings: "可以工作；有 %d 条警告。",
		fix: "有 %d 处需要处理。", fixAndWarn: "有 %d 处需要处理，另有 %d 条警告。",
		cutShort: "检查没有做完就被中断了。",
		checks: map[string]string{
			"settings": "配置", "address": "地址", "token": "令牌与应用 ID", "page": "一页用户", "ids": "ID 与记录",
			"cursor": "序号游标", "roles": "角色", "freshness": "新鲜度", "cache": "缓存", "cloud": "云上指挥",
			"identity": "身份", "listeners": "监听地址", "control": "控制套接字",
		},
	}}
)

// In returns the language of findings.
func In(l lang.Language) Language {
	if l == lang.Chinese {
		return Chinese
	}
	return English
}

// Text returns what a finding says in a language.
func (l Language) Text(f Finding) (found, todo string) {
	t := l.texts[f.Name]
	args := make([]any, len(f.Args))
	for i, arg := range f.Args {
		switch of := arg.(type) {
		case list:
			arg = strings.Join(of, l.words.comma)
		case string:
			if strings.HasSuffix(f.Name, "_wrong") { // a mistake, in the words of whoever found it
				arg = l.of.Text(of)
			}
		}
		args[i] = arg
	}
	return fill(t.found, args), fill(t.todo, args)
}

// fill is fmt.Sprintf for a text that may have no verb.
func fill(format string, args []any) string {
	if !strings.Contains(format, "%") {
		return format
	}
	return fmt.Sprintf(format, args...)
}

// list, duration and size are arguments that are printed in their own way.
type (
	list     []string
	duration time.Duration
	size     int
)

func (d duration) String() string {
	switch t := time.Duration(d); {
	case t < time.Millisecond:
		return "<1 ms"
	case t < time.Second:
		return fmt.Sprintf("%d ms", t.Milliseconds())
	case t < time.Minute:
		return fmt.Sprintf("%.1f s", t.Seconds())
	default:
		return t.Round(time.Second).String()
	}
}

func (s size) String() string {
	switch {
	case s < 1<<10:
		return fmt.Sprintf("%d B", int(s))
	case s < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(s)/(1<<10))
	default:
		return fmt.Sprintf("%.1f MiB", float64(s)/(1<<20))
	}
}

// A Report prints findings as they come, and counts them. The zero value is not
// usable.
type Report struct {
	out      io.Writer
	language Language
	marks    [4]string
	check    string // whose heading was printed last
	findings []Finding
	err      error // of out
}

// NewReport returns a report that prints to out, or prints nothing yet if that
// is nil. The marks are plain where the environment does not say UTF-8.
func NewReport(out io.Writer, l Language, getenv func(string) string) *Report {
	r := &Report{out: out, language: l, marks: [4]string{"ok  ", "note", "warn", "FAIL"}}
	if charset := strings.ToLower(lang.Locale("LC_CTYPE", getenv)); strings.Contains(charset, "utf-8") || strings.Contains(charset, "utf8") {
		r.marks = [4]string{"✓", "·", "!", "✗"}
	}
	return r
}

// Add takes in a finding.
func (r *Report) Add(f Finding) {
	r.findings = append(r.findings, f)
	if r.out == nil {
		return
	}
	if check := f.Check(); check != r.check {
		r.check = check
		r.print("%s\n", r.language.words.checks[check])
	}
	found, todo := r.language.Text(f)
	mark := r.marks[f.State]
	r.print("  %s %s\n", mark, found)
	if todo != "" {
		r.print("  %*s %s\n", len([]rune(mark)), "", todo)
	}
}

func (r *Report) print(format string, args ...any) {
	if _, err := fmt.Fprintf(r.out, format, args...); err != nil && r.err == nil {
		r.err = err
	}
}

// Count returns how many findings have that state.
func (r *Report) Count(s State) (n int) {
	for _, f := range r.findings {
		if f.State == s {
			n++
		}
	}
	return n
}

// SettingsWrong reports whether the settings themselves are wrong.
func (r *Report) SettingsWrong() bool {
	return slices.ContainsFunc(r.findings, func(f Finding) bool { return f.State == Wrong && f.Check() == "settings" })
}

// End prints the last line, which says what it all comes to; whole is whether
// everything was tried. It returns the error with which printing failed.
func (r *Report) End(whole bool) error {
	if r.out != nil {
		r.print("\n%s\n", r.summary(whole))
	}
	return r.err
}

func (r *Report) summary(whole bool) string {
	w := r.language.words
	line := ""
	switch wrong, warnings := r.Count(Wrong), r.Count(Warning); {
	case wrong > 0 && warnings > 0:
		line = fmt.Sprintf(w.fixAndWarn, wrong, warnings)
	case wrong > 0:
		line = fmt.Sprintf(w.fix, wrong)
	case !whole:
		return w.cutShort
	case warnings > 0:
		return fmt.Sprintf(w.warnings, warnings)
	default:
		return w.fine
	}
	if !whole {
		line += w.gap + w.cutShort
	}
	return line
}

// JSON writes the whole report as one object.
func (r *Report) JSON(w io.Writer, whole bool) error {
	type finding struct {
		Check string `json:"check"`
		Name  string `json:"name"`
		State State  `json:"state"`
		Found string `json:"found"`
		Todo  string `json:"todo,omitempty"`
	}
	report := struct {
		Fine     bool      `json:"fine"` // nothing is wrong, warnings aside
		Whole    bool      `json:"whole"`
		Wrong    int       `json:"wrong"`
		Warnings int       `json:"warnings"`
		Summary  string    `json:"summary"`
		Findings []finding `json:"findings"`
	}{whole && r.Count(Wrong) == 0, whole, r.Count(Wrong), r.Count(Warning), r.summary(whole), []finding{}}
	for _, f := range r.findings {
		found, todo := r.language.Text(f)
		report.Findings = append(report.Findings, finding{f.Check(), f.Name, f.State, found, todo})
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(report)
}
