//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package test

// Connections over a net.Conn that takes long to answer: accepting, and reporting an error, wait for none of it.

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
)

// slowConn has no addresses before it is released, as a net.Conn whose first bytes have its address.
type slowConn struct {
	net.Conn
	*slowGate
}

// slowGate counts the questions that wait.
type slowGate struct {
	open  chan struct{}
	asked chan string // the methods that were called while the gate was closed
	close bool        // Close waits too
}

func newSlowGate() *slowGate {
	return &slowGate{open: make(chan struct{}), asked: make(chan string, 100)}
}

func (g *slowGate) wait(what string) {
	select {
	case <-g.open:
	default:
		g.asked <- what
		<-g.open
	}
}

func (c slowConn) LocalAddr() net.Addr { c.wait("LocalAddr"); return c.Conn.LocalAddr() }

func (c slowConn) RemoteAddr() net.Addr { c.wait("RemoteAddr"); return c.Conn.RemoteAddr() }

func (c slowConn) Close() error {
	if c.slowGate.close {
		c.wait("Close")
	}
	return c.Conn.Close()
}

// slowListener makes all its connections slow.
type slowListener struct {
	net.Listener
	gate *slowGate
}

func (l slowListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return slowConn{conn, l.gate}, nil
}

// slowListeners makes one of each kind, with what a client's end has to become.
var slowListeners = map[string]func(t *testing.T, ln net.Listener) (net.Listener, func(net.Conn) net.Conn){
	"as they are": func(t *testing.T, ln net.Listener) (net.Listener, func(net.Conn) net.Conn) {
		return ln, func(c net.Conn) net.Conn { return c }
	},
	"below TLS": func(t *testing.T, ln net.Listener) (net.Listener, func(net.Conn) net.Conn) {
		server, client := newTLSConfigs(t)
		return tls.NewListener(ln, server), func(c net.Conn) net.Conn { return tls.Client(c, client) }
	},
}

// overSlowConns runs a test on a listener whose connections do not have their addresses before the gate is opened,
// which it is at the end at the latest. dial returns clients.
func overSlowConns(t *testing.T, f func(t *testing.T, ln net.Listener, gate *slowGate, dial func() net.Conn)) {
	for name, wrap := range slowListeners {
		t.Run(name, func(t *testing.T) {
			plain, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			gate := newSlowGate()
			t.Cleanup(func() {
				select {
				case <-gate.open:
				default:
					close(gate.open)
				}
				plain.Close()
			})
			ln, client := wrap(t, slowListener{plain, gate})
			f(t, ln, gate, func() net.Conn {
				c, err := net.DialTimeout("tcp", plain.Addr().String(), testkit.Timeout)
				require.NoError(t, err)
				t.Cleanup(func() { c.Close() })
				require.NoError(t, c.SetDeadline(time.Now().Add(testkit.Timeout)))
				return client(c)
			})
		})
	}
}

