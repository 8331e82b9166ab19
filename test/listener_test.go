//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package test

// This file holds the tests of listeners that are used directly. Listeners under a server are in eventloop_test.go.

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
)

// acceptOne accepts from ln while f connects.
func acceptOne(t *testing.T, ln net.Listener, connect func()) net.Conn {
	t.Helper()
	accepted := make(chan net.Conn, 1)
	go func() {
		conn, err := ln.Accept()
		if err == nil {
			accepted <- conn
		}
	}()
	connect()
	conn := testkit.Receive(t, accepted)
	t.Cleanup(func() { conn.Close() })
	return conn
}

// Behaviour 6.3: what CreateListener and ConvertListener return is a real net.Listener.
func TestListenerAcceptReturnsWorkingConnections(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		for name, ln := range map[string]net.Listener{
			"created":   testnet.Listen(t, network),
			"converted": convertedOn(t, network),
		} {
			t.Run(network+"/"+name, func(t *testing.T) {
				var client net.Conn
				server := acceptOne(t, ln, func() { client = testkit.Dial(t, ln.Addr()) })

				require.Implements(t, (*netpoll.Connection)(nil), server)
				require.Equal(t, ln.Addr().String(), server.LocalAddr().String())
				require.Equal(t, network, server.RemoteAddr().Network())
				if network == "tcp" {
					require.IsType(t, (*netpoll.TCPConnection)(nil), server)
					require.Equal(t, client.LocalAddr(), server.RemoteAddr())
				} else {
					require.IsType(t, (*netpoll.UnixConnection)(nil), server)
				}

				_, err := io.WriteString(client, "ping")
				require.NoError(t, err)
				got := make([]byte, 4)
				_, err = io.ReadFull(server, got)
				require.NoError(t, err)
				require.Equal(t, "ping", string(got))
				_, err = server.Write([]byte("pong")) // io.WriteString would find WriteString, which waits for Flush
				require.NoError(t, err)
				_, err = io.ReadFull(client, got)
				require.NoError(t, err)
				require.Equal(t, "pong", string(got))
			})
		}
	}
}

func convertedOn(t testing.TB, network string) netpoll.Listener {
	t.Helper()
	ln, err := netpoll.ConvertListener(testkit.Listen(t, network))
	require.NoError(t, err)
	t.Cleanup(func() { ln.Close() })
	return ln
}

// Behaviour 6.3: http.Serve works on it.
func TestListenerServesHTTP(t *testing.T) {
	ln := testnet.Listen(t, "tcp")
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, r.Body)
	})}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()

	client := &http.Client{Transport: new(http.Transport), Timeout: testkit.Timeout}
	defer client.CloseIdleConnections()
	for range 3 { // kept alive
		resp, err := client.Post("http://"+ln.Addr().String(), "text/plain", strings.NewReader("hello"))
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, "hello", string(body))
	}
	require.NoError(t, srv.Close())
	require.ErrorIs(t, testkit.Receive(t, served), http.ErrServerClosed)
}

func TestListenerCloseWakesEveryAccept(t *testing.T) {
	ln := testnet.Listen(t, "tcp")
	const waiting = 8
	failed := make(chan error, waiting)
	for range waiting {
		go func() {
			conn, err := ln.Accept()
			if err == nil {
				conn.Close()
			}
			failed <- err
		}()
	}
	// One connection gets through first, so that the others had the time to begin to wait.
	conn := testkit.Dial(t, ln.Addr())
	require.NoError(t, testkit.Receive(t, failed))
	require.NoError(t, ln.Close())
	for range waiting - 1 {
		err := testkit.Receive(t, failed)
		require.ErrorIs(t, err, net.ErrClosed)
		var op *net.OpError
		require.ErrorAs(t, err, &op)
		require.Equal(t, "accept", op.Op)
	}
	require.Equal(t, -1, ln.Fd())
	requireRefused(t, ln.Addr())
	conn.Close()
}

func requireRefused(t *testing.T, addr net.Addr) {
	t.Helper()
	conn, err := net.Dial(addr.Network(), addr.String())
	if err == nil {
		conn.Close()
	}
	require.Error(t, err)
}

func TestListenerAcceptRacesClose(t *testing.T) {
	for range 200 {
		ln := testnet.Listen(t, "tcp")
		addr := ln.Addr().String()
		var group sync.WaitGroup
		for range 2 {
			group.Go(func() {
				for {
					conn, err := ln.Accept()
					if err != nil {
						if !errors.Is(err, net.ErrClosed) {
							t.Error("accept:", err)
						}
						return
					}
					conn.Close()
				}
			})
		}
		group.Go(func() {
			if conn, err := net.Dial("tcp", addr); err == nil {
				conn.Close()
			}
			ln.Close()
		})
		group.Wait()
	}
}

