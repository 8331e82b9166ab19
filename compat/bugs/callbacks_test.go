package bugs

// The callbacks of a connection and its end.

import (
	"context"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"
)

// Behaviour 5.2: one slow OnDisconnect does not delay another connection's.
func TestSlowOnDisconnectDelaysNobody(t *testing.T) {
	const n = 8
	var connected, gone atomic.Int32
	all := make(chan struct{})
	hold, held := make(chan struct{}), make(chan struct{}, 1)
	s := serve(t, "127.0.0.1:0", func(context.Context, netpoll.Connection) error { return nil },
		netpoll.WithOnPrepare(func(netpoll.Connection) context.Context {
			if connected.Add(1) > n { // the last one keeps the poller from polling until all the others have closed
				held <- struct{}{}
				<-hold
			}
			return context.Background()
		}),
		netpoll.WithOnDisconnect(func(context.Context, netpoll.Connection) {
			if gone.Add(1) == n {
				close(all)
			}
			<-all
		}))
	var peers [n]io.Closer
	for i := range peers {
		peers[i] = s.dial(t)
	}
	eventually(t, "OnPrepare", func() bool { return connected.Load() == n })
	s.dial(t)
	await(t, held, "OnPrepare")
	for _, peer := range peers {
		must(t, peer.Close())
	}
	close(hold)
	await(t, all, "OnDisconnect of every connection while that of others still runs")
}

// Behaviour 5.3: OnPrepare may close the connection, and nothing is logged for it.
func TestOnPrepareRefusesSilently(t *testing.T) {
	log := logged()
	closed := make(chan struct{}, 1)
	s := serve(t, "127.0.0.1:0", echo, netpoll.WithOnPrepare(func(conn netpoll.Connection) context.Context {
		_ = conn.AddCloseCallback(func(netpoll.Connection) error {
			closed <- struct{}{}
			return nil
		})
		_ = conn.Close()
		return nil
	}))
	peer := s.dial(t)
	await(t, closed, "the close callback")
	_, _ = peer.Read(make([]byte, 1))
	if text := log.String(); text != "" {
		t.Fatalf("logged: %s", text)
	}
}

// Behaviour 5.5: a handler that consumes nothing is called again for new data, not in a loop.
func TestHandlerThatConsumesNothingIsNotCalledInALoop(t *testing.T) {
	var calls atomic.Int32
	s := serve(t, "127.0.0.1:0", func(context.Context, netpoll.Connection) error {
		calls.Add(1)
		return nil
	})
	peer := s.dial(t)
	send(t, peer, "x")
	eventually(t, "OnRequest", func() bool { return calls.Load() > 0 })
	time.Sleep(calm)
	if n := calls.Load(); n > 2 {
		t.Fatalf("called again and again: more than %d times in %v for one byte", n/10*10, calm)
	}
	before := calls.Load()
	send(t, peer, "y")
	eventually(t, "OnRequest for new data", func() bool { return calls.Load() > before })
}

// Behaviour 5.6: a handler set inside OnConnect gets the data from then on.
func TestHandlerSetInsideOnConnectGetsTheData(t *testing.T) {
	who := make(chan string, 16)
	handler := func(name string) netpoll.OnRequest {
		return func(_ context.Context, conn netpoll.Connection) error {
			who <- name
			return conn.Reader().Skip(conn.Reader().Len())
		}
	}
	s := serve(t, "127.0.0.1:0", handler("the old one"), netpoll.WithOnConnect(
		func(ctx context.Context, conn netpoll.Connection) context.Context {
			for deadline := time.Now().Add(patience); conn.Reader().Len() == 0 && time.Now().Before(deadline); {
				time.Sleep(time.Millisecond)
			}
			_ = conn.SetOnRequest(handler("the new one"))
			return ctx
		}))
	send(t, s.dial(t), "x")
	if name := await(t, who, "a call of the handler"); name != "the new one" {
		t.Fatalf("%s was called", name)
	}
}

// Behaviour 5.6: a handler set inside OnRequest gets the rest of the data.
func TestHandlerSetInsideOnRequestGetsTheRest(t *testing.T) {
	who := make(chan string, 16)
	s := serve(t, "127.0.0.1:0", func(_ context.Context, conn netpoll.Connection) error {
		who <- "the old one"
		_ = conn.SetOnRequest(func(_ context.Context, conn netpoll.Connection) error {
			who <- "the new one"
			return conn.Reader().Skip(conn.Reader().Len())
		})
		return conn.Reader().Skip(1)
	})
	send(t, s.dial(t), "xy")
	await(t, who, "a call of the handler")
	if name := await(t, who, "a second call"); name != "the new one" {
		t.Fatalf("%s was called for the rest", name)
	}
}

// Behaviour 5.8: SetOnConnect on a dialed connection does not disable OnRequest, and is called.
func TestOnConnectOfADialedConnectionHidesNothing(t *testing.T) {
	conn, peer := pair(t)
	connected, requested := make(chan struct{}, 1), make(chan struct{}, 1)
	must(t, conn.(interface {
		SetOnConnect(netpoll.OnConnect) error
	}).SetOnConnect(func(ctx context.Context, _ netpoll.Connection) context.Context {
		connected <- struct{}{}
		return ctx
	}))
	must(t, conn.SetOnRequest(func(_ context.Context, conn netpoll.Connection) error {
		requested <- struct{}{}
		return conn.Reader().Skip(conn.Reader().Len())
	}))
	send(t, peer, "x")
	await(t, requested, "OnRequest")
	await(t, connected, "OnConnect")
}

// Behaviour 5.10: a reply can still be written after the peer has half-closed.
func TestReplyAfterThePeersHalfCloseArrives(t *testing.T) {
	s := serve(t, "127.0.0.1:0", func(_ context.Context, conn netpoll.Connection) error {
		for deadline := time.Now().Add(patience); conn.IsActive() && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
		}
		return echo(context.Background(), conn)
	})
	peer := s.dial(t)
	send(t, peer, "request")
	must(t, peer.CloseWrite())
	if reply, err := io.ReadAll(peer); err != nil || string(reply) != "request" {
		t.Fatalf("the reply is %q, with the error %v", reply, err)
	}
}

// Behaviour 5.14: a CloseCallback that is added after the close runs at once.
func TestCloseCallbackAddedAfterTheCloseRuns(t *testing.T) {
	conn, _ := pair(t)
	must(t, conn.Close())
	ran := make(chan struct{}, 1)
	must(t, conn.AddCloseCallback(func(netpoll.Connection) error {
		ran <- struct{}{}
		return nil
	}))
	await(t, ran, "the close callback")
}
