//go:build linux

package test

// The end of the peer's side, as handlers see it: nothing that was sent is missed, and what can still be answered is.

import (
	"bytes"
	"context"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
)

// Behaviour 9.1: with an OnRequest an inactive connection without input has been read to the end, whatever its limit.
func TestHandlerThatTrustsIsActiveSeesEverything(t *testing.T) {
	const total, limit = 1 << 20, 64 << 10
	testkit.OverNetworks(t, func(t *testing.T, network string) {
		var seen atomic.Int64
		first, hungUp, ended := make(chan struct{}), make(chan struct{}), make(chan int64, 1)
		addr := testnet.NewServer(t, network, func(_ context.Context, conn netpoll.Connection) error {
			r := conn.Reader()
			if seen.Load() == 0 {
				close(first)
				<-hungUp // by then the peer has ended its side, and more waits in the kernel than the limit allows
			}
			for {
				active := conn.IsActive()
				n := r.Len()
				seen.Add(int64(n))
				if err := r.Skip(n); err != nil {
					return err
				}
				if err := r.Release(); err != nil {
					return err
				}
				if !active && n == 0 {
					ended <- seen.Load()
					return conn.Close()
				}
				if n == 0 && active {
					return nil // more will come, and with it the next call
				}
			}
		}, netpoll.WithReadLimit(limit), netpoll.WithAllowHalfOpen()).Addr()
		peer, err := net.Dial(addr.Network(), addr.String())
		require.NoError(t, err)
		defer peer.Close()
		written := started(func() error {
			_, err := peer.Write(testkit.Pattern(total))
			if err == nil {
				err = peer.(halfCloser).CloseWrite()
			}
			return err
		})
		testkit.Receive(t, first)
		select {
		case err := <-written: // the kernel has room for all of it
			require.NoError(t, err)
			close(hungUp)
		case <-time.After(testkit.Short): // it has not: then the end comes later
			close(hungUp)
			require.NoError(t, testkit.Receive(t, written))
		}
		require.EqualValues(t, total, testkit.Receive(t, ended))
	})
}

// Behaviour 9.1: a write that fails says nothing about the input: a handler still gets all that the peer has sent.
func TestFailedWriteDoesNotHideInputFromAHandler(t *testing.T) {
	answered, ended := make(chan error, 1), make(chan int, 1)
	seen := 0
	conn, peer := testnet.Served(t, "unix", func(_ context.Context, conn netpoll.Connection) error {
		if seen == 0 {
			_, err := conn.Write([]byte("x"))
			answered <- err
			if !conn.IsActive() {
				ended <- -1
				return nil
			}
		}
		n := conn.Reader().Len()
		seen += n
		err := conn.Reader().Skip(n)
		if !conn.IsActive() && conn.Reader().Len() == 0 {
			ended <- seen
		}
		return err
	}, netpoll.WithAllowHalfOpen())
	require.True(t, conn.IsActive())
	require.NoError(t, peer.(halfCloser).CloseRead()) // writing to it fails; it goes on sending
	testkit.Send(t, peer, "first,")
	require.ErrorIs(t, testkit.Receive(t, answered), syscall.EPIPE)
	testkit.Send(t, peer, "second")
	require.NoError(t, peer.(halfCloser).CloseWrite())
	require.Equal(t, len("first,second"), testkit.Receive(t, ended))
}

// Behaviour 5.10: OnDisconnect may answer, and the connection is not closed before it has returned.
func TestReplyFromOnDisconnectArrives(t *testing.T) {
	testkit.OverNetworks(t, func(t *testing.T, network string) {
		asked := make(chan struct{})
		addr := testnet.NewServer(t, network, func(_ context.Context, conn netpoll.Connection) error {
			close(asked)
			return conn.Reader().Skip(conn.Reader().Len())
		}, netpoll.WithOnDisconnect(func(_ context.Context, conn netpoll.Connection) {
			if err := flushAll(conn, testkit.Pattern(1<<20)); err != nil {
				t.Error(err)
			}
			if _, err := conn.Write([]byte("and goodbye")); err != nil {
				t.Error(err)
			}
		})).Addr()
		peer, err := net.Dial(addr.Network(), addr.String())
		require.NoError(t, err)
		defer peer.Close()
		testkit.Send(t, peer, "hello")
		testkit.Receive(t, asked)
		require.NoError(t, peer.(halfCloser).CloseWrite())
		require.NoError(t, peer.SetReadDeadline(time.Now().Add(testkit.Timeout)))
		got, err := io.ReadAll(peer)
		require.NoError(t, err)
		require.True(t, bytes.Equal(got, append(testkit.Pattern(1<<20), "and goodbye"...)), "%d bytes", len(got))
	})
}

