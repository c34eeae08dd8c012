package settings

import (
	"fmt"
	"io"
	"net/netip"
	"os"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/forwardauth"
)

// maxFile is how large a settings file may be. Nothing but a mistake is larger.
const maxFile = 4 << 20

// Load reads a settings file: YAML, in UTF-8. An unknown or repeated key is a
// mistake. Its error names every mistake that can be seen in the file alone,
// and shows no value that could be a secret.
func Load(path string) (*File, error) {
	data, err := readFile(path, maxFile)
	if err != nil {
		return nil, err
	}
	f, err := Parse(data)
	if err != nil {
		return nil, In(path, err)
	}
	return f, nil
}

// In says in which file the mistakes are, each on a line of its own.
func In(path string, err error) error { return &fileError{path, err} }

type fileError struct {
	path string
	err  error
}

func (e *fileError) Error() string {
	text := e.err.Error()
	if strings.Contains(text, "\n") {
		return e.path + ":\n  " + strings.ReplaceAll(text, "\n", "\n  ")
	}
	return e.path + ": " + text
}

func (e *fileError) Unwrap() error { return e.err }

// Parse reads what is in a settings file.
func Parse(data []byte) (*File, error) {
	var document yaml.Node
	if err := yaml.Load(data, &document); err != nil {
		return nil, typedWrong(data, notYAML(err))
	}
	p := newPlaces(&document)
	var f File
	p.refused(yaml.Load(data, &f, yaml.WithKnownFields(), yaml.WithUniqueKeys()))
	if err := p.join(f.check()); err != nil {
		return nil, err
	}
	return &f, nil
}

// ControlOf reads where the control socket is, and nothing else, so that a server
// can be asked while its file is being changed. Where the file is no YAML, the line
// that begins with the key counts. It is "" if there is none.
func ControlOf(path string) (string, error) {
	data, err := readFile(path, maxFile)
	if err != nil {
		return "", err
	}
	var f struct {
		Control yaml.Node `yaml:"control"`
	}
	if err := yaml.Load(data, &f); err != nil {
		line := controlLine.Find(data)
		if line == nil || yaml.Load(line, &f) != nil {
			return "", In(path, fmt.Errorf("%w; nor can it be read where the control socket is: name it with --socket", notYAML(err)))
		}
	}
	control := resolved(&f.Control)
	switch {
	case control.IsZero(), control.Kind == yaml.ScalarNode && control.Tag == "!!null":
		return "", nil
	case control.Kind != yaml.ScalarNode:
		return "", In(path, at(control, "control: expected a text: name the socket with --socket"))
	}
	return control.Value, nil
}

var controlLine = regexp.MustCompile(`(?m)^control:.*$`)

func words(list []string) string {
	if n := len(list); n > 1 {
		return strings.Join(list[:n-1], ", ") + " or " + list[n-1]
	}
	return strings.Join(list, "")
}

// readFile reads a file of at most max bytes.
func readFile(path string, max int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, max+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > max {
		return nil, fmt.Errorf("%s: expected at most %d bytes", path, max)
	}
	return data, nil
}

// Networks are where requests are believed from.
type Networks []netip.Prefix

// UnmarshalYAML implements yaml.Unmarshaler.
func (p *Networks) UnmarshalYAML(n *yaml.Node) error {
	list := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		list = n.Content
	}
	*p = Networks{}
	for _, n := range list {
		n = resolved(n)
		if n.Kind != yaml.ScalarNode {
			return at(n, "expected loopback, unix, an address or a network such as 10.1.2.0/24")
		}
		switch n.Value {
		case "loopback":
			*p = append(*p, rolegate.Loopback()...)
			continue
		case "unix":
			*p = append(*p, rolegate.TrustedUnix()...)
			continue
		}
		prefix, err := netip.ParsePrefix(n.Value)
		if addr, aerr := netip.ParseAddr(n.Value); aerr == nil && addr.Zone() == "" {
			prefix, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		switch {
		case err != nil:
			return at(n, "expected loopback, unix, an address or a network such as 10.1.2.0/24")
		case prefix.Bits() == 0 || prefix.Addr().Is4In6():
			return at(n, "expected the network that your proxy is in: this is the whole Internet, or no plain IPv4 network")
		}
		*p = append(*p, prefix)
	}
	return nil
}

// A Proxy is a forwardauth.Proxy.
type Proxy forwardauth.Proxy

// UnmarshalYAML implements yaml.Unmarshaler.
func (p *Proxy) UnmarshalYAML(n *yaml.Node) error {
	var names []string
	for known := forwardauth.Nginx; known <= forwardauth.HAProxy; known++ {
		name := strings.ToLower(known.String())
		if n.Kind == yaml.ScalarNode && n.Value == name {
			*p = Proxy(known)
			return nil
		}
		names = append(names, name)
	}
	return at(n, "expected one of %s", words(names))
}

// resolved is what an alias stands for. The parser resolves those of values, not
// those within what reads its nodes itself.
func resolved(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}
