package test

// Event loops on listeners of any kind: in memory, TLS, failing.

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
)

type sysConn interface {
	SyscallConn() (syscall.RawConn, error)
}

// memoryListener hands out ends of pipes. Its error after Close is not that of package net.
type memoryListener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
	fail  func() error // asked before each new connection, if set
}

func newMemoryListener() *memoryListener {
	return &memoryListener{conns: make(chan net.Conn), done: make(chan struct{})}
}

type memoryAddr struct{}

func (memoryAddr) Network() string { return "memory" }
func (memoryAddr) String() string  { return "memory" }

func (l *memoryListener) Addr() net.Addr { return memoryAddr{} }

func (l *memoryListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *memoryListener) Accept() (net.Conn, error) {
	if l.fail != nil {
		if err := l.fail(); err != nil {
			return nil, err
		}
	}
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, errors.New("memory listener: closed")
	}
}

// dial returns the client's end once the server has taken the other.
func (l *memoryListener) dial(t testing.TB) net.Conn {
	t.Helper()
	client, server := net.Pipe()
	select {
	case l.conns <- server:
	case <-time.After(testkit.Timeout):
		t.Fatal("nobody accepts")
	}
	t.Cleanup(func() { client.Close() })
	require.NoError(t, client.SetDeadline(time.Now().Add(testkit.Timeout)))
	return client
}

// requireEchoOf sends a word and expects it back.
func requireEchoOf(t testing.TB, c net.Conn, word string) {
	t.Helper()
	sent := make(chan error, 1)
	go func() { _, err := io.WriteString(c, word); sent <- err }()
	got := make([]byte, len(word))
	_, err := io.ReadFull(c, got)
	require.NoError(t, err)
	require.NoError(t, testkit.Receive(t, sent))
	require.Equal(t, word, string(got))
}

func TestAnyListenerIsServedUntilShutdown(t *testing.T) {
	for name, convert := range map[string]bool{"as it is": false, "converted": true} {
		t.Run(name, func(t *testing.T) {
			memory := newMemoryListener()
			var ln net.Listener = memory
			if convert {
				converted, err := netpoll.ConvertListener(memory)
				require.NoError(t, err)
				require.Equal(t, -1, converted.Fd())
				ln = converted
			}
			s := testnet.ServeOn(t, ln, testnet.Echo)
			a, b := memory.dial(t), memory.dial(t)
			requireEchoOf(t, a, "hello")
			requireEchoOf(t, b, "hello too")
			testnet.Shutdown(t, s.Loop)
			require.NoError(t, testkit.Receive(t, s.Served))
			_, err := a.Read(make([]byte, 1))
			require.Equal(t, io.EOF, err, "Shutdown closes idle connections")
			select {
			case <-memory.done:
			default:
				t.Fatal("the listener was not closed")
			}
		})
	}
}

func TestConnectionOfAnyListenerSendsBeforeItIsStarted(t *testing.T) {
	sent := make(chan error, 1)
	memory := newMemoryListener()
	s := testnet.ServeOn(t, memory, testnet.Echo, netpoll.WithOnPrepare(func(conn netpoll.Connection) context.Context {
		_, err := conn.Write([]byte("welcome")) // a greeting before anything is read
		sent <- err
		return nil
	}))
	c := memory.dial(t)
	got := make([]byte, len("welcome"))
	_, err := io.ReadFull(c, got)
	require.NoError(t, err)
	require.NoError(t, testkit.Receive(t, sent))
	requireEchoOf(t, c, "and then as ever")
	testnet.Shutdown(t, s.Loop)
	require.NoError(t, testkit.Receive(t, s.Served))
}

func TestShutdownWaitsForBusyConnectionOfAnyListener(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	memory := newMemoryListener()
	s := testnet.ServeOn(t, memory, func(ctx context.Context, conn netpoll.Connection) error {
		close(entered)
		<-leave
		return testnet.Echo(ctx, conn)
	})
	c := memory.dial(t)
	testkit.Send(t, c, "x")
	testkit.Receive(t, entered)
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Short)
	defer cancel()
	err := s.Loop.Shutdown(ctx)
	var busy *netpoll.ShutdownError
	require.ErrorAs(t, err, &busy)
	require.Len(t, busy.Busy, 1)
	require.NoError(t, testkit.Receive(t, s.Served))
	close(leave)
	got, err := io.ReadAll(c)
	require.NoError(t, err)
	require.Equal(t, "x", string(got))
}

