package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestRunKeepsItsConnection runs the program and checks its output.
func TestRunKeepsItsConnection(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out))
	require.Equal(t, `GET /hello: "hello over netpoll", on a kept connection: false
POST /size: "1048576 bytes, error <nil>", on a kept connection: true
GET /hello: "hello over netpoll", on a kept connection: true
`, out.String())
}
