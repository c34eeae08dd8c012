package settings

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v4"
)

// A Secret says where a secret is: in an environment variable or in a file. The
// secret itself is in no settings file and on no command line, which others can
// read.
type Secret struct {
	Env  string
	File string
}

// UnmarshalYAML implements yaml.Unmarshaler.
func (s *Secret) UnmarshalYAML(n *yaml.Node) error {
	const expected = "expected {env: NAME} or {file: PATH}: no secret is written into this file"
	if n.Kind != yaml.MappingNode || len(n.Content) != 2 {
		return at(n, expected)
	}
	key, value := n.Content[0], resolved(n.Content[1])
	switch {
	case value.Kind != yaml.ScalarNode || value.Value == "" || strings.ContainsRune(value.Value, 0):
		return at(n, expected)
	case key.Value == "env" && variable.MatchString(value.Value):
		*s = Secret{Env: value.Value}
	case key.Value == "env":
		return at(n, "expected the name of an environment variable, such as ROLEGATE_ACCESS_TOKEN, not the secret itself")
	case key.Value == "file":
		*s = Secret{File: value.Value}
	default:
		return at(n, expected)
	}
	return nil
}

// variable is how environment variables are named. Most secrets are not, so that
// one in place of a name is noticed before it is in a message.
var variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,63}$`)

// String says where the secret is.
func (s Secret) String() string {
	switch {
	case s.Env != "":
		return "the environment variable " + s.Env
	case s.File != "":
		return "the file " + s.File
	}
	return "nowhere"
}

// IsZero reports whether s says nothing.
func (s Secret) IsZero() bool { return s == Secret{} }

// Read reads the secret, anew each time: a file may have been replaced. A line
// end behind it does not count. An empty one is an error.
func (s Secret) Read() (string, error) {
	var text string
	switch {
	case s.Env != "":
		text = os.Getenv(s.Env)
	case s.File != "":
		data, err := readFile(s.File, 64<<10)
		if err != nil {
			return "", err
		}
		text = strings.TrimRight(string(data), "\r\n")
	default:
		return "", errors.New("it is not said where the secret is: expected {env: NAME} or {file: PATH}")
	}
	if text == "" {
		return "", fmt.Errorf("%v is empty or not set", s)
	}
	if strings.ContainsAny(text, "\r\n\x00") {
		return "", fmt.Errorf("%v has more than one line", s)
	}
	return text, nil
}