// Behaviour 5.10: OnDisconnect may read what OnRequest has left.
func TestOnDisconnectReadsWhatIsLeft(t *testing.T) {
	called, got := make(chan struct{}, 4), make(chan string, 1)
	_, peer := testnet.Served(t, "tcp", func(context.Context, netpoll.Connection) error {
		called <- struct{}{}
		return nil
	}, netpoll.WithOnDisconnect(func(_ context.Context, conn netpoll.Connection) {
		s, err := conn.Reader().ReadString(len("left over"))
		if err != nil {
			t.Error(err)
		}
		got <- s
	}))
	testkit.Send(t, peer, "left over")
	testkit.Receive(t, called)
	require.NoError(t, peer.(halfCloser).CloseWrite())
	require.Equal(t, "left over", testkit.Receive(t, got))
	testkit.ExpectEnd(t, peer, "")
}

// Behaviour 5.10: Shutdown waits for an OnDisconnect that is running.
func TestShutdownWaitsForOnDisconnect(t *testing.T) {
	in, goOn := make(chan struct{}), make(chan struct{})
	s := testnet.NewServer(t, "tcp", testnet.Discard, netpoll.WithOnDisconnect(func(_ context.Context, conn netpoll.Connection) {
		close(in)
		<-goOn
		if _, err := conn.Write([]byte("bye")); err != nil {
			t.Error(err)
		}
	}))
	c := s.Dial()
	require.NoError(t, c.(halfCloser).CloseWrite())
	testkit.Receive(t, in)
	down := testkit.Blocked(t, func() error { return s.Loop.Shutdown(context.Background()) })
	close(goOn)
	require.NoError(t, testkit.Receive(t, down))
	got, err := io.ReadAll(c)
	require.NoError(t, err)
	require.Equal(t, "bye", string(got))
}

// Behaviour 5.4, 5.10: a connection that ends without having sent anything gets its one call, which may answer.
func TestEmptyRequestIsAnswered(t *testing.T) {
	testkit.OverNetworks(t, func(t *testing.T, network string) {
		var calls atomic.Int64
		addr := testnet.NewServer(t, network, func(_ context.Context, conn netpoll.Connection) error {
			calls.Add(1)
			if conn.IsActive() || conn.Reader().Len() != 0 {
				t.Errorf("called early, with %d bytes", conn.Reader().Len())
			}
			_, err := conn.Write([]byte("you said nothing"))
			return err
		}).Addr()
		peer, err := net.Dial(addr.Network(), addr.String())
		require.NoError(t, err)
		defer peer.Close()
		require.NoError(t, peer.(halfCloser).CloseWrite())
		require.NoError(t, peer.SetReadDeadline(time.Now().Add(testkit.Timeout)))
		got, err := io.ReadAll(peer)
		require.NoError(t, err)
		require.Equal(t, "you said nothing", string(got))
		require.EqualValues(t, 1, calls.Load())
	})
}

// Behaviour 5.4: a connection that has sent something gets no call without input when it ends.
func TestOnlyAnEmptyConnectionGetsACallWithoutInput(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, c net.Conn){
		"closed": func(t *testing.T, c net.Conn) { c.Close() },
		"reset":  func(t *testing.T, c net.Conn) { testkit.Reset(t, c) },
	} {
		t.Run(name, func(t *testing.T) {
			closed := make(chan struct{})
			s := testnet.NewServer(t, "tcp", func(ctx context.Context, conn netpoll.Connection) error {
				if conn.Reader().Len() == 0 {
					t.Error("called without input")
				}
				return testnet.Echo(ctx, conn)
			}, netpoll.WithOnConnect(func(ctx context.Context, conn netpoll.Connection) context.Context {
				_ = conn.AddCloseCallback(func(netpoll.Connection) error { close(closed); return nil })
				return ctx
			}))
			c := s.Dial()
			require.NoError(t, testkit.RoundTrip(c, "hello"))
			end(t, c)
			testkit.Receive(t, closed)
		})
	}
}

