package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestRunGetsTheAnswerAfterTheEnd runs the program and checks its output.
func TestRunGetsTheAnswerAfterTheEnd(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out))
	require.Equal(t, `sent 5000000 bytes and then the end of the stream
answer: 5000000 bytes, error <nil>
`, out.String())
}
