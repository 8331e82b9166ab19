package netpoll_test

// The code under the race detector is the code that ships.

import (
	"bufio"
	"go/build/constraint"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Behaviour 8.2, 1.5: no file, and so no type, differs under the race detector: none is in the build with it only, or
// without it only.
func TestNoFileDiffersUnderTheRaceDetector(t *testing.T) {
	seen := 0
	require.NoError(t, filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".go" {
			return err
		}
		seen++
		require.NotContains(t, tagsOf(t, path), "race", path)
		return nil
	}))
	require.Greater(t, seen, 100, "files that were looked at")
}

// tagsOf returns the tags that the build constraint of a file asks about.
func tagsOf(t *testing.T, path string) (tags []string) {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan() && !strings.HasPrefix(lines.Text(), "package "); {
		if !constraint.IsGoBuild(lines.Text()) {
			continue
		}
		expr, err := constraint.Parse(lines.Text())
		require.NoError(t, err)
		expr.Eval(func(tag string) bool {
			tags = append(tags, tag)
			return false
		})
	}
	return tags
}
