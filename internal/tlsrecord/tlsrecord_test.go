package tlsrecord

import (
	"crypto/tls"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestFieldsOfThisGoRelease fails when a release of Go changes what this package goes by. TLS then still works, with
// about 17 KiB more for each connection that has received a large record. What has to be looked at anew is written in
// docs/design.md, under TLS.
func TestFieldsOfThisGoRelease(t *testing.T) {
	require.NoError(t, Check())
	require.True(t, Lends)
}

func TestWhatIsNotUsedUpIsNotTakenBack(t *testing.T) {
	c := tls.Server(nil, new(tls.Config))
	require.Zero(t, Left(c))
	Lend(c, []byte("record"))
	require.Equal(t, 6, Left(c))
	require.False(t, TakeBack(c))
	raw(c).Next(6)
	require.Zero(t, Left(c))
	require.True(t, TakeBack(c))
	require.Zero(t, raw(c).Cap())
}

func TestPlaintextThatIsNotReadIsNotTakenBack(t *testing.T) {
	c := tls.Server(nil, new(tls.Config))
	input(c).Reset([]byte("plaintext"))
	require.False(t, TakeBack(c))
	_, _ = input(c).Seek(0, 2)
	require.True(t, TakeBack(c))
}

func TestHandshakeMessagesThatAreNotCompleteStay(t *testing.T) {
	c := tls.Server(nil, new(tls.Config))
	hand(c).WriteString("half")
	require.True(t, TakeBack(c))
	require.Equal(t, "half", hand(c).String())
}

func TestAChangeOfAFieldIsReported(t *testing.T) {
	was := expected["hand"]
	defer func() { expected["hand"] = was }()
	expected["hand"] = expected["input"]
	require.ErrorContains(t, Check(), "crypto/tls has changed: the field hand of tls.Conn is a bytes.Buffer, not a bytes.Reader")
	defer delete(expected, "missing")
	expected["hand"] = was
	expected["missing"] = was
	require.ErrorContains(t, Check(), "crypto/tls has changed: tls.Conn has no field missing")
}
