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
	require.Equal(t, `3 requests: 1 dialed, 2 reused, 0 unfit
the server dropped its connections: true
1 more request: 2 dialed, 3 reused, 1 unfit
`, out.String())
}
