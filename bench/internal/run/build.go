package run

// This file builds the programs that are measured.

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	"github.com/cloudwego/netpoll/bench/internal/plan"
)

// Programs has the paths of the built programs.
type Programs map[program]string

// program is what is built.
type program struct{ dir, pkg, modFile string }

func programOf(s plan.Subject) program { return program{s.Dir, s.Package, s.ModFile} }

// of returns the path of a subject's program.
func (p Programs) of(s plan.Subject) string { return p[programOf(s)] }

// Build builds the programs of the subjects into dir. root is the folder of this module. Subjects that differ only by
// their arguments share a program.
func Build(ctx context.Context, root, dir string, subjects []plan.Subject) (Programs, error) {
	programs := make(Programs)
	for _, s := range subjects {
		if programs.of(s) != "" {
			continue
		}
		name := s.Dir + path.Base(path.Dir(s.Package)) + "-" + path.Base(s.Package)
		args := []string{"build"}
		if s.ModFile != "" {
			name += "-" + strings.TrimSuffix(s.ModFile, ".mod")
			args = append(args, "-modfile="+s.ModFile)
		}
		file := filepath.Join(dir, name)
		cmd := exec.CommandContext(ctx, "go", append(args, "-o", file, s.Package)...)
		cmd.Dir = filepath.Join(root, s.Dir)
		if out, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build %s: %w\n%s", s.Name, err, out)
		}
		programs[programOf(s)] = file
	}
	return programs, nil
}

// Root finds the folder of this module from the current folder.
func Root() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Path}} {{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	name, dir, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
	if name != "github.com/cloudwego/netpoll/bench" {
		return "", errors.New("run this in the folder bench, or below")
	}
	if _, err := os.Stat(dir); err != nil {
		return "", err
	}
	return dir, nil
}
