//go:build linux

package test

// Looks past the input buffer: the liveness checks of connection pools, over RawConn.Read and by IsHealthyForReuse.

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
)

// wrappedTCP and wrappedUnix are net.Conns of others that show their descriptor.
type (
	wrappedTCP  struct{ *net.TCPConn }
	wrappedUnix struct{ *net.UnixConn }
)

// overCarriers runs a test with connections that are made in different ways, and a peer of package net each.
func overCarriers(t *testing.T, f func(t *testing.T, connect func() (netpoll.Connection, net.Conn))) {
	testkit.OverNetworks(t, func(t *testing.T, network string) {
		for name, wrap := range map[string]func(conn net.Conn) net.Conn{
			"dialed":     nil,
			"taken over": func(conn net.Conn) net.Conn { return conn },
			"wrapped": func(conn net.Conn) net.Conn {
				if tcp, ok := conn.(*net.TCPConn); ok {
					return wrappedTCP{tcp}
				}
				return wrappedUnix{conn.(*net.UnixConn)}
			},
		} {
			t.Run(name, func(t *testing.T) {
				f(t, func() (netpoll.Connection, net.Conn) {
					if wrap == nil {
						return testnet.Dialed(t, network)
					}
					ln, err := net.Listen(network, testkit.LocalAddress(t, network))
					require.NoError(t, err)
					defer ln.Close()
					plain := testkit.Dial(t, ln.Addr())
					peer, err := ln.Accept()
					require.NoError(t, err)
					t.Cleanup(func() { peer.Close() })
					conn, err := netpoll.NewConnection(wrap(plain))
					require.NoError(t, err)
					t.Cleanup(func() { conn.Close() })
					return conn, peer
				})
			})
		}
	})
}

var errUnexpected = errors.New("unexpected bytes from an idle peer")

// alive is the check of database drivers before they use a connection of their pool again: it must have nothing to read
// and no end.
func alive(conn net.Conn) (verdict error) {
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return err
	}
	err = raw.Read(func(fd uintptr) bool {
		switch n, err := syscall.Read(int(fd), make([]byte, 1)); {
		case n > 0:
			verdict = errUnexpected
		case err == nil:
			verdict = io.EOF
		case err != syscall.EAGAIN:
			verdict = err
		}
		return true
	})
	return errors.Join(err, verdict)
}

// Behaviour 9.7: the liveness check of a pool finds an idle connection healthy, and one with a stale reply not, in
// whose hands the reply may be; and it sees the peer's end.
func TestLivenessCheckSeesWhatIsBuffered(t *testing.T) {
	overCarriers(t, func(t *testing.T, connect func() (netpoll.Connection, net.Conn)) {
		conn, peer := connect()
		for range 3 {
			require.NoError(t, alive(conn))
		}
		testkit.Send(t, peer, "reply")
		got, err := conn.Reader().ReadString(5)
		require.NoError(t, err)
		require.Equal(t, "reply", got)
		require.NoError(t, alive(conn))

		testkit.Send(t, peer, "stale")
		testnet.Buffered(t, conn, 5)
		require.ErrorIs(t, alive(conn), netpoll.ErrBufferedInput)
		got, err = conn.Reader().ReadString(5)
		require.NoError(t, err)
		require.Equal(t, "stale", got, "the check took something")
		require.NoError(t, alive(conn))

		require.NoError(t, peer.Close())
		testkit.Eventually(t, func() bool { return !conn.IsActive() })
		require.ErrorIs(t, alive(conn), io.EOF)
		require.NoError(t, conn.Close())
		require.ErrorIs(t, alive(conn), net.ErrClosed)
	})
}

