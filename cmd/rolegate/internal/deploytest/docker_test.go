package deploytest

import (
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestDockerfile(t *testing.T) {
	t.Parallel()
	all := instructions(t)
	var from []string
	for _, i := range all {
		if i[0] == "FROM" {
			from = append(from, i[1])
		}
	}
	assert.Equal(t, []string{"--platform=$BUILDPLATFORM ${GO_IMAGE} AS build", "scratch"}, from)
	assert.Contains(t, all, [2]string{"ARG", "GOPROXY"}, "without a value: whoever builds knows their own")
	assert.NotContains(t, read(t, "deploy", "Dockerfile"), "syntax=", "a frontend from elsewhere")

	user, group, numeric := imageUser(t)
	require.True(t, numeric, "Kubernetes cannot tell otherwise that it is not root's")
	assert.Positive(t, user)
	assert.Contains(t, all, [2]string{"COPY", "--from=build --chown=" + strconv.Itoa(user) + ":" + strconv.Itoa(group) + " /out/run/ /run/"})
	assert.Contains(t, all, [2]string{"COPY", "--from=build --chown=" + strconv.Itoa(user) + ":" + strconv.Itoa(group) + " /out/lib/ /var/lib/"})

	f := parse(t, read(t, "deploy", "compose", "rolegate.yaml"))
	assert.Equal(t, "PATH=/usr/bin ROLEGATE_CONTROL="+f.Control, instruction(t, "ENV"))
	assert.Equal(t, []string{"/usr/bin/rolegate", "status", "--socket", f.Control}, healthcheck(t))
	assert.Equal(t, "SIGTERM", instruction(t, "STOPSIGNAL"))
	assert.Equal(t, `["/usr/bin/rolegate"]`, instruction(t, "ENTRYPOINT"))

	steps := regexp.MustCompile(`install -d -m 700 (.*)`).FindStringSubmatch(text(all))
	require.NotNil(t, steps)
	assert.Equal(t, []string{"/out/run/rolegate", "/out/lib/rolegate"}, strings.Fields(strings.Split(steps[1], "\n")[0]), "folders that filecache and the control socket want")
	assert.Equal(t, "/run/rolegate", path.Dir(f.Control))
	assert.Equal(t, "/var/lib/rolegate", path.Dir(f.Cache.File))
}

func text(all [][2]string) string {
	var b strings.Builder
	for _, i := range all {
		b.WriteString(i[0] + " " + i[1] + "\n")
	}
	return b.String()
}

// imageUser is whose processes those of the image are.
func imageUser(t *testing.T) (user, group int, numeric bool) {
	t.Helper()
	u, g, _ := strings.Cut(instruction(t, "USER"), ":")
	user, uerr := strconv.Atoi(u)
	group, gerr := strconv.Atoi(g)
	return user, group, uerr == nil && gerr == nil
}

// healthcheck is the command that tells whether a container is well.
func healthcheck(t *testing.T) (args []string) {
	t.Helper()
	_, list, found := strings.Cut(instruction(t, "HEALTHCHECK"), "CMD ")
	require.True(t, found)
	require.NoError(t, json.Unmarshal([]byte(list), &args))
	return args
}

// build builds the program as deploy/Dockerfile does, with its command, of the
// files that deploy/Dockerfile.dockerignore leaves.
func build(t *testing.T) (program string) {
	t.Helper()
	source := t.TempDir()
	copyContext(t, source)

	var command []string
	for _, i := range instructions(t) {
		if i[0] == "RUN" && strings.Contains(i[1], "go build") {
			_, line, found := strings.Cut(i[1], " cd cmd/rolegate && ")
			require.True(t, found)
			command = strings.Fields(strings.ReplaceAll(line, `"`, "'"))
		}
	}
	program = filepath.Join(t.TempDir(), "rolegate")
	first := slices.Index(command, "go")
	require.Positive(t, first)
	variables, args := command[:first], command[first+1:]
	assert.Equal(t, []string{"CGO_ENABLED=0", "GOOS=$TARGETOS", "GOARCH=$TARGETARCH", "GOWORK=off", "GOTOOLCHAIN=local"}, variables)
	for i, v := range variables {
		variables[i] = strings.NewReplacer("$TARGETOS", runtime.GOOS, "$TARGETARCH", runtime.GOARCH).Replace(v)
	}
	// As the shell does with the one argument that is quoted.
	line := strings.Replace(strings.Join(args, "\x00"), "-ldflags='-s\x00-w\x00-X\x00main.built=$VERSION'", "-ldflags=-s -w -X main.built=v0.0.0-test", 1)
	args = strings.Split(line, "\x00")
	out := slices.Index(args, "-o") + 1
	require.Positive(t, out)
	assert.Equal(t, "/out/root/usr/bin/rolegate", args[out])
	args[out] = program

	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = filepath.Join(source, "cmd", "rolegate")
	cmd.Env = append(os.Environ(), variables...)
	output, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", output)
	return program
}

// copyContext copies what docker build sends.
func copyContext(t *testing.T, to string) {
	t.Helper()
	var patterns []string
	for line := range strings.Lines(read(t, "deploy", "Dockerfile.dockerignore")) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			patterns = append(patterns, line)
		}
	}
	ignored := func(name string) bool {
		for _, p := range patterns {
			against := name
			if below, anywhere := strings.CutPrefix(p, "**/"); anywhere {
				p, against = below, path.Base(name)
			}
			if match, err := path.Match(p, against); err != nil || match {
				require.NoError(t, err)
				return true
			}
		}
		return false
	}
	repository := os.DirFS(root)
	require.NoError(t, fs.WalkDir(repository, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil || name == ".":
			return err
		case ignored(name):
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		case entry.IsDir():
			return os.Mkdir(filepath.Join(to, name), 0o755)
		}
		data, err := fs.ReadFile(repository, name)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, name), data, 0o644)
	}))
	assert.NoDirExists(t, filepath.Join(to, ".git"))
	assert.NoDirExists(t, filepath.Join(to, "deploy"), "where secrets are")
}
