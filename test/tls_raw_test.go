package test

// What lies below a TLS connection: the descriptor, for options, and for the look that pools of drivers take at it.

import (
	"syscall"
	"testing"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
)

// look calls the function of RawConn.Read once, as connection pools do, and reports whether it was called.
func look(t *testing.T, conn syscall.Conn) (called bool, err error) {
	t.Helper()
	raw, err := conn.SyscallConn()
	require.NoError(t, err)
	err = raw.Read(func(uintptr) bool {
		called = true
		return true
	})
	return called, err
}

// A pool that gets an error dials anew for each use.
func TestTLSConnectionThatIsSilentCanBeLookedAt(t *testing.T) {
	config, client := newTLSConfigs(t)
	conn, peer := tlsPair(t, config, client)
	for _, text := range []string{"one", "another"} {
		testkit.Send(t, peer, text)
		testkit.Expect(t, conn, text)
		called, err := look(t, conn)
		require.NoError(t, err)
		require.True(t, called)
	}
	testkit.Send(t, peer, "unread")
	testnet.Buffered(t, conn, len("unread"))
	called, err := look(t, conn)
	require.ErrorIs(t, err, netpoll.ErrBufferedInput)
	require.False(t, called)
	testkit.Expect(t, conn, "unread")

	require.NoError(t, peer.Close())
	testkit.ExpectEnd(t, conn, "")
	called, err = look(t, conn)
	require.ErrorIs(t, err, netpoll.ErrEOF)
	require.False(t, called)
}

func TestTLSConnectionIsNotReadOrWrittenBelow(t *testing.T) {
	config, client := newTLSConfigs(t)
	conn, peer := tlsPair(t, config, client)
	raw, err := conn.SyscallConn()
	require.NoError(t, err)
	require.Error(t, raw.Read(func(uintptr) bool { return false }), "waiting for ciphertext")
	require.Error(t, raw.Write(func(uintptr) bool { return true }))
	raw, err = conn.NetConn().(syscall.Conn).SyscallConn()
	require.NoError(t, err)
	require.Error(t, raw.Read(func(uintptr) bool { return true }))
	require.Error(t, raw.Write(func(uintptr) bool { return true }))
	testkit.Send(t, peer, "still there")
	testkit.Expect(t, conn, "still there")
}

// After Close the number may be that of another descriptor.
func TestTLSDescriptorIsNotSeenAfterClose(t *testing.T) {
	config, client := newTLSConfigs(t)
	conn, _ := tlsPair(t, config, client)
	for _, c := range []syscall.Conn{conn, conn.NetConn().(syscall.Conn)} {
		raw, err := c.SyscallConn()
		require.NoError(t, err)
		called := false
		require.NoError(t, raw.Control(func(fd uintptr) { called = int(fd) == conn.Fd() }))
		require.True(t, called)
		defer func() {
			require.Error(t, raw.Control(func(uintptr) { t.Error("called after Close") }))
		}()
	}
	require.NoError(t, conn.Close())
}
