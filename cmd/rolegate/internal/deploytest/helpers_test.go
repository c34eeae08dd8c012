package deploytest

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v4"

	"github.com/rolegate/rolegate/cmd/rolegate/internal/settings"
)

// root is the root of the repository.
var root = filepath.Join("..", "..", "..", "..")

func read(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(append([]string{root}, path...)...))
	require.NoError(t, err)
	return string(text)
}

// load reads the documents of a YAML file.
func load[T any](t *testing.T, text string) (documents []T) {
	t.Helper()
	require.NoError(t, yaml.Load([]byte(text), &documents, yaml.WithAllDocuments(), yaml.WithUniqueKeys()))
	return documents
}

func parse(t *testing.T, text string) *settings.File {
	t.Helper()
	f, err := settings.Parse([]byte(text))
	require.NoError(t, err)
	return f
}

// ports are those that a settings file listens on, by section.
func ports(t *testing.T, f *settings.File) map[string]string {
	t.Helper()
	all := map[string]string{}
	for section, address := range map[string]string{"forward_auth": f.ForwardAuth.Listen, "admin": f.Admin.Listen} {
		_, port, err := net.SplitHostPort(address)
		require.NoError(t, err)
		all[section] = port
	}
	return all
}

// secrets are the files with secrets that a settings file names.
func secrets(t *testing.T, f *settings.File) (paths []string) {
	t.Helper()
	all := append(f.GateSecrets(), f.Marketplace.Token)
	if f.AuthZEN != nil {
		for _, c := range f.AuthZEN.Callers {
			all = append(all, c.Token)
		}
	}
	for _, s := range all {
		require.NotEmpty(t, s.File, "what is in the environment, others of the machine can read: %v", s)
		paths = append(paths, s.File)
	}
	return paths
}

// A kubernetes is what the tests look at in an object of deploy/kubernetes.yaml.
type kubernetes struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string `yaml:"kind"`
	Metadata   struct {
		Name      string            `yaml:"name"`
		Namespace string            `yaml:"namespace"`
		Labels    map[string]string `yaml:"labels"`
	} `yaml:"metadata"`
	Automount  *bool             `yaml:"automountServiceAccountToken"`
	Data       map[string]string `yaml:"data"`
	StringData map[string]string `yaml:"stringData"`
	Spec       struct {
		Replicas int `yaml:"replicas"`
		Strategy struct {
			Type    string `yaml:"type"`
			Rolling struct {
				MaxUnavailable *int `yaml:"maxUnavailable"`
				MaxSurge       int  `yaml:"maxSurge"`
			} `yaml:"rollingUpdate"`
		} `yaml:"strategy"`
		Selector     yaml.Node `yaml:"selector"`
		Template     podSpec   `yaml:"template"`
		Ports        []port    `yaml:"ports"`
		MinAvailable int       `yaml:"minAvailable"`
		PodSelector  labels    `yaml:"podSelector"`
		PolicyTypes  []string  `yaml:"policyTypes"`
		Ingress      []struct {
			From  []map[string]labels `yaml:"from"`
			Ports []port              `yaml:"ports"`
		} `yaml:"ingress"`
	} `yaml:"spec"`
}

type labels struct {
	MatchLabels map[string]string `yaml:"matchLabels"`
}

type port struct {
	Name       string `yaml:"name"`
	Port       string `yaml:"port"`
	TargetPort string `yaml:"targetPort"`
	Container  string `yaml:"containerPort"`
}

type podSpec struct {
	Metadata struct {
		Labels map[string]string `yaml:"labels"`
	} `yaml:"metadata"`
	Spec struct {
		ServiceAccount string         `yaml:"serviceAccountName"`
		Automount      *bool          `yaml:"automountServiceAccountToken"`
		Grace          int            `yaml:"terminationGracePeriodSeconds"`
		Security       map[string]any `yaml:"securityContext"`
		Containers     []container    `yaml:"containers"`
		Volumes        []struct {
			Name      string `yaml:"name"`
			ConfigMap *struct {
				Name string `yaml:"name"`
			} `yaml:"configMap"`
			Secret *struct {
				Name string `yaml:"secretName"`
				Mode int    `yaml:"defaultMode"`
			} `yaml:"secret"`
			EmptyDir *struct {
				Medium string `yaml:"medium"`
			} `yaml:"emptyDir"`
		} `yaml:"volumes"`
	} `yaml:"spec"`
}

