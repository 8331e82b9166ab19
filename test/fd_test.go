//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package test

// This file holds the tests of connections that are made of descriptors.

import (
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
)

// Behaviour 5.13: NewFDConnection has nil addresses when the descriptor has none; timeouts still work on it.
func TestFDConnectionsOfASocketPair(t *testing.T) {
	r, w := netpoll.GetSysFdPairs()
	requireCloseOnExec(t, r)
	requireCloseOnExec(t, w)
	reader, err := netpoll.NewFDConnection(r)
	require.NoError(t, err)
	defer reader.Close()
	writer, err := netpoll.NewFDConnection(w)
	require.NoError(t, err)
	defer writer.Close()

	require.Equal(t, r, reader.(netpoll.Conn).Fd())
	require.True(t, reader.LocalAddr() == nil)
	require.True(t, reader.RemoteAddr() == nil)

	require.NoError(t, reader.SetReadTimeout(time.Millisecond))
	_, err = reader.Reader().Next(1)
	require.ErrorIs(t, err, netpoll.ErrReadTimeout)
	require.NoError(t, reader.SetIdleTimeout(time.Second))
	require.NoError(t, reader.SetReadTimeout(testkit.Timeout))

	_, err = writer.Write([]byte("hello"))
	require.NoError(t, err)
	p, err := reader.Reader().Next(5)
	require.NoError(t, err)
	require.Equal(t, "hello", string(p))
	require.NoError(t, reader.Reader().Release())
	require.NoError(t, writer.Close())
	_, err = reader.Read(make([]byte, 1))
	require.Equal(t, io.EOF, err)
}

func TestFDConnectionOfATCPSocketIsATCPConnection(t *testing.T) {
	addr := testnet.NewServer(t, "tcp", testnet.Echo).Addr()
	plain := testkit.Dial(t, addr).(*net.TCPConn)
	f, err := plain.File()
	require.NoError(t, err)
	fd, err := unix.Dup(int(f.Fd())) // blocking, and not close-on-exec: both must change
	require.NoError(t, err)
	require.NoError(t, f.Close())

	conn, err := netpoll.NewFDConnection(fd)
	require.NoError(t, err)
	defer conn.Close()
	require.IsType(t, (*netpoll.TCPConnection)(nil), conn)
	require.Equal(t, plain.LocalAddr(), conn.LocalAddr())
	require.Equal(t, plain.RemoteAddr(), conn.RemoteAddr())
	requireCloseOnExec(t, fd)
	testkit.ExpectEcho(t, conn, "hello")
}

func TestFDConnectionOfAPipe(t *testing.T) {
	var ends [2]int
	require.NoError(t, unix.Pipe(ends[:]))
	reader, err := netpoll.NewFDConnection(ends[0])
	require.NoError(t, err)
	defer reader.Close()
	_, err = unix.Write(ends[1], []byte("hello"))
	require.NoError(t, err)
	require.NoError(t, unix.Close(ends[1]))
	require.NoError(t, reader.SetReadTimeout(testkit.Timeout))
	got, err := io.ReadAll(reader)
	require.NoError(t, err)
	require.Equal(t, "hello", string(got))
}

func TestFDConnectionRefusesWhatIsNoStream(t *testing.T) {
	file, err := os.CreateTemp(t.TempDir(), "")
	require.NoError(t, err)
	defer file.Close()
	datagrams, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	require.NoError(t, err)
	defer unix.Close(datagrams)
	ln := testnet.Listen(t, "tcp")
	for name, c := range map[string]struct {
		fd   int
		want error
	}{
		"negative":  {-1, unix.EBADF},
		"closed":    {1 << 19, unix.EBADF},
		"file":      {int(file.Fd()), netpoll.ErrUnsupported},
		"datagrams": {datagrams, netpoll.ErrUnsupported},
		"listener":  {ln.Fd(), nil},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := netpoll.NewFDConnection(c.fd)
			require.Error(t, err)
			if c.want != nil {
				require.ErrorIs(t, err, c.want)
			}
			require.True(t, conn == nil, "must be a nil interface")
		})
	}
	_, err = file.Write([]byte("still mine"))
	require.NoError(t, err)
	acceptOne(t, ln, func() { testkit.Dial(t, ln.Addr()) })
}

func TestSetKeepAliveReachesTheSocket(t *testing.T) {
	conn := testnet.Dial(t, testnet.NewServer(t, "tcp", testnet.Echo).Addr())
	fd := conn.(netpoll.Conn).Fd()
	require.NoError(t, netpoll.SetKeepAlive(fd, 33))
	require.Equal(t, 1, socketOption(t, fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE))
	requireKeepAlive(t, 33, fd, tcpKeepIdle)
	requireKeepAlive(t, 33, fd, tcpKeepInterval)

	require.ErrorIs(t, netpoll.SetKeepAlive(fd, 0), unix.EINVAL)
	require.ErrorIs(t, netpoll.SetKeepAlive(-1, 1), unix.EBADF)
}

func TestSysFdPairsWithoutDescriptorsAreInvalid(t *testing.T) {
	testkit.OwnProcess(t, func(t *testing.T) {
		hog := limitDescriptors(t, 64)
		hog.takeAll(t)
		r, w := netpoll.GetSysFdPairs()
		require.Equal(t, [2]int{-1, -1}, [2]int{r, w})
		hog.free(len(hog.files))
	})
}
