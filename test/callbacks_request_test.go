//go:build linux

package test

// When OnRequest is called, with what, and what it may leave undone.

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
)

// Behaviour 5.4: OnRequest is called at least once for data that came together with the peer's FIN.
func TestRequestSeesDataThatCameWithTheEnd(t *testing.T) {
	const workers, each, message = 8, 60, "the last words"
	testkit.OverNetworks(t, func(t *testing.T, network string) {
		var handled atomic.Int64
		s := testnet.NewServer(t, network, func(_ context.Context, conn netpoll.Connection) error {
			p, err := conn.Reader().Next(len(message))
			if err == nil && string(p) == message {
				handled.Add(1)
			}
			return conn.Reader().Release()
		})
		var clients sync.WaitGroup
		for range workers {
			clients.Go(func() {
				for range each {
					c, err := net.Dial(network, s.Listener.Addr().String())
					if err != nil {
						t.Error(err)
						return
					}
					_, err = io.WriteString(c, message)
					if err = errors.Join(err, c.Close()); err != nil {
						t.Error(err)
					}
				}
			})
		}
		clients.Wait()
		testkit.Eventually(t, func() bool { return handled.Load() == workers*each })
	})
}

// Behaviour 5.4: OnRequest is called again while input remains, after the peer's end too.
func TestRequestIsCalledAgainWhileInputRemains(t *testing.T) {
	const message = "0123456789"
	var j journal
	gone := make(chan struct{})
	s := testnet.NewServer(t, "tcp", func(_ context.Context, conn netpoll.Connection) error {
		<-gone // so that the end is there before the first byte is consumed
		b, err := conn.Reader().ReadByte()
		if err == nil {
			j.add("%c", b)
		}
		return err
	}, netpoll.WithOnDisconnect(func(context.Context, netpoll.Connection) { close(gone) }),
		netpoll.WithOnConnect(func(ctx context.Context, conn netpoll.Connection) context.Context {
			_ = conn.AddCloseCallback(j.noting("closed"))
			return ctx
		}))
	c := s.Dial()
	_, err := io.WriteString(c, message)
	require.NoError(t, err)
	require.NoError(t, c.Close())
	j.until(t, "closed")
	want := []string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "closed"}
	require.Equal(t, want, j.list())
}

// Behaviour 5.4: OnRequest may block for the connection's whole life while another goroutine reads.
func TestRequestMayBlockWhileAnotherGoroutineReads(t *testing.T) {
	testkit.OverNetworks(t, func(t *testing.T, network string) {
		var calls atomic.Int64
		ended, closed := make(chan error, 1), make(chan struct{})
		s := testnet.NewServer(t, network, func(_ context.Context, conn netpoll.Connection) error {
			calls.Add(1)
			_ = conn.AddCloseCallback(func(netpoll.Connection) error { close(closed); return nil })
			var reader sync.WaitGroup
			reader.Go(func() { ended <- echoFrames(conn, 4) })
			reader.Wait()
			return nil
		})
		c := s.Dial()
		for range 100 {
			require.NoError(t, testkit.RoundTrip(c, "ping"))
		}
		require.NoError(t, c.Close())
		require.ErrorIs(t, testkit.Receive(t, ended), netpoll.ErrEOF)
		testkit.Receive(t, closed)
		require.EqualValues(t, 1, calls.Load())
	})
}

// echoFrames answers each size bytes until reading fails.
func echoFrames(conn netpoll.Connection, size int) error {
	for {
		p, err := conn.Reader().Next(size)
		if err != nil {
			return err
		}
		if _, err = conn.Writer().WriteBinary(p); err != nil {
			return err
		}
		if err = conn.Writer().Flush(); err != nil {
			return err
		}
		if err = conn.Reader().Release(); err != nil {
			return err
		}
	}
}

// Behaviour 5.5: a handler that consumed nothing is called again when there is new data, not in a loop.
func TestRequestThatConsumesNothingIsNotCalledInALoop(t *testing.T) {
	const need = 8
	var calls atomic.Int64
	var giveUp atomic.Bool // lets a library that does call in a loop end
	t.Cleanup(func() { giveUp.Store(true) })
	handled := make(chan string, 1)
	s := testnet.NewServer(t, "tcp", func(ctx context.Context, conn netpoll.Connection) error {
		calls.Add(1)
		switch p, _ := conn.Reader().Peek(conn.Reader().Len()); {
		case giveUp.Load():
			return conn.Close()
		case len(p) >= need:
			handled <- string(p)
			return testnet.Discard(ctx, conn)
		}
		return nil
	})
	c := s.Dial()
	for i := range need {
		before := calls.Load()
		_, err := c.Write([]byte{'a' + byte(i)})
		require.NoError(t, err)
		testkit.Eventually(t, func() bool { return calls.Load() > before })
	}
	require.Equal(t, "abcdefgh", testkit.Receive(t, handled))

	_, err := io.WriteString(c, "i")
	require.NoError(t, err)
	testkit.Eventually(t, func() bool { return calls.Load() > need })
	testkit.Idles(t)
	require.LessOrEqual(t, calls.Load(), int64(2*(need+1)), "more calls than one, or at worst two, for each piece of data")
}

// Behaviour 5.5: … or when there is a new handler.
func TestNewHandlerIsCalledForWhatTheOldOneLeft(t *testing.T) {
	connected, looked, handled := make(chan netpoll.Connection, 1), make(chan struct{}, 1000), make(chan string, 1)
	s := testnet.NewServer(t, "tcp", func(_ context.Context, conn netpoll.Connection) error {
		select {
		case looked <- struct{}{}:
			return nil
		default:
			return conn.Close() // called in a loop
		}
	}, netpoll.WithOnConnect(func(ctx context.Context, conn netpoll.Connection) context.Context {
		connected <- conn
		return ctx
	}))
	c := s.Dial()
	conn := testkit.Receive(t, connected)
	_, err := io.WriteString(c, "left over")
	require.NoError(t, err)
	testkit.Receive(t, looked)
	testkit.Silent(t, testkit.Calm, looked, "second call of the first handler")
	require.NoError(t, conn.SetOnRequest(takeAll(handled)))
	require.Equal(t, "left over", testkit.Receive(t, handled))
}

