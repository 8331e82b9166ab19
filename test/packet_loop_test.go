package test

// PacketLoop: serving, its end, and handlers that misbehave.

import (
	"context"
	"errors"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
)

func echoPackets(_ context.Context, conn *netpoll.UDPConn, packets []netpoll.Packet) error {
	_, err := conn.WriteBatch(packets)
	return err
}

// packetServer is a PacketLoop that serves one socket.
type packetServer struct {
	netpoll.PacketLoop
	addr  *net.UDPAddr
	serve chan error
}

// servePackets serves a socket until the end of the test.
func servePackets(t testing.TB, conn net.PacketConn, on netpoll.OnPacket, ops ...netpoll.PacketOption) *packetServer {
	t.Helper()
	loop, err := netpoll.NewPacketLoop(on, ops...)
	require.NoError(t, err)
	s := &packetServer{loop, conn.LocalAddr().(*net.UDPAddr), make(chan error, 1)}
	go func() { s.serve <- loop.Serve(conn) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), testkit.Timeout)
		defer cancel()
		require.NoError(t, loop.Shutdown(ctx))
	})
	return s
}

// packetClient is a connected socket of package net.
func packetClient(t testing.TB, to *net.UDPAddr) *net.UDPConn {
	t.Helper()
	c, err := net.DialUDP("udp", nil, to)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	require.NoError(t, c.SetDeadline(time.Now().Add(testkit.Timeout)))
	return c
}

func expectPacket(t testing.TB, c net.Conn, want string) {
	t.Helper()
	p := make([]byte, 70000)
	n, err := c.Read(p)
	require.NoError(t, err)
	require.Equal(t, want, string(p[:n]))
}

func expectPacketEcho(t testing.TB, c net.Conn, text string) {
	t.Helper()
	_, err := c.Write([]byte(text))
	require.NoError(t, err)
	expectPacket(t, c, text)
}

// packetConns makes a socket of each kind that a loop serves.
var packetConns = map[string]func(t testing.TB) net.PacketConn{
	"UDPConn": func(t testing.TB) net.PacketConn {
		conn, err := netpoll.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		require.NoError(t, err)
		return conn
	},
	"UDPConn of IPv6": func(t testing.TB) net.PacketConn {
		conn, err := netpoll.ListenUDP("udp6", &net.UDPAddr{IP: net.IPv6loopback})
		require.NoError(t, err)
		return conn
	},
	"net.UDPConn": func(t testing.TB) net.PacketConn {
		conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		require.NoError(t, err)
		return conn
	},
	"net.PacketConn": func(t testing.TB) net.PacketConn {
		conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
		require.NoError(t, err)
		return otherPackets{conn}
	},
}

// overPacketConns runs a test with each kind of socket.
func overPacketConns(t *testing.T, f func(t *testing.T, listen func() net.PacketConn)) {
	for name, listen := range packetConns {
		t.Run(name, func(t *testing.T) { f(t, func() net.PacketConn { return listen(t) }) })
	}
}

func TestPacketLoopServes(t *testing.T) {
	overPacketConns(t, func(t *testing.T, listen func() net.PacketConn) {
		s := servePackets(t, listen(), echoPackets)
		var group sync.WaitGroup
		for range 8 {
			c := packetClient(t, s.addr)
			group.Go(func() {
				for i := range 50 {
					expectPacketEcho(t, c, strings.Repeat("x", i*7))
				}
			})
		}
		group.Wait()
		expectPacketEcho(t, packetClient(t, s.addr), strings.Repeat("long", 10000))
		require.NoError(t, s.Shutdown(context.Background()))
		require.NoError(t, testkit.Receive(t, s.serve))
		require.NoError(t, s.Shutdown(context.Background()), "a second time")
		conn := listen()
		require.NoError(t, s.Serve(conn), "after Shutdown")
		require.ErrorIs(t, conn.SetDeadline(time.Time{}), net.ErrClosed)
	})
}