func TestListenerSecondCloseIsErrClosed(t *testing.T) {
	for _, ln := range []netpoll.Listener{testnet.Listen(t, "tcp"), convertedOn(t, "tcp")} {
		require.NoError(t, ln.Close())
		require.ErrorIs(t, ln.Close(), net.ErrClosed)
		_, err := ln.Accept()
		require.ErrorIs(t, err, net.ErrClosed)
		require.ErrorIs(t, deadliner(ln).SetDeadline(time.Time{}), net.ErrClosed)
	}
}

type deadlineListener interface {
	SetDeadline(t time.Time) error
	File() (*os.File, error)
}

func deadliner(ln net.Listener) deadlineListener { return ln.(deadlineListener) }

func TestListenerDeadlineEndsAccept(t *testing.T) {
	ln := testnet.Listen(t, "tcp")
	failed := make(chan error, 1)
	go func() {
		_, err := ln.Accept()
		failed <- err
	}()
	require.NoError(t, deadliner(ln).SetDeadline(time.Now().Add(20*time.Millisecond)))
	err := testkit.Receive(t, failed)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	var timeout net.Error
	require.ErrorAs(t, err, &timeout)
	require.True(t, timeout.Timeout())

	require.NoError(t, deadliner(ln).SetDeadline(time.Time{}))
	acceptOne(t, ln, func() { testkit.Dial(t, ln.Addr()) })
}

func TestListenerFileIsAnotherDescriptorOfTheSocket(t *testing.T) {
	ln := testnet.Listen(t, "tcp")
	f, err := deadliner(ln).File()
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, ln.Close())
	again, err := net.FileListener(f)
	require.NoError(t, err)
	defer again.Close()
	acceptOne(t, again, func() { testkit.Dial(t, again.Addr()) })
}

func TestUnixListenerRemovesItsFile(t *testing.T) {
	for name, listen := range map[string]func(testing.TB, string) netpoll.Listener{
		"created": testnet.Listen, "converted": convertedOn,
	} {
		t.Run(name, func(t *testing.T) {
			ln := listen(t, "unix")
			require.FileExists(t, ln.Addr().String())
			require.NoError(t, ln.Close())
			_, err := os.Lstat(ln.Addr().String())
			require.ErrorIs(t, err, os.ErrNotExist)
		})
	}
}

// Behaviour 5.13: LocalAddr of an accepted connection is its own address, not the listener's wildcard.
func TestWildcardListenerGivesConnectionsTheirOwnAddress(t *testing.T) {
	addresses := []string{"0.0.0.0:0", "[::]:0"}
	if runtime.GOOS == "openbsd" {
		addresses = addresses[:1] // the other one takes no IPv4 there
	}
	for _, address := range addresses {
		ln, err := netpoll.CreateListener("tcp", address)
		require.NoError(t, err)
		defer ln.Close()
		_, port, err := net.SplitHostPort(ln.Addr().String())
		require.NoError(t, err)
		var client net.Conn
		server := acceptOne(t, ln, func() {
			client, err = net.Dial("tcp", net.JoinHostPort("127.0.0.1", port))
			require.NoError(t, err)
		})
		defer client.Close()
		require.Equal(t, client.RemoteAddr().String(), server.LocalAddr().String())
		require.Equal(t, client.LocalAddr().String(), server.RemoteAddr().String())
	}
}

// Behaviour 5.12: TCP_NODELAY and keepalive are on as in package net. 5.13: close-on-exec.
func TestAcceptedSocketsHaveTheOptionsOfPackageNet(t *testing.T) {
	options := func(fd int) [5]int {
		return [5]int{
			socketOption(t, fd, unix.IPPROTO_TCP, unix.TCP_NODELAY),
			socketOption(t, fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE),
			socketOption(t, fd, unix.IPPROTO_TCP, tcpKeepIdle),
			socketOption(t, fd, unix.IPPROTO_TCP, tcpKeepInterval),
			socketOption(t, fd, unix.IPPROTO_TCP, tcpKeepCount),
		}
	}
	cases := map[string]net.ListenConfig{
		"default":    {},
		"own period": {KeepAlive: 90*time.Second + time.Millisecond},
		"off":        {KeepAlive: -1},
		"own config": {KeepAliveConfig: net.KeepAliveConfig{
			Enable: true, Idle: 40 * time.Second, Interval: 7 * time.Second, Count: 3,
		}},
		"system defaults": {KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: -1, Interval: -1, Count: -1}},
	}
	for name, config := range cases {
		t.Run(name, func(t *testing.T) {
			theirs, err := config.Listen(context.Background(), "tcp", "127.0.0.1:0")
			require.NoError(t, err)
			defer theirs.Close()
			want := acceptOne(t, theirs, func() { testkit.Dial(t, theirs.Addr()) })
			raw, err := want.(*net.TCPConn).SyscallConn()
			require.NoError(t, err)
			var expected [5]int
			require.NoError(t, raw.Control(func(fd uintptr) { expected = options(int(fd)) }))

			lc := netpoll.ListenConfig{ListenConfig: config}
			ours, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
			require.NoError(t, err)
			defer ours.Close()
			conn := acceptOne(t, ours, func() { testkit.Dial(t, ours.Addr()) }).(netpoll.Conn)
			require.Equal(t, expected, options(conn.Fd()))
			requireCloseOnExec(t, conn.Fd())
			requireCloseOnExec(t, ours.Fd())
		})
	}
}

