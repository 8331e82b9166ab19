package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

// Behaviour 5.10, 9.1: an event-driven proxy passes on everything that clients send before they half-close, and the
// answer.
func TestEveryTransferIsRight(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out))
	require.Equal(t, "50 of 50 transfers right\n", out.String())
}
