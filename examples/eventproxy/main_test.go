package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

// Behaviour 5.10, 9.1: an event-driven proxy loses nothing of what clients send before they end their side, and brings
// them the answer.
func TestEveryTransferIsRight(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out))
	require.Equal(t, "50 of 50 transfers right\n", out.String())
}