// What arrives while the handler runs comes to it as one batch, in order, and never at the same time.
func TestPacketLoopRunsOneHandlerAtATime(t *testing.T) {
	overPacketConns(t, func(t *testing.T, listen func() net.PacketConn) {
		var running, calls atomic.Int32
		var largest atomic.Int64
		entered, goOn := make(chan struct{}, 100), make(chan struct{})
		var next atomic.Int32
		done := make(chan struct{})
		s := servePackets(t, listen(), func(_ context.Context, _ *netpoll.UDPConn, packets []netpoll.Packet) error {
			require.EqualValues(t, 1, running.Add(1))
			defer running.Add(-1)
			calls.Add(1)
			largest.Store(max(largest.Load(), int64(len(packets))))
			for _, p := range packets {
				require.Len(t, p.Data, 1)
				require.EqualValues(t, next.Add(1)-1, p.Data[0])
			}
			if next.Load() == 31 {
				close(done)
			}
			entered <- struct{}{}
			<-goOn
			return nil
		})
		c := packetClient(t, s.addr)
		_, err := c.Write([]byte{0})
		require.NoError(t, err)
		testkit.Receive(t, entered)
		for i := 1; i <= 30; i++ {
			_, err := c.Write([]byte{byte(i)})
			require.NoError(t, err)
		}
		testkit.Silent(t, testkit.Calm, entered, "a second handler")
		close(goOn)
		testkit.Receive(t, done)
		if hasBatches && !strings.Contains(t.Name(), "net.PacketConn") {
			require.GreaterOrEqual(t, largest.Load(), int64(14))
			require.LessOrEqual(t, calls.Load(), int32(3))
		}
	})
}

// A handler that blocks holds up neither the other sockets of the loop nor connections.
func TestPacketHandlerMayBlock(t *testing.T) {
	goOn := make(chan struct{})
	entered := make(chan struct{}, 1)
	s := servePackets(t, packetConns["UDPConn"](t), func(ctx context.Context, conn *netpoll.UDPConn, packets []netpoll.Packet) error {
		if string(packets[0].Data) == "block" {
			entered <- struct{}{}
			<-goOn
		}
		return echoPackets(ctx, conn, packets)
	})
	blocked := packetClient(t, s.addr)
	_, err := blocked.Write([]byte("block"))
	require.NoError(t, err)
	testkit.Receive(t, entered)

	other := packetConns["UDPConn"](t)
	served := make(chan error, 1)
	go func() { served <- s.Serve(other) }()
	expectPacketEcho(t, packetClient(t, other.LocalAddr().(*net.UDPAddr)), "another socket")
	conn, peer := testnet.Dialed(t, "tcp")
	_, err = peer.Write([]byte("hello"))
	require.NoError(t, err)
	p, err := conn.Reader().Next(5)
	require.NoError(t, err)
	require.Equal(t, "hello", string(p))
	close(goOn)
	expectPacket(t, blocked, "block")
	require.NoError(t, s.Shutdown(context.Background()))
	require.NoError(t, testkit.Receive(t, served))
}

func TestShutdownWaitsForThePacketHandler(t *testing.T) {
	overPacketConns(t, func(t *testing.T, listen func() net.PacketConn) {
		goOn, entered := make(chan struct{}), make(chan struct{}, 10)
		s := servePackets(t, listen(), func(ctx context.Context, conn *netpoll.UDPConn, packets []netpoll.Packet) error {
			entered <- struct{}{}
			<-goOn
			return echoPackets(ctx, conn, packets)
		})
		c := packetClient(t, s.addr)
		_, err := c.Write([]byte("last"))
		require.NoError(t, err)
		testkit.Receive(t, entered)
		_, err = c.Write([]byte("too late"))
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		err = s.Shutdown(ctx)
		var shutdown *netpoll.ShutdownError
		require.ErrorAs(t, err, &shutdown)
		require.ErrorIs(t, err, context.Canceled)
		testkit.Silent(t, testkit.Calm, s.serve, "Serve returned")
		close(goOn)
		require.NoError(t, testkit.Receive(t, s.serve))
		expectPacket(t, c, "last")
		testkit.Silent(t, 0, entered, "the handler was called again")
	})
}

