package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRunSpeaksBothVersions(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out))
	require.Equal(t, "http/1.1: \"hello over TLS\"\nh2: \"hello over TLS\"\n", out.String())
}
