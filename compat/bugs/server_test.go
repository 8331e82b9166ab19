package bugs

// Servers, listeners, dialing.

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/mux"
)

// Behaviour 6.1: Shutdown before Serve makes Serve return at once.
func TestShutdownBeforeServeEndsServe(t *testing.T) {
	ln, err := netpoll.CreateListener("tcp", "127.0.0.1:0")
	must(t, err)
	loop, err := netpoll.NewEventLoop(echo)
	must(t, err)
	must(t, loop.Shutdown(context.Background()))
	must(t, await(t, async(func() error { return loop.Serve(ln) }), "the end of Serve"))
}

// Behaviour 6.1: the end of its listener ends Serve with an error that Is net.ErrClosed.
func TestEndOfTheListenerEndsServe(t *testing.T) {
	s := serve(t, "127.0.0.1:0", echo)
	ask(t, s.dialNetpoll(t))
	must(t, s.ln.Close())
	if err := await(t, s.served, "the end of Serve"); !errors.Is(err, net.ErrClosed) {
		t.Fatalf("Serve ended with %v", err)
	}
}

// Behaviour 6.1: one EventLoop serves several listeners, and Shutdown ends all.
func TestShutdownEndsEveryServeOfALoop(t *testing.T) {
	loop, err := netpoll.NewEventLoop(echo)
	must(t, err)
	served := make(chan error, 2)
	for range 2 {
		ln, err := netpoll.CreateListener("tcp", "127.0.0.1:0")
		must(t, err)
		go func() { served <- loop.Serve(ln) }()
		conn, err := netpoll.DialConnection("tcp", ln.Addr().String(), patience)
		must(t, err)
		ask(t, conn)
		must(t, conn.Close())
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	must(t, loop.Shutdown(ctx))
	for range 2 {
		must(t, await(t, served, "the end of each Serve"))
	}
}

// Behaviour 6.3: what CreateListener returns is a net.Listener: Accept blocks and returns a connection.
func TestAcceptBlocksAndReturnsAConnection(t *testing.T) {
	ln, err := netpoll.CreateListener("tcp", "127.0.0.1:0")
	must(t, err)
	defer ln.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		conn, _ := ln.Accept()
		accepted <- conn
	}()
	select {
	case conn := <-accepted:
		t.Fatalf("Accept returned %v before anybody came", conn)
	case <-time.After(calm):
	}
	peer, err := net.Dial("tcp", ln.Addr().String())
	must(t, err)
	defer peer.Close()
	conn := await(t, accepted, "a connection from Accept")
	defer conn.Close()
	send(t, peer, "x")
	_, err = io.ReadFull(conn, make([]byte, 1))
	must(t, err)
}

// Behaviour 6.3: http.Serve works on the listener.
func TestHTTPServesOnTheListener(t *testing.T) {
	ln, err := netpoll.CreateListener("tcp", "127.0.0.1:0")
	must(t, err)
	defer ln.Close()
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "hello")
	})}
	go func() { _ = srv.Serve(ln) }()
	defer srv.Close()
	client := &http.Client{Timeout: patience}
	resp, err := client.Get("http://" + ln.Addr().String())
	must(t, err)
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "hello" {
		t.Fatalf("%q and the error %v", body, err)
	}
	client.CloseIdleConnections()
}

// Behaviour 6.3: any net.Listener can be converted and served, a wrapped one too.
func TestWrappedListenerCanBeServed(t *testing.T) {
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer plain.Close()
	ln, err := netpoll.ConvertListener(struct{ net.Listener }{plain})
	must(t, err)
	loop, err := netpoll.NewEventLoop(echo)
	must(t, err)
	served := async(func() error { return loop.Serve(ln) })
	conn, err := netpoll.DialConnection("tcp", plain.Addr().String(), patience)
	must(t, err)
	ask(t, conn)
	must(t, conn.Close())
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	must(t, loop.Shutdown(ctx))
	must(t, await(t, served, "the end of Serve"))
}

// Behaviour 6.5: a dial to a server that closes right after accepting succeeds, and its bytes can be read.
func TestDialToAServerThatClosesAtOnceSucceeds(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer ln.Close()
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, "hello")
			conn.Close()
		}
	}()
	for i := range 2000 {
		conn, err := netpoll.DialConnection("tcp", ln.Addr().String(), patience)
		if err != nil {
			t.Fatalf("dial %d: %v", i, err)
		}
		s, err := conn.Reader().ReadString(5)
		if err != nil || s != "hello" {
			t.Fatalf("dial %d: read %q and the error %v", i, s, err)
		}
		must(t, conn.Close())
	}
}

// Behaviour 6.6: fewer pollers strand no connection.
func TestFewerPollersStrandNoConnection(t *testing.T) {
	must(t, netpoll.Configure(netpoll.Config{PollerNum: 4}))
	s := serve(t, "127.0.0.1:0", echo)
	var conns [8]netpoll.Connection
	for i := range conns {
		conns[i] = s.dialNetpoll(t)
		ask(t, conns[i])
	}
	must(t, netpoll.Configure(netpoll.Config{PollerNum: 1}))
	ask(t, s.dialNetpoll(t)) // from here on there is one
	for _, conn := range conns {
		must(t, conn.SetReadTimeout(3*time.Second))
		ask(t, conn)
	}
}

// Behaviour 7.2: a queue of size 0 has the default number of shards.
func TestShardQueueOfSizeZeroWorks(t *testing.T) {
	conn, peer := pair(t)
	q := mux.NewShardQueue(0, conn)
	q.Add(func() (netpoll.Writer, bool) {
		b := netpoll.NewLinkBuffer()
		_, _ = b.WriteString("hello")
		return b, false
	})
	must(t, peer.SetReadDeadline(time.Now().Add(patience)))
	p := make([]byte, 5)
	_, err := io.ReadFull(peer, p)
	must(t, err)
	if string(p) != "hello" {
		t.Fatalf("got %q", p)
	}
	must(t, q.Close())
}

// Behaviour 5.13: LocalAddr of an accepted connection is its own address, not the listener's wildcard.
func TestLocalAddrIsNotTheWildcard(t *testing.T) {
	addrs := make(chan string, 1)
	s := serve(t, "0.0.0.0:0", echo, netpoll.WithOnConnect(
		func(ctx context.Context, conn netpoll.Connection) context.Context {
			addrs <- conn.LocalAddr().String()
			return ctx
		}))
	peer, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", s.addr[strings.LastIndex(s.addr, ":")+1:]))
	must(t, err)
	defer peer.Close()
	if addr := await(t, addrs, "OnConnect"); addr != peer.RemoteAddr().String() {
		t.Fatalf("the local address is %s, and the peer dialed %s", addr, peer.RemoteAddr())
	}
}

// dialNetpoll returns a connection of the library to the server.
func (s *server) dialNetpoll(t testing.TB) netpoll.Connection {
	t.Helper()
	conn, err := netpoll.DialConnection("tcp", s.addr, patience)
	must(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}