// Behaviour 9.7: the same before the poller has noticed what the peer did a moment ago: at no moment do bytes or the
// end hide between the socket and the buffer.
func TestLivenessChecksSeeWhatComesAtThatMoment(t *testing.T) {
	overCarriers(t, func(t *testing.T, connect func() (netpoll.Connection, net.Conn)) {
		conn, peer := connect()
		healthy := conn.(interface{ IsHealthyForReuse(time.Duration) bool }).IsHealthyForReuse
		for i := range 200 {
			testkit.Send(t, peer, "x")
			if i%2 == 0 {
				require.False(t, healthy(testkit.Timeout))
				require.NoError(t, conn.Reader().Skip(1), "it was taken")
				continue
			}
			err := alive(conn)
			require.Error(t, err)
			if errors.Is(err, netpoll.ErrBufferedInput) {
				require.NoError(t, conn.Reader().Skip(1))
			}
		}
		require.True(t, healthy(testkit.Timeout))
		require.NoError(t, peer.Close())
		require.False(t, healthy(testkit.Timeout))
	})
}

// A function of RawConn.Read waits over any net.Conn too: for input, for its deadline, for Close.
func TestRawReadWaitsOverEveryCarrier(t *testing.T) {
	overCarriers(t, func(t *testing.T, connect func() (netpoll.Connection, net.Conn)) {
		conn, peer := connect()
		var n int
		looked := make(chan struct{}, 8)
		read := func() error {
			return rawConnOf(t, conn).Read(func(fd uintptr) bool {
				var err error
				n, err = syscall.Read(int(fd), make([]byte, 8))
				looked <- struct{}{}
				return err != syscall.EAGAIN
			})
		}
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(testkit.Short)))
		require.ErrorIs(t, read(), os.ErrDeadlineExceeded)
		require.ErrorIs(t, read(), netpoll.ErrReadTimeout)
		require.NoError(t, conn.SetReadDeadline(time.Time{}))
		testkit.Receive(t, looked)

		done := testkit.Blocked(t, read)
		testkit.Receive(t, looked)
		testkit.Send(t, peer, "raw")
		require.NoError(t, testkit.Receive(t, done))
		require.Equal(t, 3, n)
		testkit.Send(t, peer, "buffered")
		got, err := conn.Reader().ReadString(8)
		require.NoError(t, err)
		require.Equal(t, "buffered", got)

		done = testkit.Blocked(t, read)
		_, err = conn.Reader().Peek(1)
		require.ErrorIs(t, err, netpoll.ErrConcurrentAccess)
		require.NoError(t, conn.Close())
		require.ErrorIs(t, testkit.Receive(t, done), net.ErrClosed)
	})
}

// slowToHeed is a net.Conn whose Read takes long to return when its deadline has passed.
type slowToHeed struct {
	*net.TCPConn
	begun, timedOut, late chan struct{}
}

func (s slowToHeed) Read(p []byte) (n int, err error) {
	select {
	case s.begun <- struct{}{}:
	default:
	}
	if n, err = s.TCPConn.Read(p); errors.Is(err, os.ErrDeadlineExceeded) {
		s.timedOut <- struct{}{}
		<-s.late
	}
	return n, err
}

// A function of RawConn.Read that gives up before the Read of a net.Conn makes way leaves the connection as it was.
func TestRawReadThatGivesUpLeavesTheConnectionAsItWas(t *testing.T) {
	ln, err := net.Listen("tcp", testkit.LocalAddress(t, "tcp"))
	require.NoError(t, err)
	defer ln.Close()
	plain := testkit.Dial(t, ln.Addr())
	peer, err := ln.Accept()
	require.NoError(t, err)
	defer peer.Close()
	slow := slowToHeed{plain.(*net.TCPConn), make(chan struct{}, 1), make(chan struct{}, 1), make(chan struct{})}
	conn, err := netpoll.NewConnection(slow)
	require.NoError(t, err)
	defer conn.Close()
	goOn := sync.OnceFunc(func() { close(slow.late) })
	defer goOn()

	testkit.Receive(t, slow.begun)
	err = rawConnOf(t, conn).Read(func(uintptr) bool { return true })
	require.ErrorIs(t, err, netpoll.ErrUnsupported, "the descriptor is not free in time")
	testkit.Receive(t, slow.timedOut)
	goOn()
	testkit.Send(t, peer, "hello")
	got, err := conn.Reader().ReadString(5)
	require.NoError(t, err)
	require.Equal(t, "hello", got)
}

