package netpoll_test

// This file holds the check that the documents do not point to nowhere. That the program in the README works is checked
// in examples/echo.

import (
	"go/build/constraint"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestDocumentsLinkToWhatExists follows every relative link of the documents to its file and its heading.
func TestDocumentsLinkToWhatExists(t *testing.T) {
	documents := []string{"README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"}
	more, err := filepath.Glob("docs/*.md")
	require.NoError(t, err)
	require.NotEmpty(t, more)
	beside, err := filepath.Glob("bench/*.md")
	require.NoError(t, err)
	more = append(more, beside...)
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	for _, document := range append(documents, more...) {
		for _, match := range link.FindAllStringSubmatch(readText(t, document), -1) {
			target := match[1]
			if strings.Contains(target, "://") {
				continue
			}
			file, heading, _ := strings.Cut(target, "#")
			path := document
			if file != "" {
				path = filepath.Join(filepath.Dir(document), file)
			}
			_, err := os.Stat(path)
			require.NoError(t, err, "%s links to %s", document, target)
			if heading != "" {
				require.Contains(t, anchors(readText(t, path)), heading, "%s links to %s", document, target)
			}
		}
	}
}

func readText(t *testing.T, path string) string {
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(text)
}

// anchors lists the headings of a document as links name them: lower case, with dashes for spaces, without punctuation.
func anchors(text string) (list []string) {
	dropped := regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	for _, match := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(text, -1) {
		list = append(list, strings.ReplaceAll(dropped.ReplaceAllString(strings.ToLower(match[1]), ""), " ", "-"))
	}
	return list
}

// TestCitedBehaviourExists looks up every rule that a test cites ("Behaviour 4.1, 4.5: ...") in docs/behaviour.md.
func TestCitedBehaviourExists(t *testing.T) {
	rules := make(map[string]bool)
	section, item := regexp.MustCompile(`^## (\d+)\.`), regexp.MustCompile(`^(\d+)\. `)
	in := ""
	for line := range strings.Lines(readText(t, "docs/behaviour.md")) {
		if match := section.FindStringSubmatch(line); match != nil {
			in = match[1]
		} else if match := item.FindStringSubmatch(line); match != nil {
			rules[in+"."+match[1]] = true
		}
	}
	cite := regexp.MustCompile(`// Behaviours? (\d+\.\d+(?:, \d+\.\d+)*)`)
	cited := 0
	for _, pattern := range []string{"*_test.go", "test/*_test.go", "test/torture/*_test.go", "mux/*_test.go", "framing/*_test.go", "pool/*_test.go", "examples/*/*_test.go", "compat/*_test.go", "compat/*/*_test.go"} {
		files, err := filepath.Glob(pattern)
		require.NoError(t, err)
		for _, file := range files {
			for _, match := range cite.FindAllStringSubmatch(readText(t, file), -1) {
				for number := range strings.SplitSeq(match[1], ", ") {
					require.True(t, rules[number], "%s cites Behaviour %s", file, number)
					cited++
				}
			}
		}
	}
	require.NotZero(t, cited)
}

// TestContributingListsVariablesAndTags looks up in CONTRIBUTING.md every environment variable and every build tag of
// the project's own, and looks for each that is listed there in the code.
func TestContributingListsVariablesAndTags(t *testing.T) {
	name := regexp.MustCompile(`NETPOLL_[A-Z_]*[A-Z]`)
	inCode := make(map[string]bool)
	require.NoError(t, filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		if filepath.Ext(path) == ".go" || filepath.Dir(path) == ".ci" {
			text := readText(t, path)
			for _, variable := range name.FindAllString(text, -1) {
				inCode[variable] = true
			}
			addTags(t, inCode, path, text)
		}
		return nil
	}))
	listed := make(map[string]bool)
	for _, match := range regexp.MustCompile("`(NETPOLL_[A-Z_]+)`|(?m)^\\| `([a-z]+)` \\|.*-tags ").FindAllStringSubmatch(
		readText(t, "CONTRIBUTING.md"), -1) {
		listed[match[1]+match[2]] = true
	}
	require.NotEmpty(t, listed)
	require.Equal(t, listed, inCode)
}

// addTags adds the build tags of a file that are no systems, processors or others of Go itself.
func addTags(t *testing.T, tags map[string]bool, path, text string) {
	ofGo := regexp.MustCompile(`^(aix|android|darwin|dragonfly|freebsd|illumos|ios|js|linux|netbsd|openbsd|plan9|solaris|wasip1|` +
		`windows|unix|386|amd64|arm|arm64|loong64|ppc64|ppc64le|riscv64|s390x|wasm|race|cgo|go1[.].*)$`)
	for line := range strings.Lines(text) {
		if !constraint.IsGoBuild(line) {
			continue
		}
		expr, err := constraint.Parse(strings.TrimSpace(line))
		require.NoError(t, err, path)
		expr.Eval(func(tag string) bool {
			if !ofGo.MatchString(tag) {
				tags[tag] = true
			}
			return true
		})
		return
	}
}

// TestContributingNamesFilesThatExist looks for every file and folder that CONTRIBUTING.md says things are in.
func TestContributingNamesFilesThatExist(t *testing.T) {
	_, where, found := strings.Cut(readText(t, "CONTRIBUTING.md"), "## Where things are")
	require.True(t, found)
	path := regexp.MustCompile("`([a-z0-9_*./-]+(?:[.](?:go|md|txt)|/)|(?:internal|test)/[a-z0-9_/]+)`")
	for _, match := range path.FindAllStringSubmatch(where, -1) {
		if match[1] == "transport_name.go" { // stands for a new file
			continue
		}
		files, err := filepath.Glob(match[1])
		require.NoError(t, err)
		if len(files) == 0 {
			t.Errorf("CONTRIBUTING.md names %s, which does not exist", match[1])
		}
	}
}
