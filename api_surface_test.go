package netpoll_test

// This file holds the check that the exported API is what api.txt says, so that no change of it goes unseen. The file
// is written anew by
//
//	go test -run TestAPIIsTheOneInTheFile -update .

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var updateAPI = flag.Bool("update", false, "write api.txt instead of comparing with it")

const (
	apiFile = "api.txt"
	module  = "github.com/cloudwego/netpoll"
)

// TestAPIIsTheOneInTheFile compares the exported names of the packages for users, with their types, and the methods
// that types get from embedded ones, with api.txt.
func TestAPIIsTheOneInTheFile(t *testing.T) {
	packages := []string{module, module + "/mux", module + "/framing", module + "/pool"}
	imp := importer.ForCompiler(token.NewFileSet(), "gc", openExports(t, packages))
	var lines []string
	for _, path := range packages {
		pkg, err := imp.Import(path)
		require.NoError(t, err)
		lines = append(lines, surface(pkg)...)
	}
	slices.Sort(lines)
	if *updateAPI {
		require.NoError(t, os.WriteFile(apiFile, []byte(strings.Join(lines, "\n")+"\n"), 0o644))
	}
	text, err := os.ReadFile(apiFile)
	require.NoError(t, err)
	recorded := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	for _, line := range recorded {
		if !slices.Contains(lines, line) {
			t.Errorf("in %s, but not in the code: %s", apiFile, line)
		}
	}
	for _, line := range lines {
		if !slices.Contains(recorded, line) {
			t.Errorf("in the code, but not in %s: %s", apiFile, line)
		}
	}
}

// openExports makes the go command compile the packages, and returns the way to its export data of them and all that
// they import.
func openExports(t *testing.T, packages []string) importer.Lookup {
	cmd := exec.Command("go", append([]string{"list", "-deps", "-export", "-json=ImportPath,Export"}, packages...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	require.NoError(t, err)
	exports := make(map[string]string)
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct{ ImportPath, Export string }
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		exports[p.ImportPath] = p.Export
	}
	return func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) }
}

// surface lists what pkg exports, a name with its type a line.
func surface(pkg *types.Package) (lines []string) {
	qualifier := func(p *types.Package) string {
		if p == pkg {
			return ""
		}
		return p.Name()
	}
	add := func(format string, args ...any) {
		lines = append(lines, pkg.Name()+": "+fmt.Sprintf(format, args...))
	}
	str := func(t types.Type) string { return types.TypeString(t, qualifier) }
	for _, name := range pkg.Scope().Names() {
		obj := pkg.Scope().Lookup(name)
		if !obj.Exported() {
			continue
		}
		switch obj := obj.(type) {
		case *types.Const:
			add("const %s %s = %s", name, str(obj.Type()), obj.Val())
		case *types.Var:
			add("var %s %s", name, str(obj.Type()))
		case *types.Func:
			add("func %s%s", name, strings.TrimPrefix(str(obj.Type()), "func"))
		case *types.TypeName:
			for _, line := range typeSurface(obj, str) {
				add("%s", line)
			}
		}
	}
	return lines
}

// typeSurface lists a type, its exported fields, and its exported methods: those of a pointer to it, which include all.
// The methods that a struct has by embedding a type of the standard library are covered by the line of that field: it
// differs from one Go release to the next.
func typeSurface(obj *types.TypeName, str func(types.Type) string) (lines []string) {
	name := obj.Name()
	if obj.IsAlias() {
		return []string{fmt.Sprintf("type %s = %s", name, str(types.Unalias(obj.Type())))}
	}
	kind := str(obj.Type().Underlying())
	methodsOf := types.Type(types.NewPointer(obj.Type()))
	switch u := obj.Type().Underlying().(type) {
	case *types.Interface:
		kind, methodsOf = "interface", obj.Type()
	case *types.Struct:
		kind = "struct"
		for field := range u.Fields() {
			if field.Exported() {
				lines = append(lines, fmt.Sprintf("field %s.%s %s", name, field.Name(), str(field.Type())))
			}
		}
	}
	lines = append(lines, fmt.Sprintf("type %s %s", name, kind))
	for method := range types.NewMethodSet(methodsOf).Methods() {
		f := method.Obj()
		ours := types.IsInterface(methodsOf) || strings.HasPrefix(f.Pkg().Path(), module)
		if f.Exported() && ours {
			signature := strings.TrimPrefix(str(f.Type()), "func")
			lines = append(lines, fmt.Sprintf("method %s.%s%s", name, f.Name(), signature))
		}
	}
	return lines
}
