package deploytest

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var pages = []string{"deploy.md", "deploy.zh-CN.md"}

func blocks(t *testing.T, page string) (all []string) {
	t.Helper()
	for _, found := range regexp.MustCompile("(?ms)^```\\w+\n(.*?)^```$").FindAllStringSubmatch(read(t, "docs", page), -1) {
		all = append(all, found[1])
	}
	return all
}

var link = regexp.MustCompile(`\]\(([^)#]+)(#[^)]*)?\)`)

func TestDocsLinkToWhatIsThere(t *testing.T) {
	t.Parallel()
	for _, page := range pages {
		text := read(t, "docs", page)
		for _, found := range link.FindAllStringSubmatch(text, -1) {
			_, err := os.Stat(filepath.Join(root, "docs", found[1]))
			assert.NoError(t, err, page)
		}
		for _, file := range []string{"Dockerfile", "compose.yaml", "kubernetes.yaml", "rolegate.service"} {
			assert.Contains(t, text, "(../deploy/"+file+")", page)
		}
	}
}

// The Redis of the page is one that the settings of each deployment take, and the
// annotations are those of the Service that is shipped.
func TestDocsShowWhatWorks(t *testing.T) {
	t.Parallel()
	var redis, ingress string
	for _, b := range blocks(t, pages[0]) {
		switch {
		case strings.Contains(b, "redis:"):
			redis = b
		case strings.Contains(b, "kind: Ingress"):
			ingress = b
		}
	}
	for _, c := range settingsFiles {
		text := c.text(t)
		text = regexp.MustCompile(`(?m)^cache:\s+\{?file: .*\n`).ReplaceAllString(text, "")
		f := parse(t, text+"\n"+redis)
		require.NotNil(t, f.Cache.Redis, c.name)
		assert.Equal(t, "/run/secrets/rolegate", filepath.Dir(f.Cache.Redis.Secret.File), "where the Secret of kubernetes.yaml is")
	}

	type annotated struct {
		Kind     string `yaml:"kind"`
		Metadata struct {
			Name        string            `yaml:"name"`
			Annotations map[string]string `yaml:"annotations"`
		} `yaml:"metadata"`
		Data map[string]string `yaml:"data"`
	}
	objects := load[annotated](t, ingress)
	require.Len(t, objects, 2)
	assert.Equal(t, map[string]string{"X-Original-Host": "$host", "X-Original-URI": "$request_uri"}, objects[0].Data)
	annotations := objects[1].Metadata.Annotations
	port := object(t, "Service", "rolegate").Spec.Ports[0].Port
	assert.Equal(t, "http://rolegate.school.svc.cluster.local:"+port+"/", annotations["nginx.ingress.kubernetes.io/auth-url"])
	assert.Equal(t, "school/"+objects[0].Metadata.Name, annotations["nginx.ingress.kubernetes.io/auth-proxy-set-headers"])
	for _, header := range []string{"User", "Account", "Org", "Roles", "Decision"} {
		assert.Contains(t, annotations["nginx.ingress.kubernetes.io/auth-response-headers"], "X-Rolegate-"+header)
	}
}