func TestClosedSocketEndsServe(t *testing.T) {
	overPacketConns(t, func(t *testing.T, listen func() net.PacketConn) {
		t.Run("idle", func(t *testing.T) {
			conn := listen()
			own, err := netpoll.NewUDPConn(conn)
			require.NoError(t, err)
			s := servePackets(t, own, echoPackets)
			expectPacketEcho(t, packetClient(t, s.addr), "hello")
			require.NoError(t, own.Close())
			require.ErrorIs(t, testkit.Receive(t, s.serve), net.ErrClosed)
			again, err := net.ListenUDP("udp", s.addr)
			require.NoError(t, err, "the address is free")
			again.Close()
		})
		t.Run("in the handler", func(t *testing.T) {
			var after atomic.Bool
			s := servePackets(t, listen(), func(_ context.Context, conn *netpoll.UDPConn, packets []netpoll.Packet) error {
				if err := conn.Close(); err != nil {
					t.Error(err)
				}
				_, err := conn.WriteBatch(packets)
				if !errors.Is(err, net.ErrClosed) {
					t.Error(err)
				}
				after.Store(true)
				return nil
			})
			_, err := packetClient(t, s.addr).Write([]byte("x"))
			require.NoError(t, err)
			require.ErrorIs(t, testkit.Receive(t, s.serve), net.ErrClosed)
			require.True(t, after.Load(), "Serve returned before the handler")
		})
		t.Run("before", func(t *testing.T) {
			conn := listen()
			require.NoError(t, conn.Close())
			loop, err := netpoll.NewPacketLoop(echoPackets)
			require.NoError(t, err)
			require.ErrorIs(t, loop.Serve(conn), net.ErrClosed)
			require.NoError(t, loop.Shutdown(context.Background()))
		})
	})
}

// The program closes the socket below at some moment, and other sockets take the number of its descriptor.
func TestSocketOfPackageNetMayBeClosedWhileServed(t *testing.T) {
	for range 50 {
		conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		require.NoError(t, err)
		loop, err := netpoll.NewPacketLoop(echoPackets)
		require.NoError(t, err)
		served := make(chan error, 1)
		go func() { served <- loop.Serve(conn) }()
		c := packetClient(t, conn.LocalAddr().(*net.UDPAddr))
		expectPacketEcho(t, c, "x")
		require.NoError(t, conn.Close())
		s := servePackets(t, packetConns["UDPConn"](t), echoPackets)
		require.NoError(t, loop.Shutdown(context.Background()))
		testkit.Receive(t, served)
		expectPacketEcho(t, packetClient(t, s.addr), "y")
		require.NoError(t, s.Shutdown(context.Background()))
	}
}

func TestPacketHandlerThatFailsIsCalledAgain(t *testing.T) {
	overPacketConns(t, func(t *testing.T, listen func() net.PacketConn) {
		log := testkit.CaptureLog(t, netpoll.SetLoggerOutput)
		called := make(chan struct{}, 100)
		s := servePackets(t, listen(), func(ctx context.Context, conn *netpoll.UDPConn, packets []netpoll.Packet) error {
			called <- struct{}{}
			switch string(packets[0].Data) {
			case "panic":
				panic("boom")
			case "goexit":
				runtime.Goexit()
			case "error":
				return errors.New("ignored")
			}
			return echoPackets(ctx, conn, packets)
		})
		c := packetClient(t, s.addr)
		for _, text := range []string{"panic", "goexit", "error", "panic", "goexit", "goexit"} {
			_, err := c.Write([]byte(text))
			require.NoError(t, err)
			testkit.Receive(t, called)
			expectPacketEcho(t, c, "after "+text)
			testkit.Receive(t, called)
		}
		require.NoError(t, s.Shutdown(context.Background()))
		require.Contains(t, log.String(), "panic in OnPacket")
		require.Contains(t, log.String(), "boom")
		require.Contains(t, log.String(), "Goexit")
	})
}

// Reports on datagrams that did not arrive, and deadlines of the program, do not end the serving of a connected socket.
func TestServedSocketOutlivesReportsAndDeadlines(t *testing.T) {
	for name, wrap := range map[string]func(net.PacketConn) net.PacketConn{
		"watched": func(c net.PacketConn) net.PacketConn { return c },
		"read":    func(c net.PacketConn) net.PacketConn { return otherPackets{c} },
	} {
		t.Run(name, func(t *testing.T) {
			peer := packetConns["net.UDPConn"](t).(*net.UDPConn)
			to := peer.LocalAddr().(*net.UDPAddr)
			require.NoError(t, peer.Close())
			conn, err := net.DialUDP("udp", nil, to)
			require.NoError(t, err)
			var here atomic.Bool
			s := servePackets(t, wrap(conn), func(_ context.Context, _ *netpoll.UDPConn, packets []netpoll.Packet) error {
				for _, p := range packets {
					here.Store(here.Load() || string(p.Data) == "here")
				}
				return nil
			})
			for range 10 {
				_, _ = conn.Write([]byte("nobody is there")) // every second one gets the report on the one before
			}
			require.NoError(t, conn.SetReadDeadline(time.Now()))
			again, err := net.ListenUDP("udp", to)
			require.NoError(t, err)
			defer again.Close()
			testkit.Eventually(t, func() bool {
				_, err := again.WriteToUDP([]byte("here"), s.addr)
				require.NoError(t, err)
				return here.Load()
			})
		})
	}
}