func rawConnOf(t *testing.T, conn netpoll.Connection) syscall.RawConn {
	t.Helper()
	raw, err := conn.(syscall.Conn).SyscallConn()
	require.NoError(t, err)
	return raw
}

// reusable is the interface that pools look for by assertion.
type reusable interface {
	IsHealthyForReuse(wait time.Duration) bool
}

// Behaviour 9.10: reasons why a connection is unfit for its pool.
func TestIsHealthyForReuse(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(t *testing.T, conn netpoll.Connection, peer net.Conn){
		"unread input": func(t *testing.T, conn netpoll.Connection, peer net.Conn) {
			testkit.Send(t, peer, "x")
			testnet.Buffered(t, conn, 1)
		},
		"the peer's end": func(t *testing.T, conn netpoll.Connection, peer net.Conn) {
			require.NoError(t, peer.Close())
			testkit.Eventually(t, func() bool { return !conn.IsActive() })
		},
		"the peer's half-close": func(t *testing.T, _ netpoll.Connection, peer net.Conn) {
			require.NoError(t, peer.(interface{ CloseWrite() error }).CloseWrite())
		},
		"closed": func(t *testing.T, conn netpoll.Connection, _ net.Conn) { require.NoError(t, conn.Close()) },
		"half-closed": func(t *testing.T, conn netpoll.Connection, _ net.Conn) {
			require.NoError(t, conn.(interface{ CloseWrite() error }).CloseWrite())
		},
		"closed for reading": func(t *testing.T, conn netpoll.Connection, _ net.Conn) {
			require.NoError(t, conn.(interface{ CloseRead() error }).CloseRead())
		},
		"output that was not flushed": func(t *testing.T, conn netpoll.Connection, _ net.Conn) {
			_, err := conn.Writer().WriteString("x")
			require.NoError(t, err)
		},
		"output that was not sent": func(t *testing.T, conn netpoll.Connection, _ net.Conn) {
			require.NoError(t, conn.SetWriteTimeout(testkit.Short))
			_, err := conn.Writer().Malloc(8 << 20)
			require.NoError(t, err)
			require.ErrorIs(t, conn.Writer().Flush(), netpoll.ErrWriteTimeout)
		},
		"a reader": func(t *testing.T, conn netpoll.Connection, _ net.Conn) {
			testkit.Blocked(t, func() error { _, err := conn.Reader().Peek(1); return err })
		},
		"a Read": func(t *testing.T, conn netpoll.Connection, _ net.Conn) {
			testkit.Blocked(t, func() error { _, err := conn.Read(make([]byte, 1)); return err })
		},
		"a Write": func(t *testing.T, conn netpoll.Connection, _ net.Conn) {
			testkit.Blocked(t, func() error { _, err := conn.Write(make([]byte, 8<<20)); return err })
		},
		"a handler": func(t *testing.T, conn netpoll.Connection, peer net.Conn) {
			running, done := make(chan struct{}), make(chan struct{})
			t.Cleanup(func() { close(done) })
			require.NoError(t, conn.SetOnRequest(func(_ context.Context, conn netpoll.Connection) error {
				err := conn.Reader().Skip(conn.Reader().Len())
				close(running)
				<-done
				return err
			}))
			testkit.Send(t, peer, "x")
			testkit.Receive(t, running)
		},
	} {
		t.Run(name, func(t *testing.T) {
			overCarriers(t, func(t *testing.T, connect func() (netpoll.Connection, net.Conn)) {
				conn, peer := connect()
				healthy := conn.(reusable).IsHealthyForReuse
				for range 3 {
					require.True(t, healthy(testkit.Timeout))
				}
				require.True(t, healthy(1<<63-1))
				require.False(t, healthy(0))
				require.False(t, healthy(-1))
				requireExchange(t, conn, peer)
				require.True(t, healthy(testkit.Timeout))
				spoil(t, conn, peer)
				require.False(t, healthy(testkit.Timeout))
				require.False(t, healthy(testkit.Timeout))
			})
		})
	}
}