// takeAll returns an OnRequest that consumes all input and passes it on.
func takeAll(to chan<- string) netpoll.OnRequest {
	return func(_ context.Context, conn netpoll.Connection) error {
		s, err := conn.Reader().ReadString(conn.Reader().Len())
		if err == nil {
			to <- s
		}
		return err
	}
}

// Behaviour 5.5: at the peer's close such a handler is called one last time.
func TestRequestThatConsumedNothingIsCalledOnceMoreAtTheEnd(t *testing.T) {
	var j journal
	var giveUp atomic.Bool
	t.Cleanup(func() { giveUp.Store(true) })
	closed := make(chan struct{})
	s := testnet.NewServer(t, "tcp", func(_ context.Context, conn netpoll.Connection) error {
		if giveUp.Load() || len(j.list()) > 1000 {
			return conn.Close()
		}
		j.add("%d bytes, active: %v", conn.Reader().Len(), conn.IsActive())
		return nil
	}, netpoll.WithOnConnect(func(ctx context.Context, conn netpoll.Connection) context.Context {
		_ = conn.AddCloseCallback(func(netpoll.Connection) error { close(closed); return nil })
		return ctx
	}))
	c := s.Dial()
	_, err := io.WriteString(c, "abc")
	require.NoError(t, err)
	j.until(t, "3 bytes, active: true")
	require.NoError(t, c.Close())
	testkit.Receive(t, closed)
	require.Equal(t, 1, j.count("3 bytes, active: false"), "calls at the end; all: %v", j.list())
}

// Behaviour 5.6: SetOnRequest inside OnConnect decides who gets the data from then on.
func TestHandlerSetInsideOnConnectGetsTheData(t *testing.T) {
	first, second := make(chan string, 10), make(chan string, 10)
	s := testnet.NewServer(t, "tcp", takeAll(first),
		netpoll.WithOnConnect(func(ctx context.Context, conn netpoll.Connection) context.Context {
			if _, err := conn.Reader().Peek(5); err != nil { // the data is there before the choice
				t.Error(err)
			}
			if err := conn.SetOnRequest(takeAll(second)); err != nil {
				t.Error(err)
			}
			return ctx
		}))
	c := s.Dial()
	_, err := io.WriteString(c, "hello")
	require.NoError(t, err)
	select {
	case got := <-second:
		require.Equal(t, "hello", got)
	case got := <-first:
		t.Fatalf("the replaced handler was called, with %q", got)
	}
	_, err = io.WriteString(c, "again")
	require.NoError(t, err)
	require.Equal(t, "again", testkit.Receive(t, second))
	require.Empty(t, first)
}

// Behaviour 5.6: SetOnRequest inside OnRequest decides who gets the data from then on.
func TestHandlerSetInsideRequestGetsTheRest(t *testing.T) {
	cases := map[string]struct {
		consume int
		want    string
	}{
		"nothing consumed": {0, "PRI * HTTP/2.0"},
		"some consumed":    {4, "* HTTP/2.0"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var firstCalls atomic.Int64
			rest := make(chan string, 10)
			s := testnet.NewServer(t, "tcp", func(_ context.Context, conn netpoll.Connection) error {
				if firstCalls.Add(1) > 1000 {
					return conn.Close() // called in a loop
				}
				if _, err := conn.Reader().Peek(14); err != nil {
					return err
				}
				if err := conn.Reader().Skip(c.consume); err != nil {
					return err
				}
				return conn.SetOnRequest(takeAll(rest))
			})
			client := s.Dial()
			_, err := io.WriteString(client, "PRI * HTTP/2.0")
			require.NoError(t, err)
			require.Equal(t, c.want, testkit.Receive(t, rest))
			_, err = io.WriteString(client, "more")
			require.NoError(t, err)
			require.Equal(t, "more", testkit.Receive(t, rest))
			require.EqualValues(t, 1, firstCalls.Load())
		})
	}
}

// Behaviour 5.6: SetOnRequest on a dialed connection that already holds data starts it.
func TestHandlerSetOnDialedConnectionGetsBufferedData(t *testing.T) {
	testkit.OverNetworks(t, func(t *testing.T, network string) {
		conn, peer := testnet.Dialed(t, network)
		_, err := io.WriteString(peer, "hello")
		require.NoError(t, err)
		testkit.Eventually(t, func() bool { return conn.Reader().Len() == 5 })
		got := make(chan string, 10)
		require.NoError(t, conn.SetOnRequest(takeAll(got)))
		require.Equal(t, "hello", testkit.Receive(t, got))
		_, err = io.WriteString(peer, "more")
		require.NoError(t, err)
		require.Equal(t, "more", testkit.Receive(t, got))
	})
}

// Behaviour 5.7: an error returned by OnRequest is ignored.
func TestErrorFromRequestIsIgnored(t *testing.T) {
	log := testkit.CaptureLog(t, netpoll.SetLoggerOutput)
	s := testnet.NewServer(t, "tcp", func(ctx context.Context, conn netpoll.Connection) error {
		return errors.Join(testnet.Echo(ctx, conn), errors.New("nobody cares"))
	})
	c := s.Dial()
	for range 10 {
		require.NoError(t, testkit.RoundTrip(c, "x"))
	}
	require.Empty(t, log.String())
}