func TestListenerClosedUnderServe(t *testing.T) {
	t.Run("as it is", func(t *testing.T) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		type wrapper struct{ net.Listener }
		s := testnet.ServeOn(t, wrapper{ln}, testnet.Echo)
		c, err := net.Dial("tcp", ln.Addr().String())
		require.NoError(t, err)
		defer c.Close()
		requireEchoOf(t, c, "before")
		require.NoError(t, ln.Close())
		require.ErrorIs(t, testkit.Receive(t, s.Served), net.ErrClosed)
		requireEchoOf(t, c, "goes on") // an accepted connection does not belong to the listener
	})
	t.Run("converted", func(t *testing.T) {
		memory := newMemoryListener()
		ln, err := netpoll.ConvertListener(memory)
		require.NoError(t, err)
		s := testnet.ServeOn(t, ln, testnet.Echo)
		requireEchoOf(t, memory.dial(t), "before")
		require.NoError(t, ln.Close())
		require.ErrorIs(t, ln.Close(), net.ErrClosed)
		testkit.Silent(t, 2*testkit.Short, s.Served, "the end")
		testnet.Shutdown(t, s.Loop)
		require.NoError(t, testkit.Receive(t, s.Served))
	})
}

func TestConvertedListenerAcceptsForItsUser(t *testing.T) {
	memory := newMemoryListener()
	ln, err := netpoll.ConvertListener(memory)
	require.NoError(t, err)
	again, err := netpoll.ConvertListener(ln)
	require.NoError(t, err)
	require.Same(t, ln, again)
	go func() {
		if c, err := ln.Accept(); err == nil {
			_ = c.(netpoll.Connection).SetOnRequest(testnet.Echo)
		}
	}()
	requireEchoOf(t, memory.dial(t), "hello")
	accepted := testkit.Blocked(t, func() error { _, err := ln.Accept(); return err })
	require.NoError(t, ln.Close())
	require.ErrorIs(t, testkit.Receive(t, accepted), net.ErrClosed)
}

// temporaryError says of itself that waiting helps.
type temporaryError struct{}

func (temporaryError) Error() string   { return "no room at the moment" }
func (temporaryError) Temporary() bool { return true }

func TestAcceptErrorsBackOffOrEndServe(t *testing.T) {
	t.Run("temporary", func(t *testing.T) {
		var asked atomic.Int64
		memory := newMemoryListener()
		memory.fail = func() error {
			if asked.Add(1) <= 4 {
				return temporaryError{}
			}
			return nil
		}
		start := time.Now()
		s := testnet.ServeOn(t, memory, testnet.Echo)
		requireEchoOf(t, memory.dial(t), "at last")
		require.GreaterOrEqual(t, time.Since(start), 5*time.Millisecond*(1+2+4+8), "it waits longer each time")
		testnet.Shutdown(t, s.Loop)
		require.NoError(t, testkit.Receive(t, s.Served))
	})
	t.Run("while it waits", func(t *testing.T) {
		memory := newMemoryListener()
		memory.fail = func() error { return temporaryError{} }
		s := testnet.ServeOn(t, memory, testnet.Echo)
		time.Sleep(testkit.Calm)
		testnet.Shutdown(t, s.Loop)
		require.NoError(t, testkit.Receive(t, s.Served))
	})
	t.Run("lasting", func(t *testing.T) {
		odd := errors.New("the door is walled up")
		memory := newMemoryListener()
		memory.fail = func() error { return odd }
		s := testnet.ServeOn(t, memory, testnet.Echo)
		require.ErrorIs(t, testkit.Receive(t, s.Served), odd)
		select {
		case <-memory.done:
		default:
			t.Fatal("the listener was not closed")
		}
	})
}

func TestMaxConnectionsHoldsOverSeveralListenersOfAnyKind(t *testing.T) {
	const most = 2
	var open, peak atomic.Int64
	loop, err := netpoll.NewEventLoop(testnet.Echo, netpoll.WithMaxConnections(most),
		netpoll.WithOnPrepare(func(c netpoll.Connection) context.Context {
			n := open.Add(1)
			peak.Store(max(peak.Load(), n))
			_ = c.AddCloseCallback(func(netpoll.Connection) error { open.Add(-1); return nil })
			return nil
		}))
	require.NoError(t, err)
	listeners := []*memoryListener{newMemoryListener(), newMemoryListener(), newMemoryListener()}
	served := make(chan error, len(listeners))
	for _, ln := range listeners {
		go func() { served <- loop.Serve(ln) }()
	}
	var clients sync.WaitGroup
	for i := range 60 {
		clients.Go(func() {
			c, s := net.Pipe()
			defer c.Close()
			listeners[i%len(listeners)].conns <- s
			if err := errors.Join(c.SetDeadline(time.Now().Add(testkit.Timeout)), pingPong(c)); err != nil {
				t.Error(err)
			}
		})
	}
	clients.Wait()
	require.LessOrEqual(t, peak.Load(), int64(most))
	testnet.Shutdown(t, loop)
	for range listeners {
		require.NoError(t, testkit.Receive(t, served))
	}
}

func pingPong(c net.Conn) error {
	if _, err := io.WriteString(c, "ping"); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, 4))
	return err
}

// tlsLoop serves TLS on a free port of this machine.
func tlsLoop(t *testing.T, on netpoll.OnRequest, opts ...netpoll.Option) (addr string, client *tls.Config) {
	t.Helper()
	server, client := newTLSConfigs(t)
	ln, err := tls.Listen("tcp", "127.0.0.1:0", server)
	require.NoError(t, err)
	s := testnet.ServeOn(t, ln, on, opts...)
	t.Cleanup(func() {
		testnet.Shutdown(t, s.Loop)
		require.NoError(t, testkit.Receive(t, s.Served))
	})
	return ln.Addr().String(), client
}

