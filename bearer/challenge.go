package bearer

import "strings"

// withError adds an error to the Bearer challenge in the values of a
// WWW-Authenticate header. Values without one stay as they are.
func withError(values []string, code string) []string {
	out, done := make([]string, 0, len(values)), false
	for _, value := range values {
		challenges := split(value)
		for i, c := range challenges {
			scheme, params, _ := strings.Cut(c, " ")
			if done || !strings.EqualFold(scheme, "Bearer") {
				continue
			}
			done = true
			if params = strings.TrimLeft(params, " "); params != "" {
				params += ", "
			}
			challenges[i] = scheme + " " + params + `error="` + code + `"`
		}
		out = append(out, strings.Join(challenges, ", "))
	}
	return out
}

// split cuts a WWW-Authenticate header into its challenges (RFC 9110 §11.6.1):
// commas separate them, and their parameters too. What is no header comes back as
// well as it can be read.
func split(value string) (challenges []string) {
	for _, element := range elements(value) {
		if n := len(challenges); n > 0 && isParam(element) {
			challenges[n-1] += ", " + element
			continue
		}
		challenges = append(challenges, element)
	}
	return challenges
}

// elements cuts a list at its commas, but for those in quotes.
func elements(value string) (list []string) {
	start, quoted := 0, false
	add := func(end int) {
		if element := strings.Trim(value[start:end], " \t"); element != "" {
			list = append(list, element)
		}
		start = end + 1
	}
	for i := 0; i < len(value); i++ {
		switch {
		case quoted && value[i] == '\\':
			i++
		case value[i] == '"':
			quoted = !quoted
		case value[i] == ',' && !quoted:
			add(i)
		}
	}
	add(len(value))
	return list
}

// isParam reports whether an element is a parameter of the challenge before it: a
// name and an equals sign. A challenge has a scheme first, and a blank behind that.
func isParam(element string) bool {
	name := strings.IndexAny(element, "= \t")
	return name >= 0 && strings.HasPrefix(strings.TrimLeft(element[name:], " \t"), "=")
}