func TestPacketLoopRefusesWhatItCannotServe(t *testing.T) {
	_, err := netpoll.NewPacketLoop(nil)
	require.ErrorContains(t, err, "nil")
	loop, err := netpoll.NewPacketLoop(echoPackets, netpoll.PacketOption{}, netpoll.WithPacketBatch(-1), netpoll.WithPacketSize(-1))
	require.NoError(t, err)
	require.ErrorContains(t, loop.Serve(nil), "nil")
	require.ErrorContains(t, loop.Serve((*net.UDPConn)(nil)), "nil")
	if unix, err := net.ListenPacket("unixgram", testkit.LocalAddress(t, "unix")); err == nil {
		require.ErrorIs(t, loop.Serve(unix), netpoll.ErrUnsupported)
		require.NoError(t, unix.Close(), "it still belongs to the program")
	}
	s := servePackets(t, packetConns["UDPConn"](t).(*netpoll.UDPConn), echoPackets)
	conn := packetConns["UDPConn"](t).(*netpoll.UDPConn)
	served := make(chan error, 1)
	go func() { served <- s.Serve(conn) }()
	c := packetClient(t, conn.LocalAddr().(*net.UDPAddr))
	expectPacketEcho(t, c, "x")
	require.ErrorContains(t, loop.Serve(conn), "is being served already")
	expectPacketEcho(t, c, "y")
	require.NoError(t, loop.Shutdown(context.Background()))
	var never context.Context
	require.NoError(t, s.Shutdown(never))
	require.NoError(t, testkit.Receive(t, served))
}

func TestPacketLoopSpreadsOverSockets(t *testing.T) {
	conns, err := netpoll.ListenPackets("udp4", "127.0.0.1:0", 2)
	if errors.Is(err, netpoll.ErrUnsupported) {
		return
	}
	require.NoError(t, err)
	var group sync.WaitGroup
	loop, err := netpoll.NewPacketLoop(echoPackets)
	require.NoError(t, err)
	for _, conn := range conns {
		group.Go(func() {
			if err := loop.Serve(conn); err != nil {
				t.Error(err)
			}
		})
	}
	for range 32 {
		expectPacketEcho(t, packetClient(t, conns[0].LocalAddr().(*net.UDPAddr)), "hello")
	}
	total := uint64(0)
	for _, conn := range conns {
		total += conn.Stats().Received
	}
	require.EqualValues(t, 32, total)
	require.NoError(t, loop.Shutdown(context.Background()))
	group.Wait()
}

// Shutdown, Close, and datagrams at any moment: nothing is left behind, which TestMain checks.
func TestPacketLoopEndsAtAnyMoment(t *testing.T) {
	overPacketConns(t, func(t *testing.T, listen func() net.PacketConn) {
		for i := range 100 {
			conn := listen()
			own, err := netpoll.NewUDPConn(conn)
			require.NoError(t, err)
			s := servePackets(t, own, echoPackets)
			c := packetClient(t, s.addr)
			var group sync.WaitGroup
			group.Go(func() {
				for range 20 {
					_, _ = c.Write([]byte("x"))
				}
			})
			if i%2 == 0 {
				group.Go(func() { _ = own.Close() })
			}
			if i%3 != 0 {
				group.Go(func() { _ = s.Shutdown(context.Background()) })
			}
			if i%3 == 0 && i%2 != 0 {
				group.Go(func() { _ = conn.Close(); _ = own.Close() })
			}
			group.Wait()
			testkit.Receive(t, s.serve)
			c.Close()
		}
	})
}
