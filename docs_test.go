package netpoll_test

// This file holds the check that the documents do not point to nowhere. That the program in the README works is checked
// in examples/echo.

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestDocumentsLinkToWhatExists follows every relative link of the documents to its file and its heading.
func TestDocumentsLinkToWhatExists(t *testing.T) {
	documents := []string{"README.md", "CONTRIBUTING.md", "SECURITY.md"}
	more, err := filepath.Glob("docs/*.md")
	require.NoError(t, err)
	require.NotEmpty(t, more)
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
	for _, pattern := range []string{"*_test.go", "test/*_test.go", "test/torture/*_test.go", "mux/*_test.go", "examples/*/*_test.go", "compat/*_test.go", "compat/*/*_test.go"} {
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
