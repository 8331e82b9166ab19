package programs

// Servers whose handlers find out that the client has closed in the ways that programs on the original use: by IsActive
// and Len in OnRequest, or by OnDisconnect. The clients are of package net.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll"
)

// startLoop serves on a free loopback port until the test ends.
func startLoop(t *testing.T, onRequest netpoll.OnRequest, options ...netpoll.Option) (address string) {
	t.Helper()
	loop, err := netpoll.NewEventLoop(onRequest, options...)
	require.NoError(t, err)
	ln, err := netpoll.CreateListener("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address = ln.Addr().String()
	served := make(chan error, 1)
	go func() { served <- loop.Serve(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		require.NoError(t, loop.Shutdown(ctx))
		require.NoError(t, await(t, served, "the end of Serve"))
	})
	return address
}

// handlerTime is how long a handler works before it reads its input. More input arrives meanwhile.
const handlerTime = 20 * time.Millisecond

// Behaviour 9.1: a handler that finds the connection inactive and nothing to read has seen everything.
func TestHandlerThatFindsTheEndHasSeenEverything(t *testing.T) {
	const size = 3 << 20
	seen := make(chan int64, 1)
	var total atomic.Int64
	address := startLoop(t, func(_ context.Context, conn netpoll.Connection) error {
		time.Sleep(handlerTime)
		r := conn.Reader()
		n := r.Len()
		if err := r.Skip(n); err != nil {
			return err
		}
		if err := r.Release(); err != nil {
			return err
		}
		total.Add(int64(n))
		if !conn.IsActive() && r.Len() == 0 {
			return conn.Close()
		}
		return nil
	}, netpoll.WithOnPrepare(func(conn netpoll.Connection) context.Context {
		_ = conn.AddCloseCallback(func(netpoll.Connection) error {
			seen <- total.Swap(0)
			return nil
		})
		return context.Background()
	}))
	for range 5 {
		conn := rawDial(t, address)
		_, err := conn.Write(pattern(0, size))
		if err == nil {
			err = conn.CloseWrite()
		}
		got := await(t, seen, "the connection's end")
		require.EqualValues(t, size, got, "the handler found the end before it had seen everything")
		require.NoError(t, err)
		require.NoError(t, conn.Close())
	}
}

// upstreamKey is the key of the connection to the server behind a proxy, in the context of the client's connection.
type upstreamKey struct{}

// eventProxy is a proxy without a goroutine of its own: the handler of each side sends its input to the other side. When
// the client has ended and its input has been sent on, both are closed.
type eventProxy struct{ upstream string }

func (p eventProxy) onConnect(ctx context.Context, client netpoll.Connection) context.Context {
	server, err := netpoll.DialConnection("tcp", p.upstream, patience)
	if err != nil {
		_ = client.Close()
		return ctx
	}
	_ = server.SetOnRequest(func(context.Context, netpoll.Connection) error { return passOn(server, client) })
	_ = client.AddCloseCallback(func(netpoll.Connection) error { return server.Close() })
	return context.WithValue(ctx, upstreamKey{}, server)
}

func (p eventProxy) onRequest(ctx context.Context, client netpoll.Connection) error {
	server, ok := ctx.Value(upstreamKey{}).(netpoll.Connection)
	if !ok {
		return client.Close()
	}
	time.Sleep(handlerTime)
	err := passOn(client, server)
	if err != nil || !client.IsActive() && client.Reader().Len() == 0 {
		return errors.Join(err, client.Close())
	}
	return nil
}

// passOn sends the input that has arrived from one side to the other.
func passOn(from, to netpoll.Connection) error {
	r, w := from.Reader(), to.Writer()
	defer r.Release()
	p, err := r.Next(r.Len())
	if err != nil {
		return err
	}
	if _, err := w.WriteBinary(p); err != nil {
		return err
	}
	return w.Flush()
}

// Behaviour 9.1.
func TestEventDrivenProxyPassesOnEverything(t *testing.T) {
	const clients, size = 10, 3 << 20
	got := make(chan string, clients)
	upstream := sides{}.serveEach(t, func(conn net.Conn) {
		sum, err := digestOf(conn)
		got <- sum + orNothing(err)
	})
	p := eventProxy{upstream}
	address := startLoop(t, p.onRequest, netpoll.WithOnConnect(p.onConnect))
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			// The client's error does not matter: it may see the end before it has sent everything.
			_, _ = sendAndReadAll(address, pattern(1, size))
		})
	}
	for range clients {
		require.Equal(t, digest(pattern(1, size)), await(t, got, "the upload"))
	}
	wg.Wait()
}

