package deploytest

import (
	"path"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestKubernetesObjects(t *testing.T) {
	t.Parallel()
	all := load[kubernetes](t, read(t, "deploy", "kubernetes.yaml"))
	var kinds []string
	app := map[string]string{"app.kubernetes.io/name": "rolegate"}
	for _, o := range all {
		kinds = append(kinds, o.APIVersion+" "+o.Kind+" "+o.Metadata.Name)
		assert.Empty(t, o.Metadata.Namespace, "kubectl says which namespace")
		assert.Equal(t, app, o.Metadata.Labels, o.Kind)
	}
	assert.Equal(t, []string{
		"v1 ServiceAccount rolegate", "v1 ConfigMap rolegate", "v1 Secret rolegate", "apps/v1 Deployment rolegate",
		"v1 Service rolegate", "v1 Service rolegate-admin", "policy/v1 PodDisruptionBudget rolegate", "networking.k8s.io/v1 NetworkPolicy rolegate",
	}, kinds)

	d := object(t, "Deployment", "rolegate").Spec
	assert.Equal(t, app, d.Template.Metadata.Labels)
	for _, o := range []kubernetes{object(t, "Deployment", "rolegate"), object(t, "PodDisruptionBudget", "rolegate")} {
		var selector labels
		require.NoError(t, o.Spec.Selector.Decode(&selector))
		assert.Equal(t, app, selector.MatchLabels, o.Kind)
	}
	for _, name := range []string{"rolegate", "rolegate-admin"} {
		var selector map[string]string
		o := object(t, "Service", name)
		require.NoError(t, o.Spec.Selector.Decode(&selector))
		assert.Equal(t, app, selector, name)
	}
	budget := object(t, "PodDisruptionBudget", "rolegate").Spec.MinAvailable
	assert.Positive(t, budget)
	assert.Less(t, budget, d.Replicas, "or no node can be drained")
}

// The ports of the settings are those of the container, by their names, and those
// that the services, the probes and the policy name.
func TestKubernetesPorts(t *testing.T) {
	t.Parallel()
	c := onlyContainer(t)
	listens := ports(t, parse(t, object(t, "ConfigMap", "rolegate").Data["rolegate.yaml"]))
	byName := map[string]string{}
	for _, p := range c.Ports {
		byName[p.Name] = p.Container
	}
	assert.Equal(t, map[string]string{"forward-auth": listens["forward_auth"], "admin": listens["admin"]}, byName)

	for name, p := range map[string]struct {
		of   probe
		path string
	}{
		"startup": {c.Startup, "/healthz"}, "readiness": {c.Readiness, "/readyz"}, "liveness": {c.Liveness, "/healthz"},
	} {
		assert.Equal(t, p.path, p.of.Get.Path, name)
		assert.Equal(t, "admin", p.of.Get.Port, name)
	}
	for name, want := range map[string]string{"rolegate": "forward-auth", "rolegate-admin": "admin"} {
		s := object(t, "Service", name).Spec.Ports
		require.Len(t, s, 1)
		assert.Equal(t, port{Name: want, Port: byName[want], TargetPort: want}, s[0])
	}

	policy := object(t, "NetworkPolicy", "rolegate").Spec
	assert.Equal(t, []string{"Ingress"}, policy.PolicyTypes)
	assert.Equal(t, map[string]string{"app.kubernetes.io/name": "rolegate"}, policy.PodSelector.MatchLabels)
	var open []string
	for _, rule := range policy.Ingress {
		require.NotEmpty(t, rule.From, "a rule without it is for everybody")
		for _, from := range rule.From {
			assert.NotEmpty(t, from["podSelector"].MatchLabels, "a whole namespace")
		}
		require.Len(t, rule.Ports, 1)
		open = append(open, rule.Ports[0].Port)
	}
	assert.Equal(t, []string{"forward-auth", "admin"}, open)
}

func TestKubernetesVolumes(t *testing.T) {
	t.Parallel()
	pod := object(t, "Deployment", "rolegate").Spec.Template.Spec
	c := onlyContainer(t)
	f := parse(t, object(t, "ConfigMap", "rolegate").Data["rolegate.yaml"])
	mounts := map[string]string{}
	for _, m := range c.Mounts {
		mounts[m.Name] = m.Path
	}
	require.Len(t, pod.Volumes, len(mounts))
	for _, v := range pod.Volumes {
		folder := mounts[v.Name]
		require.NotEmpty(t, folder, "%s is mounted nowhere", v.Name)
		switch {
		case v.ConfigMap != nil:
			data := object(t, "ConfigMap", v.ConfigMap.Name).Data
			require.Equal(t, []string{"serve", "-c"}, c.Args[:2])
			assert.Equal(t, folder, path.Dir(c.Args[2]))
			assert.Contains(t, data, path.Base(c.Args[2]))
		case v.Secret != nil:
			keys := object(t, "Secret", v.Secret.Name).StringData
			named := secrets(t, f)
			assert.Len(t, named, len(keys))
			for _, file := range named {
				assert.Equal(t, folder, path.Dir(file))
				require.Contains(t, keys, path.Base(file))
				assert.Empty(t, keys[path.Base(file)], "which the server refuses to start with")
			}
			assert.Equal(t, 0o440, v.Secret.Mode)
		case v.EmptyDir != nil:
			switch folder {
			case path.Dir(f.Control):
				assert.Equal(t, "Memory", v.EmptyDir.Medium)
			case path.Dir(path.Dir(f.Cache.File)):
				// Everybody can write to the folder of an emptyDir, which filecache
				// refuses, but not to one that filecache makes in it.
				assert.Empty(t, v.EmptyDir.Medium, "memory would count for the container's limit")
			default:
				t.Errorf("%s is written to by nobody", folder)
			}
		default:
			t.Errorf("%s is of a kind that the test does not know", v.Name)
		}
	}
	assert.NotEmpty(t, f.Cache.File)
}

func TestKubernetesPodIsCareful(t *testing.T) {
	t.Parallel()
	pod := object(t, "Deployment", "rolegate").Spec.Template.Spec
	c := onlyContainer(t)
	user, group, numeric := imageUser(t)
	require.True(t, numeric)
	assert.Equal(t, map[string]any{
		"runAsNonRoot": true, "runAsUser": user, "runAsGroup": group, "fsGroup": group,
		"seccompProfile": map[string]any{"type": "RuntimeDefault"},
	}, pod.Security)
	assert.Equal(t, map[string]any{
		"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
		"capabilities": map[string]any{"drop": []any{"ALL"}},
	}, c.Security)
	account := object(t, "ServiceAccount", pod.ServiceAccount)
	for _, automount := range []*bool{account.Automount, pod.Automount} {
		require.NotNil(t, automount)
		assert.False(t, *automount)
	}
	assert.Empty(t, c.Command, "the image's")
	assert.Equal(t, "registry.example.com/rolegate:replace-me", c.Image, "nobody's own")
	assert.Equal(t, "256Mi", c.Resources.Limits["memory"])
	require.Len(t, c.Env, 1)
	assert.Equal(t, "GOMEMLIMIT", c.Env[0].Name)
	assert.Equal(t, "200MiB", c.Env[0].Value, "as Go writes it, and below the limit")
	f := parse(t, object(t, "ConfigMap", "rolegate").Data["rolegate.yaml"])
	const goodbye = 5 + 1 // of the server, and of the gate
	assert.Equal(t, 30*time.Second, time.Duration(f.Drain))
	assert.Greater(t, pod.Grace, int(time.Duration(f.Drain).Seconds())+goodbye)
}

// A roll-out ends no pod before another is ready, and a pod that is to end is
// unready for longer than the probe takes to see it twice.
func TestKubernetesRollsOut(t *testing.T) {
	t.Parallel()
	d := object(t, "Deployment", "rolegate").Spec
	assert.Equal(t, 2, d.Replicas)
	assert.Equal(t, "RollingUpdate", d.Strategy.Type)
	require.NotNil(t, d.Strategy.Rolling.MaxUnavailable)
	assert.Zero(t, *d.Strategy.Rolling.MaxUnavailable)
	assert.Equal(t, 1, d.Strategy.Rolling.MaxSurge)
	ready := onlyContainer(t).Readiness
	f := parse(t, object(t, "ConfigMap", "rolegate").Data["rolegate.yaml"])
	assert.Less(t, ready.Period*(ready.Failures+1), int(time.Duration(f.Drain).Seconds()))
}

func onlyContainer(t *testing.T) container {
	t.Helper()
	all := object(t, "Deployment", "rolegate").Spec.Template.Spec.Containers
	require.Len(t, all, 1)
	return all[0]
}
