package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestRunGetsTheAnswers runs the program and checks its output.
func TestRunGetsTheAnswers(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out))
	require.Equal(t, "answers: \"HELLO\\nAND GOODBYE\\n\"\n", out.String())
}