// Behaviour 9.6: accepting and serving asks no new connection for its address, nor does any error, panic or end of a
// connection; the one who asks gets it.
func TestServingAsksNoNetConnForItsAddress(t *testing.T) {
	overSlowConns(t, func(t *testing.T, ln net.Listener, gate *slowGate, dial func() net.Conn) {
		log := new(testkit.Log)
		netpoll.SetLoggerOutput(log)
		defer netpoll.SetLoggerOutput(os.Stderr)
		conns := make(chan netpoll.Connection, 8)
		s := testnet.ServeOn(t, ln, func(ctx context.Context, conn netpoll.Connection) error {
			word, err := conn.Reader().ReadString(5)
			switch {
			case err != nil:
				return err
			case word == "panic":
				panic("as asked")
			case word == "late!":
				_ = conn.SetReadTimeout(time.Millisecond)
				_, err = conn.Reader().Next(1)
				if !errors.Is(err, netpoll.ErrReadTimeout) || err.Error() == "" {
					t.Errorf("the read that was too late: %v", err)
				}
				_ = conn.SetReadTimeout(0)
			}
			_, err = conn.Write([]byte(word))
			return err
		}, netpoll.WithOnPrepare(func(conn netpoll.Connection) context.Context {
			conns <- conn
			return conn.(interface{ Context() context.Context }).Context()
		}))

		silent := dial()
		defer silent.Close()
		first := testkit.Receive(t, conns)
		for range 2 {
			c := dial()
			requireEchoOf(t, c, "hello")
			requireEchoOf(t, c, "late!")
			conn := testkit.Receive(t, conns)
			require.NoError(t, c.Close())
			ctx := conn.(interface{ Context() context.Context }).Context()
			testkit.Receive(t, ctx.Done())
			require.ErrorIs(t, context.Cause(ctx), netpoll.ErrConnClosed)
		}
		c := dial()
		_, err := io.WriteString(c, "panic")
		require.NoError(t, err)
		_, err = c.Read(make([]byte, 1))
		require.Error(t, err, "a panic closes the connection")
		testkit.Eventually(t, func() bool { return log.Lines() > 0 })
		require.Empty(t, gate.asked, "nobody has asked for an address")

		address := make(chan net.Addr, 2)
		go func() { address <- first.RemoteAddr() }()
		go func() { address <- first.LocalAddr() }()
		testkit.Receive(t, gate.asked)
		testkit.Receive(t, gate.asked)
		close(gate.open)
		require.ElementsMatch(t, []string{silent.LocalAddr().String(), silent.RemoteAddr().String()},
			[]string{testkit.Receive(t, address).String(), testkit.Receive(t, address).String()})
		testnet.Shutdown(t, s.Loop)
		require.NoError(t, testkit.Receive(t, s.Served))
	})
}

// Behaviour 9.6: a limiter that turns connections away, and the end of one, wait for no Close but their own.
func TestAcceptingWaitsForNoNetConnToClose(t *testing.T) {
	overSlowConns(t, func(t *testing.T, ln net.Listener, gate *slowGate, dial func() net.Conn) {
		gate.close = true
		turnAway := true
		s := testnet.ServeOn(t, ln, testnet.Echo, netpoll.WithOnPrepare(func(conn netpoll.Connection) context.Context {
			if turnAway {
				_ = conn.Close()
			}
			turnAway = false // only the accepting goroutine is here
			return context.Background()
		}))
		turnedAway := dial()
		defer turnedAway.Close()
		require.Equal(t, "Close", testkit.Receive(t, gate.asked))
		c := dial()
		requireEchoOf(t, c, "hello")
		require.NoError(t, c.Close())
		require.Equal(t, "Close", testkit.Receive(t, gate.asked))
		requireEchoOf(t, dial(), "hello again")
		close(gate.open)
		testnet.Shutdown(t, s.Loop)
		require.NoError(t, testkit.Receive(t, s.Served))
	})
}

// Behaviour 9.6: the same for Accept of a converted listener, and for NewConnection.
func TestMakingAConnectionAsksNoNetConnForItsAddress(t *testing.T) {
	overSlowConns(t, func(t *testing.T, ln net.Listener, gate *slowGate, dial func() net.Conn) {
		converted, err := netpoll.ConvertListener(ln)
		require.NoError(t, err)
		defer converted.Close()
		c := dial()
		defer c.Close()
		accepted, err := converted.Accept()
		require.NoError(t, err)
		defer accepted.Close()
		second := dial()
		defer second.Close()
		plain, err := ln.Accept()
		require.NoError(t, err)
		made, err := netpoll.NewConnection(plain)
		require.NoError(t, err)
		defer made.Close()
		for _, conn := range []netpoll.Connection{accepted.(netpoll.Connection), made} {
			require.NoError(t, conn.SetReadTimeout(time.Millisecond))
			_, err = conn.Reader().Next(1)
			require.ErrorIs(t, err, netpoll.ErrReadTimeout)
		}
		require.Empty(t, gate.asked)
	})
}
