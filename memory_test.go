//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll_test

// What connections cost in memory: idle ones, and those that carried a large message.

import (
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"
	"github.com/stretchr/testify/require"
)

// bareClient is a connected TCP socket without anything on the Go heap, so that only the server's side is measured.
type bareClient int

func newBareClient(addr string) (bareClient, error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		return -1, err
	}
	ap, err := net.ResolveTCPAddr("tcp4", addr)
	if err != nil {
		return -1, errors.Join(err, syscall.Close(fd))
	}
	sa := &syscall.SockaddrInet4{Port: ap.Port, Addr: [4]byte(ap.IP.To4())}
	if err := syscall.Connect(fd, sa); err != nil {
		_ = syscall.Close(fd)
		return -1, err
	}
	return bareClient(fd), nil
}

// roundTrip sends p and waits for as many bytes.
func (c bareClient) roundTrip(p []byte) error {
	if _, err := syscall.Write(int(c), p); err != nil {
		return err
	}
	for left := len(p); left > 0; {
		n, err := syscall.Read(int(c), p[:left])
		if err != nil {
			return err
		}
		if n == 0 {
			return io.ErrUnexpectedEOF
		}
		left -= n
	}
	return nil
}

// Behaviour 8.1: after a large message the memory goes back, at both ends, with the connections still open.
func TestMemoryGoesBackAfterLargeMessage(t *testing.T) {
	const size, budget = 32 << 20, 1 << 20
	served, peer := servedPair(t, "tcp", nil, netpoll.WithReadTimeout(eventTimeout))
	client, plain := rawPair(t, "tcp")
	exchange := func(n int) {
		data := make([]byte, n)
		for _, end := range []struct {
			conn netpoll.Connection
			peer net.Conn
		}{{served, peer}, {client, plain}} {
			sent := make(chan error, 1)
			go func() { _, err := end.peer.Write(data); sent <- err }()
			p, err := end.conn.Reader().Next(n)
			require.NoError(t, err)
			require.Len(t, p, n)
			require.NoError(t, end.conn.Reader().Release())
			require.NoError(t, receive(t, sent))

			received := make(chan error, 1)
			go func() { _, err := io.CopyN(io.Discard, end.peer, int64(n)); received <- err }()
			region, err := end.conn.Writer().Malloc(n)
			require.NoError(t, err)
			require.Len(t, region, n)
			require.NoError(t, end.conn.Writer().Flush())
			require.NoError(t, receive(t, received))
		}
	}
	exchange(1000)
	before := heapInUse()
	exchange(size)
	var grown int64
	eventually(t, func() bool { grown = heapInUse() - before; return grown < budget })
	t.Logf("%d bytes of heap more after %d bytes went each way twice", grown, size)
	require.True(t, served.IsActive() && client.IsActive())
}

// Behaviour 8.1: input that was read byte by byte and by Read leaves nothing behind either.
func TestMemoryGoesBackAfterReading(t *testing.T) {
	const rounds, budget = 64, 256 << 10
	conn, peer := rawPair(t, "tcp")
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(eventTimeout)))
	data := pattern(256 << 10)
	before := heapInUse()
	for range rounds {
		sent := make(chan error, 1)
		go func() { _, err := peer.Write(data); sent <- err }()
		_, err := io.ReadFull(conn, make([]byte, len(data)-2))
		require.NoError(t, err)
		_, err = conn.Reader().ReadByte()
		require.NoError(t, err)
		require.NoError(t, conn.Reader().Skip(1))
		require.NoError(t, receive(t, sent))
	}
	grown := heapInUse() - before
	t.Logf("%d bytes of heap more after %d bytes were read", grown, rounds*len(data))
	require.Less(t, grown, int64(budget))
}
