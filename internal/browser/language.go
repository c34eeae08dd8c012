package browser

import "golang.org/x/text/language"

// maxLanguages is how long an Accept-Language header is read: browsers send some
// ten bytes for each language.
const maxLanguages = 1024

var languages = language.NewMatcher([]language.Tag{language.English, language.SimplifiedChinese})

// Language chooses between English and Chinese what an Accept-Language header likes
// better (RFC 9110 §12.5.4): "en" or "zh", and "" if it likes neither, cannot be read
// or is none.
func Language(header string) string {
	if header == "" || len(header) > maxLanguages {
		return ""
	}
	tags, _, err := language.ParseAcceptLanguage(header)
	if err != nil {
		return ""
	}
	_, i, confidence := languages.Match(tags...)
	if confidence == language.No {
		return ""
	}
	return [...]string{"en", "zh"}[i]
}