// Behaviour 5.4: a client that reads in its handler learns of a server that resets the connection without a word.
func TestHandlerLearnsOfAResetBeforeAnyInput(t *testing.T) {
	conn, peer := testnet.Dialed(t, "tcp")
	found := make(chan error, 1)
	require.NoError(t, conn.SetOnRequest(func(_ context.Context, conn netpoll.Connection) error {
		_, err := conn.Reader().Next(1)
		found <- err
		return nil
	}))
	testkit.Reset(t, peer)
	require.ErrorIs(t, testkit.Receive(t, found), syscall.ECONNRESET)
}

// Behaviour 5.10: where half-open connections are allowed, the last call comes with the end, also when no input is
// left, and an answer from another goroutine, at any time, arrives. The end is sent when the request has been handled:
// a call for a request may see the end already, and is not the last one for that.
func TestHalfOpenConnectionStaysUntilTheProgramClosesIt(t *testing.T) {
	testkit.OverNetworks(t, func(t *testing.T, network string) {
		handled := make(chan string, 4)
		ended := make(chan netpoll.Connection, 4)
		addr := testnet.NewServer(t, network, func(_ context.Context, conn netpoll.Connection) error {
			if input := conn.Reader().Len(); input > 0 {
				got, err := conn.Reader().ReadString(input)
				handled <- got
				return err
			}
			ended <- conn
			return nil
		}, netpoll.WithAllowHalfOpen()).Addr()
		for name, request := range map[string]string{"after a request": "request", "empty": ""} {
			t.Run(name, func(t *testing.T) {
				peer, err := net.Dial(addr.Network(), addr.String())
				require.NoError(t, err)
				defer peer.Close()
				testkit.Send(t, peer, request)
				for got := ""; got != request; {
					got += testkit.Receive(t, handled)
				}
				require.NoError(t, peer.(halfCloser).CloseWrite())
				conn := testkit.Receive(t, ended)
				require.False(t, conn.IsActive())
				testkit.Silent(t, testkit.Calm, ended, "second call for one end")
				testkit.Idles(t)
				_, err = conn.Write([]byte("late answer"))
				require.NoError(t, err)
				require.NoError(t, conn.Close())
				require.NoError(t, peer.SetReadDeadline(time.Now().Add(testkit.Timeout)))
				got, err := io.ReadAll(peer)
				require.NoError(t, err)
				require.Equal(t, "late answer", string(got))
			})
		}
	})
}

// Behaviour 5.10: half-open may be allowed later, and taken back: then the connection closes at once.
func TestSetAllowHalfOpenCountsAtOnce(t *testing.T) {
	type halfOpener interface{ SetAllowHalfOpen(bool) error }
	conn, peer := testnet.Dialed(t, "tcp")
	require.NoError(t, conn.(halfOpener).SetAllowHalfOpen(true))
	called, closed := make(chan struct{}, 4), make(chan struct{})
	require.NoError(t, conn.SetOnRequest(func(_ context.Context, conn netpoll.Connection) error {
		called <- struct{}{}
		return conn.Reader().Skip(conn.Reader().Len())
	}))
	require.NoError(t, conn.AddCloseCallback(func(netpoll.Connection) error { close(closed); return nil }))
	require.NoError(t, peer.(halfCloser).CloseWrite())
	testkit.Receive(t, called)
	testkit.Silent(t, testkit.Calm, closed, "close")
	require.NoError(t, conn.(halfOpener).SetAllowHalfOpen(false))
	testkit.Receive(t, closed)
	require.ErrorIs(t, conn.(halfOpener).SetAllowHalfOpen(true), netpoll.ErrConnClosed)
	testkit.ExpectEnd(t, peer, "")
}

// Behaviour 5.10: Shutdown and the idle limit close half-open connections on which no callback works.
func TestHalfOpenConnectionsEndWithTheirServer(t *testing.T) {
	t.Run("Shutdown", func(t *testing.T) {
		called := make(chan struct{}, 1)
		s := testnet.NewServer(t, "tcp", func(context.Context, netpoll.Connection) error {
			called <- struct{}{}
			return nil
		}, netpoll.WithAllowHalfOpen())
		c := s.Dial()
		require.NoError(t, c.(halfCloser).CloseWrite())
		testkit.Receive(t, called)
		s.Stop()
		testkit.ExpectEnd(t, c, "")
	})
	t.Run("idle limit", func(t *testing.T) {
		_, peer := testnet.Served(t, "tcp", testnet.Discard, netpoll.WithAllowHalfOpen(), netpoll.WithIdleLimit(testkit.Short))
		require.NoError(t, peer.(halfCloser).CloseWrite())
		testkit.ExpectEnd(t, peer, "")
	})
}
