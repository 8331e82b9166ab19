//go:build !netconn && !kqsim

package test

// Connections over shared memory.

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/nettest"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
)

// listenShm listens until the test ends.
func listenShm(t testing.TB, config netpoll.ShmConfig) netpoll.Listener {
	t.Helper()
	inner, err := net.ListenUnix("unix", &net.UnixAddr{Name: testkit.LocalAddress(t, "unix"), Net: "unix"})
	require.NoError(t, err)
	ln, err := netpoll.NewShmListener(inner, config)
	require.NoError(t, err)
	t.Cleanup(func() { ln.Close() })
	return ln
}

// shmPair returns the two ends of a connection, the dialed and the accepted one.
func shmPair(t testing.TB, config netpoll.ShmConfig) (client, server netpoll.Connection) {
	t.Helper()
	ln := listenShm(t, config)
	client, err := (&netpoll.ShmDialer{Config: config}).DialConnection("shm", ln.Addr().String(), testkit.Timeout)
	require.NoError(t, err)
	t.Cleanup(func() { client.Close() })
	accepted, err := ln.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { accepted.Close() })
	return client, accepted.(netpoll.Connection)
}

func TestSharedMemoryConformsToNetConn(t *testing.T) {
	t.Parallel()
	t.Run("dialed to accepted", func(t *testing.T) {
		nettest.TestConn(t, pipeMaker(listenShm(t, netpoll.ShmConfig{}), dialNetpoll))
	})
	t.Run("with busy polling", func(t *testing.T) {
		config := netpoll.ShmConfig{BusyPoll: time.Millisecond}
		dialer := &netpoll.ShmDialer{Config: config}
		nettest.TestConn(t, pipeMaker(listenShm(t, config), dialer.Dial))
	})
	t.Run("accepted from dialed, the smallest ring", func(t *testing.T) {
		config := netpoll.ShmConfig{RingSize: 4 << 10}
		dialer := &netpoll.ShmDialer{Config: config}
		nettest.TestConn(t, swapped(pipeMaker(listenShm(t, config), dialer.Dial)))
	})
}

func TestSharedMemoryCarriesEverythingBothWays(t *testing.T) {
	for _, ring := range []int{4 << 10, 0, 1 << 20} {
		a, b := shmPair(t, netpoll.ShmConfig{RingSize: ring})
		require.Equal(t, "shm", a.RemoteAddr().Network())
		require.Equal(t, "shm", b.LocalAddr().Network())
		require.Equal(t, a.RemoteAddr().String(), b.LocalAddr().String())
		var all sync.WaitGroup
		for _, ends := range [][2]netpoll.Connection{{a, b}, {b, a}} {
			const total = 8 << 20
			sum := make(chan [32]byte, 1)
			all.Go(func() {
				rng, h := rand.NewChaCha8([32]byte{1}), sha256.New()
				p := make([]byte, 100_000)
				for left := total; left > 0; {
					n := min(left, 1+int(rng.Uint64()%uint64(len(p))))
					_, _ = rng.Read(p[:n])
					h.Write(p[:n])
					if _, err := ends[0].Write(p[:n]); err != nil {
						t.Error(err)
						return
					}
					left -= n
				}
				sum <- [32]byte(h.Sum(nil))
			})
			all.Go(func() {
				h := sha256.New()
				if _, err := io.CopyN(h, ends[1], total); err != nil {
					t.Error(err)
					return
				}
				if [32]byte(h.Sum(nil)) != <-sum {
					t.Error("other bytes arrived")
				}
			})
		}
		all.Wait()
	}
}

func TestEventLoopServesSharedMemory(t *testing.T) {
	for name, config := range map[string]netpoll.ShmConfig{
		"woken":   {},
		"polling": {BusyPoll: 100 * time.Microsecond},
	} {
		t.Run(name, func(t *testing.T) { eventLoopServesShm(t, config) })
	}
}

