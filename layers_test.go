package netpoll_test

import (
	"go/ast"
	"go/build"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// largestCycle is how many files may need each other, directly or not. Those are what a reader has to know together.
const largestCycle = 23 // a connection

// TestFilesUseNothingOfAHigherLayer reads the layers from the map in doc.go, and what each file uses from its types: on
// this system, without a poller, and with the selector of the BSDs.
func TestFilesUseNothingOfAHigherLayer(t *testing.T) {
	layers := mapOfFiles(t)
	for _, tags := range [][]string{nil, {"netconn"}, {"kqsim"}} {
		name := strings.Join(append([]string{"tags"}, tags...), " ")
		t.Run(name, func(t *testing.T) {
			uses := usesOfFiles(t, tags)
			for file, names := range uses {
				for _, use := range names {
					if layers[use.of] > layers[file] {
						t.Errorf("%s, which is in layer %d, uses %s of %s, which is in layer %d: move the name, or pass it down",
							file, layers[file], use.name, use.of, layers[use.of])
					}
				}
			}
			if cycle := longestCycle(uses); len(cycle) > largestCycle {
				t.Errorf("%d files need each other, %d at most: %s", len(cycle), largestCycle, strings.Join(cycle, " "))
			}
		})
	}
}

// TestMapNamesEveryFile compares the map in doc.go with the directory.
func TestMapNamesEveryFile(t *testing.T) {
	layers := mapOfFiles(t)
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	there := make(map[string]bool)
	for _, file := range files {
		if there[file] = true; strings.HasSuffix(file, "_test.go") || file == "doc.go" || file == "export_faults.go" {
			continue
		}
		if layers[file] == 0 {
			t.Errorf("the map in doc.go does not name %s", file)
		}
	}
	for file := range layers {
		if !there[file] {
			t.Errorf("the map in doc.go names %s, which is not there", file)
		}
	}
}

// mapOfFiles returns the layer of each file that the map in doc.go names.
func mapOfFiles(t *testing.T) map[string]int {
	heading, name := regexp.MustCompile(`^// Layer (\d+):`), regexp.MustCompile(`[a-z0-9_]+\.go`)
	layers := make(map[string]int)
	layer := 0
	for line := range strings.Lines(readText(t, "doc.go")) {
		if match := heading.FindStringSubmatch(line); match != nil {
			layer, _ = strconv.Atoi(match[1])
		} else if strings.HasPrefix(line, "// Packages below") {
			layer = 0
		}
		if layer == 0 || !strings.HasPrefix(line, "//\t") {
			continue
		}
		for _, file := range name.FindAllString(line, -1) {
			if layers[file] != 0 {
				t.Errorf("the map in doc.go names %s twice", file)
			}
			layers[file] = layer
		}
	}
	require.NotEmpty(t, layers)
	return layers
}

// use is a name of another file.
type use struct{ name, of string }

// usesOfFiles returns, for each file that is built with the tags, the names of other files that it uses.
func usesOfFiles(t *testing.T, tags []string) map[string][]use {
	const path = "github.com/cloudwego/netpoll"
	context := build.Default
	context.BuildTags = tags
	pkg, err := context.ImportDir(".", 0)
	require.NoError(t, err)
	fset := token.NewFileSet()
	var files []*ast.File
	for _, name := range pkg.GoFiles {
		file, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		files = append(files, file)
	}
	info := &types.Info{Uses: make(map[*ast.Ident]types.Object)}
	config := types.Config{Importer: importer.ForCompiler(fset, "gc", openExports(t, append(pkg.Imports, path)))}
	checked, err := config.Check(path, fset, files, info)
	require.NoError(t, err)
	uses := make(map[string][]use)
	for id, object := range info.Uses {
		from, of := fset.Position(id.Pos()).Filename, fset.Position(object.Pos()).Filename
		if object.Pkg() == checked && from != of {
			uses[from] = append(uses[from], use{object.Name(), of})
		}
	}
	return uses
}

// longestCycle returns the largest set of files each of which needs all others of it, by Tarjan's algorithm.
func longestCycle(uses map[string][]use) (longest []string) {
	index, low := make(map[string]int), make(map[string]int)
	var stack []string
	var visit func(file string)
	visit = func(file string) {
		index[file] = len(index) + 1
		low[file] = index[file]
		stack = append(stack, file)
		for _, use := range uses[file] {
			if index[use.of] == 0 {
				visit(use.of)
				low[file] = min(low[file], low[use.of])
			} else if slices.Contains(stack, use.of) {
				low[file] = min(low[file], index[use.of])
			}
		}
		if low[file] == index[file] {
			at := slices.Index(stack, file)
			if cycle := stack[at:]; len(cycle) > len(longest) {
				longest = slices.Sorted(slices.Values(cycle))
			}
			stack = stack[:at]
		}
	}
	for file := range uses {
		if index[file] == 0 {
			visit(file)
		}
	}
	return longest
}
