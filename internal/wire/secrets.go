package wire

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

const (
	maxErrorRunes   = 500 // of an error of somebody else's
	maxMessageRunes = 200 // of a message from an upstream

	// MaxTokenBytes bounds what has to be looked for in texts. Servers refuse
	// request lines and headers that are longer than this.
	MaxTokenBytes = 8 << 10

	// minTokenRunes is below what could be a secret: taking a one-letter token
	// out of a text would leave nothing of it.
	minTokenRunes = 4

	// keptTokens is how many tokens are looked for, the last ones.
	keptTokens = 16

	// blot stands for what was taken out.
	blot = "[***]"
)

// What is taken out of every text, whether or not we know it to be a secret.
var patterns = []struct {
	find    *regexp.Regexp
	replace string
}{
	// The query of a URL, whoever wrote it down.
	{regexp.MustCompile(`(?i)(https?://[^\s"'<>?#]*)\?[^\s"'<>]*`), "${1}?" + blot},
	{regexp.MustCompile(`(?i)((?:(?:access|refresh)_?token|client_?secret|password)["']?\s*[=:]\s*["']?)[^\s&"',;}\[]+`), "${1}" + blot},
	// The shape that Apereo CAS gives to its access tokens.
	{regexp.MustCompile(`(?i)AT-[0-9]+-[A-Za-z0-9._~+/=%-]+`), blot},
	{regexp.MustCompile(`(?i)\b(basic|bearer)(\s+|%20|\+)[A-Za-z0-9+/=._~%-]{6,}`), "${1} " + blot},
}

// What is taken out of messages from an upstream besides: they are logged,
// and e-mail addresses, telephone numbers and numbers of identity cards do not
// belong there.
var personal = regexp.MustCompile(`[^\s@<>"':,;]+@[^\s@<>"':,;]+|[0-9]{11,}[Xx]?`)

// Secrets knows the secrets of a client, and takes them out of texts and
// errors. The zero value knows none. It is safe for concurrent use.
type Secrets struct {
	mu    sync.RWMutex
	kept  []secret // for good
	known []secret // the last ones, the newest last
}

// A secret is a token, and for each of its characters how that may be written.
type secret struct {
	text  string
	forms [][]string
}

// Keep makes text known for good: a password, which does not change.
func (s *Secrets) Keep(text string) {
	if !worthHiding(text) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept = append(s.kept, secret{text, formsOf(text)})
}

// Add makes token known. It is forgotten when enough others have come since.
func (s *Secrets) Add(token string) {
	if !worthHiding(token) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.IndexFunc(s.known, func(k secret) bool { return k.text == token }); i >= 0 {
		s.known = slices.Delete(s.known, i, i+1)
	} else if len(s.known) == keptTokens {
		s.known = slices.Delete(s.known, 0, 1)
	}
	s.known = append(s.known, secret{token, formsOf(token)})
}

func worthHiding(text string) bool {
	return utf8.RuneCountInString(text) >= minTokenRunes && len(text) <= MaxTokenBytes
}

// formsOf returns what each character of token looks like: as it is, and in the
// escapes of URLs, JSON and Go strings. Servers and proxies echo a token in all
// of these and in mixes of them, with "/" escaped or not.
func formsOf(token string) [][]string {
	var all [][]string
	for _, r := range strings.ToValidUTF8(token, "\uFFFD") {
		percent, unicode16 := "", fmt.Sprintf(`\u%04x`, r)
		for _, b := range []byte(string(r)) {
			percent += fmt.Sprintf("%%%02x", b)
		}
		if hi, lo := utf16.EncodeRune(r); hi != unicode.ReplacementChar {
			unicode16 = fmt.Sprintf(`\u%04x\u%04x`, hi, lo)
		}
		forms := []string{string(r), percent, unicode16}
		switch {
		case r == ' ':
			forms = append(forms, "+")
		case strings.ContainsRune(`"/\`, r):
			forms = append(forms, `\`+string(r))
		case !unicode.IsPrint(r):
			quoted := strconv.QuoteRune(r)
			forms = append(forms, quoted[1:len(quoted)-1])
		}
		all = append(all, forms)
	}
	return all
}

// length returns how many bytes of s the secret takes at its beginning, 0 if s
// does not begin with it. Since one form may begin like another, it keeps all
// the places at which the next character could be. A regular expression would
// do the same, but takes seconds for a token of some thousand characters.
func (k secret) length(s string) int {
	at, next := []int{0}, []int(nil)
	for _, forms := range k.forms {
		next = next[:0]
		for _, i := range at {
			for _, f := range forms {
				// In either case: of the hexadecimal digits, and of the token,
				// should somebody think that it does not matter.
				end := i + len(f)
				if end <= len(s) && strings.EqualFold(s[i:end], f) && !slices.Contains(next, end) {
					next = append(next, end)
				}
			}
		}
		if len(next) == 0 {
			return 0
		}
		at, next = next, at
	}
	return slices.Max(at)
}

// begins reports whether the secret might begin with b.
func (k secret) begins(b byte) bool {
	for _, f := range k.forms[0] {
		if strings.EqualFold(f[:1], string([]byte{b})) {
			return true
		}
	}
	return false
}

// without returns text without the secret.
func (k secret) without(text string) string {
	var b strings.Builder
	from := 0
	for i := 0; i < len(text); {
		n := 0
		if k.begins(text[i]) {
			n = k.length(text[i:])
		}
		if n == 0 {
			i++
			continue
		}
		b.WriteString(text[from:i] + blot)
		i += n
		from = i
	}
	return b.String() + text[from:]
}

// without returns text without the known secrets.
func (s *Secrets) without(text string) string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, k := range slices.Backward(s.known) {
		text = k.without(text)
	}
	for _, k := range s.kept {
		text = k.without(text)
	}
	return text
}

// has reports whether scrubbing would take anything out of text.
func (s *Secrets) has(text string) bool { return s.scrub(text) != text }

// scrub returns text without secrets and as valid UTF-8. It looks through the
// first 64 KiB. The cut there may go through a token and leave a half that is no
// longer known for what it is, so that the end is then left out, as far as a
// token reaches in its longest escaping.
func (s *Secrets) scrub(text string) string {
	const most, longest = 64 << 10, 6 * MaxTokenBytes
	cut := len(text) > most
	if cut {
		text = text[:most]
	}
	text = s.without(strings.ToValidUTF8(text, "\uFFFD"))
	for _, p := range patterns {
		text = p.find.ReplaceAllString(text, p.replace)
	}
	if cut {
		text = strings.ToValidUTF8(text[:max(0, len(text)-longest)], "")
	}
	return text
}

// Message returns a message of an upstream as it may be logged: at most 200
// characters, and an ellipsis if there were more.
func (s *Secrets) Message(text string) string {
	return s.clean(personal.ReplaceAllLiteralString(s.scrub(text), blot), maxMessageRunes)
}

// Clean returns a text of somebody else's without secrets, with control and
// other invisible characters escaped, and cut short.
func (s *Secrets) Clean(text string) string { return s.clean(text, maxErrorRunes) }

// clean returns text without secrets, with control and other invisible
// characters escaped, cut to most runes.
func (s *Secrets) clean(text string, most int) string {
	text = s.scrub(text)
	var b strings.Builder
	for _, r := range text {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		q := strconv.QuoteRune(r)
		b.WriteString(q[1 : len(q)-1])
	}
	// Once more: what was written for a control character could, with what
	// stands beside it, read like a token.
	text = s.without(b.String())
	n := 0
	for i := range text {
		if n == most {
			return text[:i] + "…"
		}
		n++
	}
	return text
}