func eventLoopServesShm(t *testing.T, config netpoll.ShmConfig) {
	var gone sync.WaitGroup
	s := testnet.ServeOn(t, listenShm(t, config), testnet.Echo, netpoll.WithOnConnect(
		func(ctx context.Context, conn netpoll.Connection) context.Context {
			gone.Add(1)
			_ = conn.AddCloseCallback(func(netpoll.Connection) error { gone.Done(); return nil })
			return ctx
		}))
	addr := s.Listener.Addr()
	var clients sync.WaitGroup
	for range 20 {
		clients.Go(func() {
			conn, err := (&netpoll.ShmDialer{Config: config}).DialConnection(addr.Network(), addr.String(), testkit.Timeout)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			for range 50 {
				if err := testkit.RoundTrip(conn.(net.Conn), "a message"); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	clients.Wait()
	gone.Wait()
	require.NoError(t, s.Loop.Shutdown(context.Background()))
}

func TestHalfCloseOfSharedMemory(t *testing.T) {
	a, b := shmPair(t, netpoll.ShmConfig{RingSize: 4 << 10})
	sent := make(chan error, 1)
	request := testkit.Pattern(100_000)
	go func() {
		_, err := a.Write(request)
		sent <- errors.Join(err, a.(halfCloser).CloseWrite())
	}()
	got, err := io.ReadAll(b)
	require.NoError(t, err)
	require.Equal(t, request, got)
	require.NoError(t, testkit.Receive(t, sent))
	_, err = b.Write(request[:50_000])
	require.NoError(t, err)
	require.NoError(t, b.Close())
	got, err = io.ReadAll(a)
	require.NoError(t, err)
	require.Equal(t, request[:50_000], got)
	_, err = a.Write([]byte("x"))
	require.ErrorIs(t, err, netpoll.ErrConnClosed)
}

// What was flushed arrives, although its sender has closed the connection before the other side begins to read.
func TestFlushedBytesOutliveTheirSender(t *testing.T) {
	a, b := shmPair(t, netpoll.ShmConfig{})
	_, err := a.Write(testkit.Pattern(100_000))
	require.NoError(t, err)
	require.NoError(t, a.Close())
	got, err := io.ReadAll(b)
	require.NoError(t, err)
	require.Equal(t, testkit.Pattern(100_000), got)
	require.False(t, b.IsActive())
}

// A writer that waits for room ends with the connection of its peer, with its timeout, and with its own Close.
func TestWaitingForRoomInSharedMemoryEnds(t *testing.T) {
	for name, end := range map[string]struct {
		how  func(a, b netpoll.Connection) error
		want error
	}{
		"peer closed": {func(_, b netpoll.Connection) error { return b.Close() }, syscall.EPIPE},
		"closed":      {func(a, _ netpoll.Connection) error { return a.Close() }, netpoll.ErrConnClosed},
		"timeout":     {func(a, _ netpoll.Connection) error { return a.SetWriteDeadline(time.Now()) }, netpoll.ErrWriteTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := shmPair(t, netpoll.ShmConfig{RingSize: 4 << 10})
			require.NoError(t, b.(netpoll.ReadLimiter).SetReadLimit(1<<10))
			result := testkit.Blocked(t, func() error { _, err := a.Write(make([]byte, 1<<20)); return err })
			require.NoError(t, end.how(a, b))
			require.ErrorIs(t, testkit.Receive(t, result), end.want)
		})
	}
}

// Others than the user of this process are refused by default, and a client that is silent, or says something else, is
// closed in time. None of them holds up those that come after it.
func TestClientsThatDoNotAgree(t *testing.T) {
	config := netpoll.ShmConfig{SetupTimeout: testkit.Short}
	ln := listenShm(t, config)
	dial := func() net.Conn {
		c, err := net.Dial("unix", ln.Addr().String())
		require.NoError(t, err)
		t.Cleanup(func() { c.Close() })
		require.NoError(t, c.SetDeadline(time.Now().Add(testkit.Timeout)))
		return c
	}
	silent, other, half := dial(), dial(), dial()
	_, err := other.Write([]byte("GET / HTTP/1.1\r\n\r\n"))
	require.NoError(t, err)
	_, err = half.Write([]byte("netpollshm"))
	require.NoError(t, err)
	good, err := netpoll.DialConnection("shm", ln.Addr().String(), testkit.Timeout)
	require.NoError(t, err)
	defer good.Close()
	accepted, err := ln.Accept()
	require.NoError(t, err)
	defer accepted.Close()
	require.NoError(t, testkit.ErrorOf(good.Write([]byte("hello"))))
	_, err = io.ReadFull(accepted, make([]byte, 5))
	require.NoError(t, err)
	for _, c := range []net.Conn{silent, other, half} {
		_, err := c.Read(make([]byte, 1))
		require.True(t, err == io.EOF || errors.Is(err, syscall.ECONNRESET), "%v", err)
	}

	refusing := listenShm(t, netpoll.ShmConfig{AllowUser: func(uint32) bool { return false }})
	_, err = netpoll.DialConnection("shm", refusing.Addr().String(), testkit.Timeout)
	require.Error(t, err)
	var op *net.OpError
	require.ErrorAs(t, err, &op)
	require.Equal(t, "shm", op.Net)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)

	plain := testkit.Listen(t, "unix")
	_, err = netpoll.DialConnection("shm", plain.Addr().String(), testkit.Short)
	require.ErrorIs(t, err, netpoll.ErrDialTimeout, "a server that says nothing")
	limited := &netpoll.ShmDialer{}
	limited.Timeout = testkit.Short
	_, err = limited.Dial("shm", plain.Addr().String())
	require.ErrorIs(t, err, netpoll.ErrDialTimeout, "the timeout of the net.Dialer")
	_, err = netpoll.DialConnection("shm", testkit.LocalAddress(t, "unix"), testkit.Timeout)
	require.ErrorIs(t, err, syscall.ENOENT)
}

// Clients that are silent make way for those that come after them, however long they may be silent.
func TestSilentClientsHoldUpNobody(t *testing.T) {
	ln := listenShm(t, netpoll.ShmConfig{SetupTimeout: time.Hour})
	for range 600 {
		c, err := net.Dial("unix", ln.Addr().String())
		require.NoError(t, err)
		t.Cleanup(func() { c.Close() })
	}
	conn, err := netpoll.DialConnection("shm", ln.Addr().String(), testkit.Timeout)
	require.NoError(t, err)
	defer conn.Close()
	accepted, err := ln.Accept()
	require.NoError(t, err)
	require.NoError(t, accepted.Close())
}

// A pool learns of input, and of a peer that is gone, from the memory and the socket themselves.
func TestPoolLooksAtSharedMemory(t *testing.T) {
	ln := listenShm(t, netpoll.ShmConfig{})
	healthy := func(c netpoll.Connection) bool {
		return c.(netpoll.HealthChecker).IsHealthyForReuse(testkit.Timeout)
	}
	h, conn := hostile(t, ln)
	require.True(t, healthy(conn))
	h.set(shmSent, 5) // without a wake-up: no poller knows of it
	require.False(t, healthy(conn), "input")
	h, conn = hostile(t, ln)
	require.True(t, healthy(conn))
	require.NoError(t, h.Close())
	require.False(t, healthy(conn), "the peer is gone")
}

// With Fallback both sides use the socket where there is no memory for one more, and so do clients that know nothing of it.
func TestFallbackUsesTheSocket(t *testing.T) {
	config := netpoll.ShmConfig{Fallback: true, RingSize: 64 << 10, MaxMemory: 64 << 10}
	ln := listenShm(t, config)
	dialer := &netpoll.ShmDialer{Config: config}
	check := func(client net.Conn, network string) (accepted net.Conn) {
		t.Helper()
		t.Cleanup(func() { client.Close() })
		require.NoError(t, testkit.ErrorOf(client.Write([]byte("hello"))))
		accepted, err := ln.Accept()
		require.NoError(t, err)
		t.Cleanup(func() { accepted.Close() })
		require.Equal(t, network, accepted.LocalAddr().Network())
		p := make([]byte, 5)
		_, err = io.ReadFull(accepted, p)
		require.NoError(t, err)
		require.Equal(t, "hello", string(p))
		return accepted
	}
	first, err := dialer.Dial("shm", ln.Addr().String())
	require.NoError(t, err)
	server := check(first, "shm")
	second, err := dialer.Dial("shm", ln.Addr().String())
	require.NoError(t, err)
	check(second, "unix")
	plain, err := net.Dial("unix", ln.Addr().String())
	require.NoError(t, err)
	check(plain, "unix")
	strict := &netpoll.ShmDialer{Config: netpoll.ShmConfig{RingSize: 64 << 10}}
	_, err = strict.Dial("shm", ln.Addr().String())
	require.Error(t, err, "this one does not allow it")

	closed := make(chan struct{})
	require.NoError(t, server.(netpoll.Connection).AddCloseCallback(func(netpoll.Connection) error { close(closed); return nil }))
	require.NoError(t, server.Close())
	testkit.Receive(t, closed)
	testkit.Eventually(t, func() bool {
		again, err := dialer.DialConnection("shm", ln.Addr().String(), testkit.Timeout)
		require.NoError(t, err)
		defer again.Close()
		accepted, err := ln.Accept()
		require.NoError(t, err)
		defer accepted.Close()
		return accepted.LocalAddr().Network() == "shm"
	}, "the memory of a connection that has ended is free for another")
}

func TestWrongSettingsOfSharedMemory(t *testing.T) {
	_, err := netpoll.NewShmListener(nil, netpoll.ShmConfig{})
	require.ErrorContains(t, err, "nil")
	for _, size := range []int{-1, 1, 4095, 5000, 128 << 20} {
		config := netpoll.ShmConfig{RingSize: size}
		inner, err := net.ListenUnix("unix", &net.UnixAddr{Name: testkit.LocalAddress(t, "unix"), Net: "unix"})
		require.NoError(t, err)
		_, err = netpoll.NewShmListener(inner, config)
		require.ErrorContains(t, err, "power of two")
		require.NoError(t, inner.Close(), "it still belongs to the program")
		_, err = (&netpoll.ShmDialer{Config: config}).DialConnection("shm", "nowhere", 0)
		require.ErrorContains(t, err, "power of two")
	}
}

func TestTLSOverSharedMemory(t *testing.T) {
	server, client := newTLSConfigs(t)
	ln := netpoll.NewTLSListener(listenShm(t, netpoll.ShmConfig{}), server)
	conn, err := netpoll.DialConnection("shm", ln.Addr().String(), testkit.Timeout)
	require.NoError(t, err)
	defer conn.Close()
	accepted, err := ln.Accept()
	require.NoError(t, err)
	defer accepted.Close()
	echoed := make(chan error, 1)
	go func() {
		_, err := io.CopyN(accepted, accepted, 100_000)
		echoed <- err
	}()
	session := tls.Client(conn.(net.Conn), client)
	sent := testkit.Pattern(100_000)
	go func() { _, _ = session.Write(sent) }()
	got := make([]byte, len(sent))
	_, err = io.ReadFull(session, got)
	require.NoError(t, err)
	require.Equal(t, sent, got)
	require.NoError(t, testkit.Receive(t, echoed))
}

// The descriptor carries wake-ups, so it is not for programs.
func TestSharedMemoryKeepsItsDescriptor(t *testing.T) {
	a, b := shmPair(t, netpoll.ShmConfig{})
	require.Equal(t, -1, a.(netpoll.Conn).Fd())
	_, err := a.(syscall.Conn).SyscallConn()
	require.ErrorIs(t, err, netpoll.ErrUnsupported)
	_, err = a.(netpoll.Filer).File()
	require.ErrorIs(t, err, netpoll.ErrUnsupported)
	require.ErrorIs(t, a.(netpoll.Detacher).Detach(), netpoll.ErrUnsupported)
	_, err = netpoll.TLSServer(a, new(tls.Config))
	require.ErrorIs(t, err, netpoll.ErrUnsupported)
	require.NoError(t, testkit.ErrorOf(a.Write([]byte("it goes on"))))
	_, err = io.ReadFull(b, make([]byte, 10))
	require.NoError(t, err)
}