type container struct {
	Name      string         `yaml:"name"`
	Image     string         `yaml:"image"`
	Command   []string       `yaml:"command"`
	Args      []string       `yaml:"args"`
	Ports     []port         `yaml:"ports"`
	Startup   probe          `yaml:"startupProbe"`
	Readiness probe          `yaml:"readinessProbe"`
	Liveness  probe          `yaml:"livenessProbe"`
	Security  map[string]any `yaml:"securityContext"`
	Env       []struct {
		Name  string `yaml:"name"`
		Value string `yaml:"value"`
	} `yaml:"env"`
	Resources struct {
		Limits map[string]string `yaml:"limits"`
	} `yaml:"resources"`
	Mounts []struct {
		Name string `yaml:"name"`
		Path string `yaml:"mountPath"`
	} `yaml:"volumeMounts"`
}

type probe struct {
	Period   int `yaml:"periodSeconds"`
	Failures int `yaml:"failureThreshold"`
	Get      struct {
		Path string `yaml:"path"`
		Port string `yaml:"port"`
	} `yaml:"httpGet"`
}

// object returns the one object of that kind and name.
func object(t *testing.T, kind, name string) kubernetes {
	t.Helper()
	var found []kubernetes
	for _, o := range load[kubernetes](t, read(t, "deploy", "kubernetes.yaml")) {
		if o.Kind == kind && o.Metadata.Name == name {
			found = append(found, o)
		}
	}
	require.Len(t, found, 1, "%s %s", kind, name)
	return found[0]
}

// A composeFile is what the tests look at in deploy/compose.yaml.
type composeFile struct {
	Services map[string]service `yaml:"services"`
	Networks map[string]struct {
		Internal bool `yaml:"internal"`
		IPAM     struct {
			Config []struct {
				Subnet string `yaml:"subnet"`
				Range  string `yaml:"ip_range"`
			} `yaml:"config"`
		} `yaml:"ipam"`
	} `yaml:"networks"`
	Volumes map[string]any `yaml:"volumes"`
	Secrets map[string]struct {
		File string `yaml:"file"`
	} `yaml:"secrets"`
}

type service struct {
	Build *struct {
		Context    string `yaml:"context"`
		Dockerfile string `yaml:"dockerfile"`
	} `yaml:"build"`
	Command  []string                     `yaml:"command"`
	Depends  map[string]map[string]string `yaml:"depends_on"`
	Ports    []string                     `yaml:"ports"`
	Networks yaml.Node                    `yaml:"networks"`
	Volumes  []string                     `yaml:"volumes"`
	Secrets  []string                     `yaml:"secrets"`
	Tmpfs    []string                     `yaml:"tmpfs"`
	Health   struct {
		Test []string `yaml:"test"`
	} `yaml:"healthcheck"`
	ReadOnly bool     `yaml:"read_only"`
	CapDrop  []string `yaml:"cap_drop"`
	Security []string `yaml:"security_opt"`
}

// address is the fixed one that a service has in a network.
func (s *service) address(t *testing.T, network string) string {
	t.Helper()
	var all map[string]struct {
		Address string `yaml:"ipv4_address"`
	}
	require.NoError(t, s.Networks.Decode(&all))
	return all[network].Address
}

func compose(t *testing.T) composeFile {
	t.Helper()
	all := load[composeFile](t, read(t, "deploy", "compose.yaml"))
	require.Len(t, all, 1)
	return all[0]
}

// unit reads deploy/rolegate.service: what each setting has, in order.
func unit(t *testing.T) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	for line := range strings.Lines(read(t, "deploy", "rolegate.service")) {
		name, value, found := strings.Cut(strings.TrimSpace(line), "=")
		if found && !strings.HasPrefix(name, "#") {
			all[name] = append(all[name], value)
		}
	}
	return all
}

// instructions reads deploy/Dockerfile: what each instruction says, in order,
// without line ends and comments.
func instructions(t *testing.T) (all [][2]string) {
	t.Helper()
	whole := ""
	for line := range strings.Lines(read(t, "deploy", "Dockerfile")) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		rest, more := strings.CutSuffix(line, "\\")
		whole += rest
		if !more {
			name, value, _ := strings.Cut(strings.Join(strings.Fields(whole), " "), " ")
			all = append(all, [2]string{name, value})
			whole = ""
		}
	}
	return all
}

// instruction returns what the one instruction of that name says.
func instruction(t *testing.T, name string) string {
	t.Helper()
	var found []string
	for _, i := range instructions(t) {
		if i[0] == name {
			found = append(found, i[1])
		}
	}
	require.Len(t, found, 1, name)
	return found[0]
}
