//go:build linux

package test

// Why a connection has ended: the cause of its context, and the errors of later calls.

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
)

// endReasons are all errors that distinguish ends.
var endReasons = []error{netpoll.ErrEOF, syscall.ECONNRESET, netpoll.ErrIdleLimit, netpoll.ErrShutdown, netpoll.ErrPanic,
	netpoll.ErrPollerFailed}

// Behaviour 9.9: errors.Is finds why a connection has ended, from its context and from the errors of later calls.
func TestReasonOfAnEndIsTold(t *testing.T) {
	panics := func(_ context.Context, conn netpoll.Connection) error {
		_ = conn.Reader().Skip(conn.Reader().Len()) // the rest could still be read
		panic("planned")
	}
	leaves := func(_ context.Context, conn netpoll.Connection) error {
		_ = conn.Reader().Skip(conn.Reader().Len())
		runtime.Goexit()
		return nil
	}
	for name, c := range map[string]struct {
		on   netpoll.OnRequest
		ops  []netpoll.Option
		end  func(t *testing.T, s *testnet.Server, conn netpoll.Connection, peer net.Conn)
		want error // nil for a close by the program
		text string
	}{
		"the peer's end": {testnet.Discard, nil, func(t *testing.T, _ *testnet.Server, _ netpoll.Connection, peer net.Conn) {
			require.NoError(t, peer.Close())
		}, netpoll.ErrEOF, "EOF"},
		"reset": {testnet.Discard, nil, func(t *testing.T, _ *testnet.Server, _ netpoll.Connection, peer net.Conn) {
			testkit.Reset(t, peer)
		}, syscall.ECONNRESET, "connection reset by peer"},
		"Close": {testnet.Discard, nil, func(t *testing.T, _ *testnet.Server, conn netpoll.Connection, _ net.Conn) {
			require.NoError(t, conn.Close())
		}, nil, "connection has been closed"},
		"idle limit": {testnet.Discard, []netpoll.Option{netpoll.WithIdleLimit(testkit.Short)},
			func(*testing.T, *testnet.Server, netpoll.Connection, net.Conn) {}, netpoll.ErrIdleLimit, "idle limit"},
		"Shutdown": {testnet.Discard, nil, func(_ *testing.T, s *testnet.Server, _ netpoll.Connection, _ net.Conn) {
			s.Stop()
		}, netpoll.ErrShutdown, "shut down"},
		"panic": {panics, nil, func(t *testing.T, _ *testnet.Server, _ netpoll.Connection, peer net.Conn) {
			testkit.Send(t, peer, "x")
		}, netpoll.ErrPanic, "panicked"},
		"Goexit": {leaves, nil, func(t *testing.T, _ *testnet.Server, _ netpoll.Connection, peer net.Conn) {
			testkit.Send(t, peer, "x")
		}, netpoll.ErrPanic, "panicked"},
		"OnDisconnect panics": {testnet.Discard, []netpoll.Option{netpoll.WithOnDisconnect(
			func(context.Context, netpoll.Connection) { panic("planned") })},
			func(t *testing.T, _ *testnet.Server, _ netpoll.Connection, peer net.Conn) {
				require.NoError(t, peer.(halfCloser).CloseWrite())
			}, netpoll.ErrEOF, "EOF"}, // that was first
	} {
		t.Run(name, func(t *testing.T) {
			testkit.CaptureLog(t, netpoll.SetLoggerOutput)
			conns := make(chan netpoll.Connection, 1)
			released := make(chan struct{})
			s := testnet.NewServer(t, "tcp", c.on, append(c.ops, netpoll.WithOnConnect(
				func(ctx context.Context, conn netpoll.Connection) context.Context {
					_ = conn.(contexter).Context()
					_ = conn.AddCloseCallback(func(netpoll.Connection) error { close(released); return nil })
					conns <- conn
					return ctx
				}))...)
			peer := s.Dial()
			conn := testkit.Receive(t, conns)
			c.end(t, s, conn, peer)
			<-conn.(contexter).Context().Done()
			testkit.Receive(t, released)
			requireReason(t, context.Cause(conn.(contexter).Context()), c.want)
			cause := context.Cause(conn.(contexter).Context()).Error()
			require.Contains(t, cause, c.text)
			require.True(t, strings.HasPrefix(cause, "connection with 127.0.0.1:"), cause)
			if name == "OnDisconnect panics" {
				c.want = netpoll.ErrPanic // that is what it was closed for
			}
			for call, err := range lateCalls(conn) {
				t.Run(call, func(t *testing.T) { requireReason(t, err, c.want) })
			}
		})
	}
}

// lateCalls returns the errors of calls on a connection that has ended.
func lateCalls(conn netpoll.Connection) map[string]error {
	list := make(map[string]error)
	_, list["Next"] = conn.Reader().Next(1)
	_, list["Malloc"] = conn.Writer().Malloc(1)
	list["Flush"] = conn.Writer().Flush()
	_, list["Write"] = conn.Write([]byte("x"))
	list["SetDeadline"] = conn.SetDeadline(time.Time{})
	return list
}

// requireReason checks that err is ErrConnClosed and want, and no other reason.
func requireReason(t *testing.T, err, want error) {
	t.Helper()
	require.ErrorIs(t, err, netpoll.ErrConnClosed)
	require.NotErrorIs(t, err, io.EOF)
	for _, reason := range endReasons {
		if reason == want {
			require.ErrorIs(t, err, reason)
		} else {
			require.NotErrorIs(t, err, reason)
		}
	}
	if want == nil {
		require.True(t, errors.Is(err, net.ErrClosed), "%v", err)
	}
}