func TestListenConfigReusePortSharesTheAddress(t *testing.T) {
	controlled := 0
	lc := netpoll.ListenConfig{ReusePort: true}
	lc.Control = func(string, string, syscall.RawConn) error { controlled++; return nil }
	first, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer first.Close()
	second, err := lc.Listen(context.Background(), "tcp", first.Addr().String())
	require.NoError(t, err)
	defer second.Close()
	require.Equal(t, 2, controlled, "Control of the user is kept")

	_, err = netpoll.CreateListener("tcp", first.Addr().String())
	require.ErrorIs(t, err, unix.EADDRINUSE)
}

func TestCreateListenerFailsWithNilAndANameableError(t *testing.T) {
	taken := testkit.Listen(t, "tcp")
	cases := []struct {
		network, address string
		check            func(t *testing.T, err error)
	}{
		{"udp", "127.0.0.1:0", func(t *testing.T, err error) { require.ErrorIs(t, err, netpoll.ErrUnsupported) }},
		{"unixpacket", "x", func(t *testing.T, err error) { require.ErrorIs(t, err, errors.ErrUnsupported) }},
		{"carrier", "pigeon", func(t *testing.T, err error) {
			var unknown net.UnknownNetworkError
			require.ErrorAs(t, err, &unknown)
		}},
		{"", "", func(t *testing.T, err error) { require.Error(t, err) }},
		{"ip", "127.0.0.1", func(t *testing.T, err error) { require.Error(t, err) }},
		{"tcp", "127.0.0.1:none", func(t *testing.T, err error) { require.Error(t, err) }},
		{"tcp", taken.Addr().String(), func(t *testing.T, err error) { require.ErrorIs(t, err, unix.EADDRINUSE) }},
		{"unix", t.TempDir() + "/no/such/folder", func(t *testing.T, err error) { require.ErrorIs(t, err, unix.ENOENT) }},
	}
	for _, c := range cases {
		t.Run(c.network+" "+c.address, func(t *testing.T) {
			ln, err := netpoll.CreateListener(c.network, c.address)
			c.check(t, err)
			require.True(t, ln == nil, "must be a nil interface")
		})
	}
}

// Behaviour 6.2: ConvertListener on a Listener returns it as it is.
func TestConvertListenerReturnsAListenerAsItIs(t *testing.T) {
	for _, ln := range []netpoll.Listener{testnet.Listen(t, "tcp"), convertedOn(t, "unix")} {
		again, err := netpoll.ConvertListener(ln)
		require.NoError(t, err)
		require.Same(t, ln, again)
	}
}

// wrappedListener changes what Accept does, so its descriptor must not be used without it.
type wrappedListener struct{ *net.TCPListener }

func (l wrappedListener) Accept() (net.Conn, error) { return nil, errNobody }

var errNobody = errors.New("nobody gets in")

func TestConvertListenerRefusesWhatItCannotServe(t *testing.T) {
	packet, err := net.Listen("unixpacket", testkit.LocalAddress(t, "unix"))
	require.NoError(t, err)
	defer packet.Close()
	closed := testkit.Listen(t, "tcp")
	require.NoError(t, closed.Close())
	cases := map[string]struct {
		ln   net.Listener
		want error // nil: any
	}{
		"nil":         {nil, nil},
		"nil pointer": {(*net.TCPListener)(nil), nil},
		"nil unix":    {(*net.UnixListener)(nil), nil},
		"packets":     {packet, netpoll.ErrUnsupported},
		"closed":      {closed, net.ErrClosed},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			ln, err := netpoll.ConvertListener(c.ln)
			require.Error(t, err)
			if c.want != nil {
				require.ErrorIs(t, err, c.want)
			}
			require.True(t, ln == nil, "must be a nil interface")
		})
	}
}

func TestAcceptReportsLackOfDescriptorsAsPackageNetDoes(t *testing.T) {
	testkit.OwnProcess(t, func(t *testing.T) {
		ln := testnet.Listen(t, "tcp")
		netpoll.Initialize()
		hog := limitDescriptors(t, 64)
		hog.takeAll(t)
		hog.free(1)
		testkit.Dial(t, ln.Addr()) // takes it
		_, err := ln.Accept()
		require.ErrorIs(t, err, unix.EMFILE)
		var op *net.OpError
		require.ErrorAs(t, err, &op)
		require.Equal(t, "accept", op.Op)
		require.True(t, op.Temporary(), "servers of package net try again only then")
		hog.free(1)
		conn, err := ln.Accept()
		require.NoError(t, err)
		require.NoError(t, conn.Close())
	})
}