// readToTheEnd is a handler that reads and does not answer.
func readToTheEnd(_ context.Context, conn netpoll.Connection) error {
	r := conn.Reader()
	if err := r.Skip(r.Len()); err != nil {
		return err
	}
	return r.Release()
}

// reply sends text, the answer of a handler.
func reply(conn netpoll.Connection, text string) error {
	if _, err := conn.Writer().WriteString(text); err != nil {
		return err
	}
	return conn.Writer().Flush()
}

// askAndEnd sends a request, half-closes, and returns everything that comes back.
func askAndEnd(t *testing.T, address, request string) string {
	t.Helper()
	conn := rawDial(t, address)
	defer conn.Close()
	if request != "" {
		_, err := io.WriteString(conn, request)
		require.NoError(t, err)
	}
	require.NoError(t, conn.CloseWrite())
	got, err := io.ReadAll(conn)
	require.NoError(t, err)
	return string(got)
}

// Behaviour 5.10: OnDisconnect may still write to a client that has only half-closed, before or after the handler has
// seen its request.
func TestOnDisconnectMayReplyAfterHalfClose(t *testing.T) {
	for name, onRequest := range map[string]netpoll.OnRequest{
		"handler reads": readToTheEnd,
		"handler works": func(ctx context.Context, conn netpoll.Connection) error {
			time.Sleep(handlerTime)
			return readToTheEnd(ctx, conn)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := startLoop(t, onRequest, netpoll.WithOnDisconnect(
				func(_ context.Context, conn netpoll.Connection) {
					if err := reply(conn, "you have "); err == nil {
						_ = reply(conn, "said enough")
					}
				}))
			for range 20 {
				require.Equal(t, "you have said enough", askAndEnd(t, address, "a request"))
			}
		})
	}
}

// Behaviour 5.10, 5.4: a client that connects and half-closes, as `nc -N </dev/null` does, has made an empty request.
// The server answers it.
func TestEmptyRequestIsAnswered(t *testing.T) {
	for name, options := range map[string][]netpoll.Option{
		"OnRequest alone": nil,
		"with OnConnect": {netpoll.WithOnConnect(func(ctx context.Context, _ netpoll.Connection) context.Context {
			return ctx
		})},
		"with OnDisconnect": {netpoll.WithOnDisconnect(func(context.Context, netpoll.Connection) {})},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := startLoop(t, func(_ context.Context, conn netpoll.Connection) error {
				r := conn.Reader()
				n := r.Len()
				if err := r.Skip(n); err != nil {
					return err
				}
				return errors.Join(r.Release(), reply(conn, fmt.Sprintf("%d bytes", n)))
			}, options...)
			for range 20 {
				require.Equal(t, "0 bytes", askAndEnd(t, address, ""))
			}
		})
	}
}

// Behaviour 5.4: a client that reads in its handler, as Kitex's gRPC client does, notices that the server has closed
// without sending anything: the last call of the handler gets the error.
func TestDialedConnectionThatGetsNothingHasItsHandlerCalled(t *testing.T) {
	for name, leave := range map[string]func(*net.TCPConn) error{
		"end": (*net.TCPConn).Close,
		"reset": func(conn *net.TCPConn) error {
			return errors.Join(conn.SetLinger(0), conn.Close())
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for range 20 {
				dialed, peer := sides{client: true}.connect(t)
				found := make(chan error, 1)
				require.NoError(t, dialed.(netpoll.Connection).SetOnRequest(
					func(_ context.Context, conn netpoll.Connection) error {
						_, err := conn.Reader().Next(1)
						found <- err
						return nil
					}))
				require.NoError(t, leave(peer.(*net.TCPConn)))
				select {
				case err := <-found:
					require.ErrorIs(t, err, netpoll.ErrConnClosed)
				case <-time.After(soon):
					require.Fail(t, "the handler was not called")
				}
			}
		})
	}
}
