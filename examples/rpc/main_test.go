package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll"
)

// TestRunAnswersEveryCall runs the program, without TLS and with it, and checks its output.
func TestRunAnswersEveryCall(t *testing.T) {
	for _, secure := range []bool{false, true} {
		var out bytes.Buffer
		require.NoError(t, run(t.Context(), &out, secure))
		require.Equal(t, `100 concurrent calls on one connection: error <nil>
the slow call was overtaken: true
the slow call: SLOW, error <nil>
a call after Close: is ErrConnClosed true
`, out.String())
	}
}

// TestReadFrameWaitsForWholeFrames feeds a frame byte by byte: readFrame must not consume any before it is complete.
func TestReadFrameWaitsForWholeFrames(t *testing.T) {
	want := frame{call: 7, text: "text"}
	encoded, err := want.buffer()
	require.NoError(t, err)
	require.NoError(t, encoded.Flush())
	bytes := encoded.(*netpoll.LinkBuffer).Bytes()

	in := netpoll.NewLinkBuffer()
	for _, b := range bytes {
		_, ok, err := readFrame(in)
		require.NoError(t, err)
		require.False(t, ok)
		require.NoError(t, in.WriteByte(b))
		require.NoError(t, in.Flush())
	}
	got, ok, err := readFrame(in)
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, want, got)
	require.Zero(t, in.Len())
}

// TestReadFrameRefusesHugeFrames checks that readFrame does not wait for a frame longer than the limit.
func TestReadFrameRefusesHugeFrames(t *testing.T) {
	in := netpoll.NewLinkBuffer()
	_, err := in.WriteBinary([]byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 1})
	require.NoError(t, err)
	require.NoError(t, in.Flush())
	_, ok, err := readFrame(in)
	require.False(t, ok)
	require.ErrorContains(t, err, "at most 65544 are allowed")
}
