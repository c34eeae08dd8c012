package main

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What is known of a package is used for as long as nothing in it has changed.
func TestStore(t *testing.T) {
	t.Chdir(t.TempDir())
	require.NoError(t, os.MkdirAll("p/testdata/deep", 0o755))
	write := func(name, text string) {
		t.Helper()
		require.NoError(t, os.WriteFile(name, []byte(text), 0o644))
	}
	write("p/p.go", "package p")
	write("p/p_test.go", "package p // a test")
	write("p/testdata/deep/x", "1")
	fates := []string{killed, lived, hung, notViable, uncovered}
	mutants := func() []mutant { return make([]mutant, len(fates)) }
	was := mutants()
	for i, fate := range fates {
		was[i].status = fate
	}
	folder := t.TempDir()
	recalled := func(use reuse, n int) (of []string, all bool) {
		found := make([]mutant, n)
		all = store{folder, use}.recall("p/p.go", hashes("p"), found)
		for _, m := range found {
			of = append(of, m.status)
		}
		return of, all
	}
	none := make([]string, len(fates))

	got, all := recalled(ofSamePackage, len(fates))
	assert.False(t, all)
	assert.Equal(t, none, got)
	store{folder: folder}.keep("p/p.go", hash("p/p.go"), hashes("p"), was)

	got, all = recalled(ofSamePackage, len(fates))
	assert.False(t, all, "what hung may have been the machine's fault")
	assert.Equal(t, []string{killed, lived, "", notViable, uncovered}, got)
	got, _ = recalled(ofSameFile, len(fates))
	assert.Equal(t, []string{killed, "", "", notViable, ""}, got)
	got, _ = recalled(nothing, len(fates))
	assert.Equal(t, none, got)
	got, _ = recalled(ofSamePackage, 3)
	assert.Equal(t, none[:3], got, "it has other mutants by now")

	for _, name := range []string{"p/p_test.go", "p/another_test.go", "p/testdata/deep/x"} {
		before, err := os.ReadFile(name)
		write(name, "package p // changed")
		got, _ = recalled(ofSamePackage, len(fates))
		assert.Equal(t, none, got, "after a change of %s", name)
		got, _ = recalled(ofSameFile, len(fates))
		assert.Equal(t, killed, got[0])
		if err == nil {
			write(name, string(before))
		} else {
			require.NoError(t, os.Remove(name))
		}
		got, _ = recalled(ofSamePackage, len(fates))
		assert.Equal(t, killed, got[0])
	}
	store{folder, ofSameFile}.keep("p/p.go", hash("p/p.go"), hashes("p"), was)
	got, _ = recalled(ofSamePackage, len(fates))
	assert.Equal(t, none, got, "some of it may be of other tests")
	write("p/p.go", "package p // another")
	got, _ = recalled(ofSameFile, len(fates))
	assert.Equal(t, none, got)
}
