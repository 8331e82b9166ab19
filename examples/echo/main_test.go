package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestRunEchoesEveryLine runs the program and checks its output.
func TestRunEchoesEveryLine(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out))
	require.Regexp(t, `^server: listening on 127\.0\.0\.1:\d+
client: sent "hello\\n", got back "hello\\n"
client: sent "and goodbye\\n", got back "and goodbye\\n"
server: shut down
$`, out.String())
}

// TestReadmeShowsThisHandler checks that the handler in README.md is this one, which is tested.
func TestReadmeShowsThisHandler(t *testing.T) {
	program, err := os.ReadFile("main.go")
	require.NoError(t, err)
	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	_, handler, found := strings.Cut(string(program), "// echo is the handler")
	require.True(t, found)
	handler, _, _ = strings.Cut(handler, "\n}\n")
	require.Contains(t, string(readme), "```go\n// echo is the handler"+handler+"\n}\n```\n")
}
