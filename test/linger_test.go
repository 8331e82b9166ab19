//go:build linux

package test

// SO_LINGER with a time: the kernel makes the close of such a socket wait. The time here is longer than a test waits
// for anything, so a call that waits for such a close fails its test.

import (
	"context"
	"errors"
	"io"
	"net"
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

const longLinger = 3 * testkit.Timeout

// setLinger sets the option.
func setLinger(raw syscall.RawConn, d time.Duration) (err error) {
	controlErr := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptLinger(int(fd), unix.SOL_SOCKET, unix.SO_LINGER,
			&unix.Linger{Onoff: 1, Linger: int32(d / time.Second)})
	})
	return errors.Join(controlErr, err)
}

func setLingerOf(conn any, d time.Duration) error {
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return err
	}
	return setLinger(raw, d)
}

// fill sends until the peer takes no more.
func fill(conn netpoll.Connection) error {
	if err := conn.SetWriteTimeout(testkit.Short); err != nil {
		return err
	}
	for {
		n, err := conn.Write(make([]byte, 1<<20))
		switch {
		case errors.Is(err, netpoll.ErrWriteTimeout) && n == 0: // else it was only slow
			return nil
		case err != nil && !errors.Is(err, netpoll.ErrWriteTimeout):
			return err
		}
	}
}

// Behaviour 9.4: closing a socket with SO_LINGER and a time holds up no other connection. The server has room for one
// connection only: the second one is served when the first has been released.
func TestLingeringConnectionHoldsUpNobody(t *testing.T) {
	sources := map[string]func(t *testing.T) (net.Listener, []netpoll.Option){
		"set by OnPrepare": func(t *testing.T) (net.Listener, []netpoll.Option) {
			return testnet.Listen(t, "tcp"), []netpoll.Option{
				netpoll.WithOnPrepare(func(conn netpoll.Connection) context.Context {
					if err := setLingerOf(conn, longLinger); err != nil {
						t.Error(err)
					}
					return nil
				}),
			}
		},
		"set on the listener": func(t *testing.T) (net.Listener, []netpoll.Option) {
			config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
				return setLinger(raw, longLinger)
			}}
			ln, err := config.Listen(context.Background(), "tcp", "127.0.0.1:0")
			require.NoError(t, err)
			return ln, nil
		},
	}
	for source, listen := range sources {
		for end := range lingeringEnds {
			t.Run(source+", "+end, func(t *testing.T) {
				ln, opts := listen(t)
				lingerThenServe(t, ln, end, opts)
			})
		}
	}
}

// lingeringEnds are what ends a connection whose socket is full: in the handler, or afterwards from outside.
var lingeringEnds = map[string]struct {
	inside  func(conn netpoll.Connection) error
	outside func(t *testing.T, conn netpoll.Connection, peer *net.TCPConn)
	opts    []netpoll.Option
}{
	"closed by its handler": {inside: func(conn netpoll.Connection) error { return conn.Close() }},
	"closed by a panic":     {inside: func(netpoll.Connection) error { panic("of a handler") }},
	"closed by its user": {outside: func(t *testing.T, conn netpoll.Connection, _ *net.TCPConn) {
		testkit.Within(t, testkit.Timeout, func() { conn.Close() })
	}},
	"ended by its peer": {outside: func(t *testing.T, _ netpoll.Connection, peer *net.TCPConn) {
		require.NoError(t, peer.CloseWrite())
	}},
	"closed by the idle limit": {opts: []netpoll.Option{netpoll.WithIdleLimit(testkit.Short)}},
}

func lingerThenServe(t *testing.T, ln net.Listener, name string, opts []netpoll.Option) {
	testkit.CaptureLog(t, netpoll.SetLoggerOutput)
	end := lingeringEnds[name]
	full := make(chan netpoll.Connection, 1)
	loop, err := netpoll.NewEventLoop(func(_ context.Context, conn netpoll.Connection) error {
		r := conn.Reader()
		request, err := r.ReadString(r.Len()) // unread input would make the close a reset
		if err != nil || request != "fill" {
			_, err = conn.Write([]byte(request))
			return err
		}
		if err := fill(conn); err != nil {
			t.Error(err)
		}
		full <- conn
		if end.inside != nil {
			return end.inside(conn)
		}
		return nil
	}, append(append(opts, end.opts...), netpoll.WithMaxConnections(1))...)
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- loop.Serve(ln) }()

	first := testkit.Dial(t, ln.Addr()).(*net.TCPConn)
	testkit.Send(t, first, "fill")
	conn := testkit.Receive(t, full)
	if end.outside != nil {
		end.outside(t, conn, first)
	}
	require.NoError(t, testkit.RoundTrip(boundedDial(t, ln.Addr()), "hello"))

	ctx, cancel := context.WithTimeout(context.Background(), testkit.Timeout)
	defer cancel()
	require.NoError(t, loop.Shutdown(ctx))
	require.NoError(t, testkit.Receive(t, served))
}