func TestEventLoopServesTLS(t *testing.T) {
	var mu sync.Mutex
	var order []string
	note := func(what string) {
		mu.Lock()
		defer mu.Unlock()
		if !slices.Contains(order, what) {
			order = append(order, what)
		}
	}
	closed := make(chan struct{})
	addr, config := tlsLoop(t, func(ctx context.Context, conn netpoll.Connection) error {
		note("request")
		return testnet.Echo(ctx, conn)
	}, netpoll.WithOnPrepare(func(conn netpoll.Connection) context.Context {
		note("prepare")
		_ = conn.AddCloseCallback(func(netpoll.Connection) error { note("closed"); close(closed); return nil })
		return nil
	}), netpoll.WithOnConnect(func(ctx context.Context, conn netpoll.Connection) context.Context {
		note("connect")
		if _, ok := conn.(underlying).NetConn().(*tls.Conn); !ok {
			t.Error("no TLS below")
		}
		return ctx
	}), netpoll.WithOnDisconnect(func(context.Context, netpoll.Connection) { note("disconnect") }))

	c, err := tls.Dial("tcp", addr, config)
	require.NoError(t, err)
	defer c.Close()
	exchange(t, c, testkit.Pattern(3<<20))
	testkit.Receive(t, closed)
	mu.Lock()
	defer mu.Unlock()
	require.Equal(t, []string{"prepare", "connect", "request", "disconnect", "closed"}, order)
}

func TestSlowHandshakeHoldsUpNobodyElse(t *testing.T) {
	addr, config := tlsLoop(t, testnet.Echo)
	slow, err := net.Dial("tcp", addr) // says nothing
	require.NoError(t, err)
	defer slow.Close()
	c, err := tls.Dial("tcp", addr, config)
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.SetDeadline(time.Now().Add(testkit.Timeout)))
	requireEchoOf(t, c, "served at once")
}

func TestFailedHandshakeTellsWhy(t *testing.T) {
	server, _ := newTLSConfigs(t)
	a, b := net.Pipe()
	defer b.Close()
	conn := wrap(t, tls.Server(a, server))
	go func() {
		_, _ = b.Write([]byte("GET / HTTP/1.1\r\n\r\n"))
		_, _ = io.Copy(io.Discard, b)
	}()
	_, err := conn.Reader().Next(1)
	var header tls.RecordHeaderError
	require.ErrorAs(t, err, &header)
	require.ErrorIs(t, err, netpoll.ErrConnClosed)
	require.False(t, conn.IsActive())
}

func TestTLSConnectionsAtBothEndsCarryEverything(t *testing.T) {
	server, client := newTLSConfigs(t)
	ln, err := tls.Listen("tcp", "127.0.0.1:0", server)
	require.NoError(t, err)
	defer ln.Close()
	for range 3 {
		raw := make(chan net.Conn, 1)
		go func() {
			c, err := tls.Dial("tcp", ln.Addr().String(), client)
			if err != nil {
				t.Error(err)
			}
			raw <- c
		}()
		accepted, err := ln.Accept()
		require.NoError(t, err)
		require.NoError(t, accepted.(*tls.Conn).Handshake())
		s, c := wrap(t, accepted), wrap(t, testkit.Receive(t, raw))
		require.NoError(t, s.SetOnRequest(testnet.Echo))
		data := testkit.Pattern(1 << 20)
		sent := make(chan error, 1)
		go func() {
			_, err := c.Write(data)
			sent <- errors.Join(err, c.(interface{ CloseWrite() error }).CloseWrite())
		}()
		got, err := io.ReadAll(c)
		require.NoError(t, err)
		require.NoError(t, testkit.Receive(t, sent))
		require.Equal(t, data, got)
		_, err = c.Write([]byte("x"))
		require.ErrorIs(t, err, netpoll.ErrConnClosed)
	}
}

func TestHTTPOverConvertedTLSListener(t *testing.T) {
	server, client := newTLSConfigs(t)
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ln, err := netpoll.ConvertListener(tls.NewListener(plain, server))
	require.NoError(t, err)
	site := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body) // HTTP/1 does not promise to go on reading once the answer has begun
		if err != nil {
			t.Error(err)
		}
		_, _ = w.Write(body)
	})}
	served := make(chan error, 1)
	go func() { served <- site.Serve(ln) }()
	transport := &http.Transport{TLSClientConfig: client}
	defer transport.CloseIdleConnections()
	for range 3 {
		body := strings.Repeat("over and over ", 10_000)
		response, err := (&http.Client{Transport: transport}).Post("https://"+plain.Addr().String(), "text/plain",
			strings.NewReader(body))
		require.NoError(t, err)
		got, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.True(t, body == string(got), "%d bytes of %d came back, or others", len(got), len(body))
	}
	require.NoError(t, site.Close())
	require.ErrorIs(t, testkit.Receive(t, served), http.ErrServerClosed)
}
