//go:build linux

package netpoll_test

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
	"github.com/stretchr/testify/require"
)

// Behaviour 5.4: OnRequest is called at least once for data that came together with the peer's FIN.
func TestRequestSeesDataThatCameWithTheEnd(t *testing.T) {
	const workers, each, message = 8, 60, "the last words"
	overNetworks(t, func(t *testing.T, network string) {
		var handled atomic.Int64
		s := newLifeServer(t, network, func(_ context.Context, conn netpoll.Connection) error {
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
					c, err := net.Dial(network, s.ln.Addr().String())
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
		eventually(t, func() bool { return handled.Load() == workers*each })
	})
}

// Behaviour 5.4: OnRequest is called again while input remains, after the peer's end too.
func TestRequestIsCalledAgainWhileInputRemains(t *testing.T) {
	const message = "0123456789"
	var j journal
	gone := make(chan struct{})
	s := newLifeServer(t, "tcp", func(_ context.Context, conn netpoll.Connection) error {
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
	c := s.dial()
	_, err := io.WriteString(c, message)
	require.NoError(t, err)
	require.NoError(t, c.Close())
	j.until(t, "closed")
	want := []string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "closed"}
	require.Equal(t, want, j.list())
}

// Behaviour 5.4: OnRequest may block for the connection's whole life while another goroutine reads.
func TestRequestMayBlockWhileAnotherGoroutineReads(t *testing.T) {
	overNetworks(t, func(t *testing.T, network string) {
		var calls atomic.Int64
		ended, closed := make(chan error, 1), make(chan struct{})
		s := newLifeServer(t, network, func(_ context.Context, conn netpoll.Connection) error {
			calls.Add(1)
			_ = conn.AddCloseCallback(func(netpoll.Connection) error { close(closed); return nil })
			var reader sync.WaitGroup
			reader.Go(func() { ended <- echoFrames(conn, 4) })
			reader.Wait()
			return nil
		})
		c := s.dial()
		for range 100 {
			require.NoError(t, roundTrip(c, "ping"))
		}
		require.NoError(t, c.Close())
		require.ErrorIs(t, receive(t, ended), netpoll.ErrEOF)
		receive(t, closed)
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
	s := newLifeServer(t, "tcp", func(ctx context.Context, conn netpoll.Connection) error {
		calls.Add(1)
		switch p, _ := conn.Reader().Peek(conn.Reader().Len()); {
		case giveUp.Load():
			return conn.Close()
		case len(p) >= need:
			handled <- string(p)
			return discard(ctx, conn)
		}
		return nil
	})
	c := s.dial()
	for i := range need {
		before := calls.Load()
		_, err := c.Write([]byte{'a' + byte(i)})
		require.NoError(t, err)
		eventually(t, func() bool { return calls.Load() > before })
	}
	require.Equal(t, "abcdefgh", receive(t, handled))

	_, err := io.WriteString(c, "i")
	require.NoError(t, err)
	eventually(t, func() bool { return calls.Load() > need })
	idles(t)
	require.LessOrEqual(t, calls.Load(), int64(2*(need+1)), "more calls than one, or at worst two, for each piece of data")
}

// Behaviour 5.5: … or when there is a new handler.
func TestNewHandlerIsCalledForWhatTheOldOneLeft(t *testing.T) {
	connected, looked, handled := make(chan netpoll.Connection, 1), make(chan struct{}, 1000), make(chan string, 1)
	s := newLifeServer(t, "tcp", func(_ context.Context, conn netpoll.Connection) error {
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
	c := s.dial()
	conn := receive(t, connected)
	_, err := io.WriteString(c, "left over")
	require.NoError(t, err)
	receive(t, looked)
	silent(t, looked, "second call of the first handler")
	require.NoError(t, conn.SetOnRequest(takeAll(handled)))
	require.Equal(t, "left over", receive(t, handled))
}

// takeAll returns an OnRequest that consumes what there is and passes it on.
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
	s := newLifeServer(t, "tcp", func(_ context.Context, conn netpoll.Connection) error {
		if giveUp.Load() || len(j.list()) > 1000 {
			return conn.Close()
		}
		j.add("%d bytes, active: %v", conn.Reader().Len(), conn.IsActive())
		return nil
	}, netpoll.WithOnConnect(func(ctx context.Context, conn netpoll.Connection) context.Context {
		_ = conn.AddCloseCallback(func(netpoll.Connection) error { close(closed); return nil })
		return ctx
	}))
	c := s.dial()
	_, err := io.WriteString(c, "abc")
	require.NoError(t, err)
	j.until(t, "3 bytes, active: true")
	require.NoError(t, c.Close())
	receive(t, closed)
	require.Equal(t, 1, j.count("3 bytes, active: false"), "calls at the end; all: %v", j.list())
}

// Behaviour 5.6: SetOnRequest inside OnConnect decides who gets the data from then on.
func TestHandlerSetInsideOnConnectGetsTheData(t *testing.T) {
	first, second := make(chan string, 10), make(chan string, 10)
	s := newLifeServer(t, "tcp", takeAll(first),
		netpoll.WithOnConnect(func(ctx context.Context, conn netpoll.Connection) context.Context {
			if _, err := conn.Reader().Peek(5); err != nil { // the data is there before the choice
				t.Error(err)
			}
			if err := conn.SetOnRequest(takeAll(second)); err != nil {
				t.Error(err)
			}
			return ctx
		}))
	c := s.dial()
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
	require.Equal(t, "again", receive(t, second))
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
			s := newLifeServer(t, "tcp", func(_ context.Context, conn netpoll.Connection) error {
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
			client := s.dial()
			_, err := io.WriteString(client, "PRI * HTTP/2.0")
			require.NoError(t, err)
			require.Equal(t, c.want, receive(t, rest))
			_, err = io.WriteString(client, "more")
			require.NoError(t, err)
			require.Equal(t, "more", receive(t, rest))
			require.EqualValues(t, 1, firstCalls.Load())
		})
	}
}

// Behaviour 5.6: SetOnRequest on a dialed connection that already holds data starts it.
func TestHandlerSetOnDialedConnectionGetsBufferedData(t *testing.T) {
	overNetworks(t, func(t *testing.T, network string) {
		conn, peer := dialedTo(t, network)
		_, err := io.WriteString(peer, "hello")
		require.NoError(t, err)
		eventually(t, func() bool { return conn.Reader().Len() == 5 })
		got := make(chan string, 10)
		require.NoError(t, conn.SetOnRequest(takeAll(got)))
		require.Equal(t, "hello", receive(t, got))
		_, err = io.WriteString(peer, "more")
		require.NoError(t, err)
		require.Equal(t, "more", receive(t, got))
	})
}

// Behaviour 5.7: an error returned by OnRequest is ignored.
func TestErrorFromRequestIsIgnored(t *testing.T) {
	log := captureLog(t)
	s := newLifeServer(t, "tcp", func(ctx context.Context, conn netpoll.Connection) error {
		return errors.Join(echo(ctx, conn), errors.New("nobody cares"))
	})
	c := s.dial()
	for range 10 {
		require.NoError(t, roundTrip(c, "x"))
	}
	require.Empty(t, log.String())
}