// Behaviour 9.4, 6.1: nor does Shutdown wait for one after the other.
func TestShutdownDoesNotWaitForLingeringConnections(t *testing.T) {
	t.Parallel()
	full := make(chan netpoll.Connection, 3)
	s := testnet.NewServer(t, "tcp", func(_ context.Context, conn netpoll.Connection) error {
		if err := errors.Join(conn.Reader().Skip(conn.Reader().Len()), fill(conn)); err != nil {
			t.Error(err)
		}
		full <- conn
		return nil
	}, netpoll.WithOnPrepare(func(conn netpoll.Connection) context.Context {
		if err := setLingerOf(conn, longLinger); err != nil {
			t.Error(err)
		}
		return nil
	}))
	for range cap(full) {
		testkit.Send(t, s.Dial(), "fill")
		testkit.Receive(t, full)
	}
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Timeout)
	defer cancel()
	require.NoError(t, s.Loop.Shutdown(ctx))
}

// Behaviour 9.4: a dialed connection with the option closes at once, too.
func TestLingeringDialedConnectionClosesAtOnce(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	d := netpoll.NetDialer{Dialer: net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
		return setLinger(raw, longLinger)
	}}}
	conn, err := d.DialConnection("tcp", ln.Addr().String(), testkit.Timeout)
	require.NoError(t, err)
	peer, err := ln.Accept()
	require.NoError(t, err)
	defer peer.Close()
	require.NoError(t, fill(conn))
	testkit.Within(t, testkit.Timeout, func() { conn.Close() })
	require.NoError(t, peer.SetReadDeadline(time.Now().Add(testkit.Timeout)))
	_, err = io.Copy(io.Discard, peer)
	require.NoError(t, err, "what was in the socket was not sent in order")
}

// A linger time of 0 asks for a reset, and gets it.
func TestLingerOfNoTimeStillResets(t *testing.T) {
	conn, peer := testnet.Dialed(t, "tcp")
	require.NoError(t, setLingerOf(conn, 0))
	require.NoError(t, conn.Close())
	require.NoError(t, peer.SetReadDeadline(time.Now().Add(testkit.Timeout)))
	_, err := peer.Read(make([]byte, 1))
	require.ErrorIs(t, err, syscall.ECONNRESET)
}

// slowToClose is a net.Conn whose Close waits, as that of TLS does for a peer that takes nothing.
type slowToClose struct {
	net.Conn
	hold <-chan struct{}
}

func (c slowToClose) Close() error {
	<-c.hold
	return c.Conn.Close()
}

// slowToCloseListener wraps its first new connection.
type slowToCloseListener struct {
	net.Listener
	hold chan struct{}
	n    int
}

func (l *slowToCloseListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.n++ // one goroutine accepts
	if l.n == 1 {
		return slowToClose{conn, l.hold}, nil
	}
	return conn, nil
}

// Behaviour 9.4, 5.3: a net.Conn that takes long to close, and is closed or panics in OnPrepare, holds up no new
// connection.
func TestSlowCloseInOnPrepareHoldsUpNoNewConnection(t *testing.T) {
	for name, end := range map[string]func(conn netpoll.Connection){
		"closed": func(conn netpoll.Connection) { conn.Close() },
		"panic":  func(netpoll.Connection) { panic("of OnPrepare") },
	} {
		t.Run(name, func(t *testing.T) {
			testkit.CaptureLog(t, netpoll.SetLoggerOutput)
			plain, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			ln := &slowToCloseListener{Listener: plain, hold: make(chan struct{})}
			release := sync.OnceFunc(func() { close(ln.hold) })
			defer release()
			first := true
			loop, err := netpoll.NewEventLoop(testnet.Echo, netpoll.WithOnPrepare(func(conn netpoll.Connection) context.Context {
				if first { // one goroutine accepts
					first = false
					end(conn)
				}
				return nil
			}))
			require.NoError(t, err)
			served := make(chan error, 1)
			go func() { served <- loop.Serve(ln) }()
			testkit.Dial(t, plain.Addr())
			require.NoError(t, testkit.RoundTrip(boundedDial(t, plain.Addr()), "hello"))
			release()
			ctx, cancel := context.WithTimeout(context.Background(), testkit.Timeout)
			defer cancel()
			require.NoError(t, loop.Shutdown(ctx))
			require.NoError(t, testkit.Receive(t, served))
		})
	}
}

// boundedDial is plainDial with a deadline for all that follows.
func boundedDial(t *testing.T, addr net.Addr) net.Conn {
	t.Helper()
	conn := testkit.Dial(t, addr)
	require.NoError(t, conn.SetDeadline(time.Now().Add(testkit.Timeout)))
	return conn
}
