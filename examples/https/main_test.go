package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll"
)

// TestRunKeepsItsConnection runs the program and checks its output.
func TestRunKeepsItsConnection(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out))
	require.Equal(t, `0 bytes: "POST with 0 bytes over TLS 1.3", on a kept connection: false
100000 bytes: "POST with 100000 bytes over TLS 1.3", on a kept connection: true
0 bytes: "POST with 0 bytes over TLS 1.3", on a kept connection: true
`, out.String())
}

// TestReadRequestWaitsForWholeRequests feeds a request byte by byte: none must be consumed before it is complete.
func TestReadRequestWaitsForWholeRequests(t *testing.T) {
	in := netpoll.NewLinkBuffer()
	for _, b := range []byte("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody") {
		req, err := readRequest(in)
		require.NoError(t, err)
		require.Nil(t, req)
		require.NoError(t, in.WriteByte(b))
		require.NoError(t, in.Flush())
	}
	req, err := readRequest(in)
	require.NoError(t, err)
	require.EqualValues(t, 4, req.ContentLength)
	require.Zero(t, in.Len())
}

func TestReadRequestRefusesWhatIsTooLong(t *testing.T) {
	for _, text := range []string{
		"GET / HTTP/1.1\r\nLong: " + strings.Repeat("x", maxHead),
		"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1048577\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
	} {
		in := netpoll.NewLinkBuffer()
		_, err := in.WriteString(text)
		require.NoError(t, err)
		require.NoError(t, in.Flush())
		_, err = readRequest(in)
		require.Error(t, err)
	}
}