// requireExchange sends one message each way.
func requireExchange(t *testing.T, conn netpoll.Connection, peer net.Conn) {
	t.Helper()
	_, err := conn.Write([]byte("ping"))
	require.NoError(t, err)
	require.NoError(t, peer.SetReadDeadline(time.Now().Add(testkit.Timeout)))
	_, err = io.ReadFull(peer, make([]byte, 4))
	require.NoError(t, err)
	testkit.Send(t, peer, "pong")
	require.NoError(t, conn.SetReadTimeout(testkit.Timeout))
	_, err = io.ReadFull(conn, make([]byte, 4))
	require.NoError(t, err)
}

// Behaviour 9.10, 2.3: a reset makes it false, and readers learn of it although the socket reports it only once.
func TestIsHealthyForReuseAfterAReset(t *testing.T) {
	for range 20 {
		conn, peer := testnet.Dialed(t, "tcp")
		require.NoError(t, peer.(*net.TCPConn).SetLinger(0))
		require.NoError(t, peer.Close())
		require.False(t, conn.(reusable).IsHealthyForReuse(testkit.Timeout))
		require.NoError(t, conn.SetReadTimeout(testkit.Timeout))
		_, err := conn.Read(make([]byte, 1))
		require.ErrorIs(t, err, syscall.ECONNRESET)
		require.False(t, conn.(reusable).IsHealthyForReuse(testkit.Timeout))
		require.NoError(t, conn.Close())
	}
}

// Behaviour 9.10: a detached connection cannot be handed out.
func TestDetachedConnectionIsNotHealthyForReuse(t *testing.T) {
	conn, _ := testnet.Dialed(t, "tcp")
	fd := conn.(netpoll.Conn).Fd()
	require.NoError(t, conn.(detacher).Detach())
	require.False(t, conn.(reusable).IsHealthyForReuse(testkit.Timeout))
	require.NoError(t, closeGivenBack(conn, fd))
}

// Behaviour 9.10: of a net.Conn that shows no descriptor the answer is what has been noticed.
func TestIsHealthyForReuseOverTLS(t *testing.T) {
	for name, wrap := range map[string]func(conn net.Conn) net.Conn{
		"pipe": func(conn net.Conn) net.Conn { return conn },
		"TLS":  func(conn net.Conn) net.Conn { return tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) },
	} {
		a, b := net.Pipe()
		defer b.Close()
		plain := wrap(a)
		conn, err := netpoll.NewConnection(plain)
		require.NoError(t, err)
		if name == "pipe" {
			require.True(t, conn.(reusable).IsHealthyForReuse(time.Nanosecond))
			testkit.Send(t, b, "x")
			testnet.Buffered(t, conn, 1)
			require.False(t, conn.(reusable).IsHealthyForReuse(testkit.Timeout))
		}
		require.NoError(t, conn.Close())
		require.False(t, conn.(reusable).IsHealthyForReuse(testkit.Timeout))
	}
}

// Behaviour 9.10: an end of a pipe can be looked at, too.
func TestIsHealthyForReuseOfAPipe(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer w.Close()
	dup, err := syscall.Dup(int(r.Fd()))
	require.NoError(t, err)
	require.NoError(t, r.Close())
	conn, err := netpoll.NewFDConnection(dup)
	require.NoError(t, err)
	defer conn.Close()
	require.True(t, conn.(reusable).IsHealthyForReuse(testkit.Timeout))
	_, err = w.WriteString("x")
	require.NoError(t, err)
	require.False(t, conn.(reusable).IsHealthyForReuse(testkit.Timeout))
	_, err = io.ReadFull(conn, make([]byte, 1))
	require.NoError(t, err)
	require.True(t, conn.(reusable).IsHealthyForReuse(testkit.Timeout))
	require.NoError(t, w.Close())
	require.False(t, conn.(reusable).IsHealthyForReuse(testkit.Timeout))
}
