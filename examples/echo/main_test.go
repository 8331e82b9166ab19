package main

import (
	"bytes"
	"os"
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

// TestReadmeShowsThisProgram checks that the first program of README.md is this one, which is tested.
func TestReadmeShowsThisProgram(t *testing.T) {
	program, err := os.ReadFile("main.go")
	require.NoError(t, err)
	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	require.Contains(t, string(readme), "```go\n"+string(program)+"```\n")
}
