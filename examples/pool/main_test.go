package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestRunReplacesDeadConnection runs the program and checks its output.
func TestRunReplacesDeadConnection(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out))
	require.Equal(t, `3 requests: {dialed:1 reused:2 dead:0}
the server dropped its connections: true
1 more request: {dialed:2 reused:3 dead:1}
`, out.String())
}
