package test

// The figures of the process, compared with what the test itself has done. Each test has a process of its own, so that it
// knows all of it.

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"expvar"
	"io"
	"math"
	"net"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
)

// loopStats are the figures of the one event loop of the process.
func loopStats(t testing.TB) netpoll.EventLoopStats {
	t.Helper()
	loops := netpoll.ReadStats().EventLoops
	require.Len(t, loops, 1)
	return loops[0]
}

// awaitEnded waits until as many connections of the process have ended.
func awaitEnded(t testing.TB, n uint64) {
	t.Helper()
	testkit.Eventually(t, func() bool { return netpoll.ReadStats().Conns.Ended.Total() == n })
}

func TestStatsCountConnectionsByTheirEnd(t *testing.T) {
	testkit.OwnProcess(t, func(t *testing.T) {
		testkit.CaptureLog(t, netpoll.SetLoggerOutput) // panics
		const idle = testkit.Short
		handler := func(ctx context.Context, conn netpoll.Connection) error {
			word, err := conn.Reader().ReadString(1)
			if err != nil {
				return err // the peer has ended its side
			}
			switch word {
			case "c":
				return conn.Close()
			case "p":
				panic("as the test wants it")
			case "i":
				return conn.(netpoll.IdleLimiter).SetIdleLimit(idle)
			}
			return nil
		}
		refused := 0
		s := testnet.NewServer(t, "tcp", handler, netpoll.WithOnPrepare(func(conn netpoll.Connection) context.Context {
			if refused < 2 {
				refused++
				_ = conn.Close()
			}
			return nil
		}))
		dial := func(word string) net.Conn {
			c := s.Dial()
			_, err := io.WriteString(c, word)
			require.NoError(t, err)
			return c
		}

		total := uint64(0)
		after := func(n int) { // so many have ended more
			t.Helper()
			total += uint64(n)
			awaitEnded(t, total)
		}
		s.Dial() // refused
		s.Dial() // likewise
		after(2)
		for range 3 {
			require.NoError(t, dial("x").Close())
		}
		after(3)
		testkit.Reset(t, dial("x"))
		after(1)
		for _, word := range []string{"c", "c", "p", "i"} {
			dial(word)
		}
		after(4)
		left := s.Dial() // without input, which its end would have to drop
		testkit.Eventually(t, func() bool { return loopStats(t).Conns.Accepted == 11 })
		want := netpoll.EndStats{Closed: 4, Peer: 3, Reset: 1, Panic: 1, Idle: 1}
		loop := loopStats(t)
		require.Equal(t, netpoll.ConnStats{Open: 1, Accepted: 11, Refused: 2, Ended: want}, loop.Conns)
		require.Equal(t, loop.Conns, netpoll.ReadStats().Conns, "of the process, which has no others")
		require.Equal(t, []string{s.Addr().String()}, loop.Addrs)

		require.NoError(t, s.Shutdown())
		after(1)
		testkit.ExpectEnd(t, left, "")
		want.Shutdown = 1
		require.Equal(t, want, netpoll.ReadStats().Conns.Ended)
		require.Empty(t, netpoll.ReadStats().EventLoops, "it has neither a listener nor a connection")
	})
}

func TestStatsCountDialedAndConvertedConnections(t *testing.T) {
	testkit.OwnProcess(t, func(t *testing.T) {
		s := testnet.NewServer(t, "tcp", testnet.Echo)
		dialed := testnet.Dial(t, s.Addr())
		a, b := net.Pipe()
		defer b.Close()
		piped, err := netpoll.NewConnection(a)
		require.NoError(t, err)
		testkit.Eventually(t, func() bool { return netpoll.ReadStats().Conns.Open == 3 })
		require.NoError(t, dialed.Close())
		require.NoError(t, piped.Close())
		awaitEnded(t, 3)
		require.Equal(t, netpoll.ConnStats{Accepted: 1, Ended: netpoll.EndStats{Closed: 2, Peer: 1}}, netpoll.ReadStats().Conns)
	})
}

func TestStatsCountBytes(t *testing.T) {
	for _, kind := range []string{"socket", "net.Conn"} {
		t.Run(kind, func(t *testing.T) {
			testkit.OwnProcess(t, func(t *testing.T) {
				var ln net.Listener = testnet.Listen(t, "tcp")
				if kind == "net.Conn" {
					ln = hidden{testkit.Listen(t, "tcp")}
				}
				s := testnet.ServeOn(t, ln, testnet.Echo)
				sent := 0
				for _, size := range []int{1, 1000, 300_000} {
					c := s.Dial()
					text := string(testkit.Pattern(size))
					testkit.ExpectEcho(t, c, text)
					testkit.ExpectEcho(t, c, text)
					sent += 2 * size
				}
				testkit.Eventually(t, func() bool { // a send is counted after the peer may have received it
					traffic := netpoll.ReadStats().Traffic
					return traffic.BytesIn == uint64(sent) && traffic.BytesOut == uint64(sent)
				})
			})
		})
	}
}

// hidden is a listener that package netpoll does not know.
type hidden struct{ net.Listener }

func (h hidden) Accept() (net.Conn, error) {
	c, err := h.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return struct{ net.Conn }{c}, nil
}

func TestStatsTellThatAcceptingIsPaused(t *testing.T) {
	testkit.OwnProcess(t, func(t *testing.T) {
		s := testnet.NewServer(t, "tcp", testnet.Echo, netpoll.WithMaxConnections(1))
		first := s.Dial()
		testkit.ExpectEcho(t, first, "first")
		second := s.Dial()
		testkit.Eventually(t, func() bool { return loopStats(t).Paused == 1 })
		require.EqualValues(t, 1, loopStats(t).Conns.PausedAtLimit)
		require.EqualValues(t, 1, netpoll.ReadStats().Conns.PausedAtLimit)
		require.NoError(t, first.Close())
		testkit.ExpectEcho(t, second, "second")
		require.EqualValues(t, 2, loopStats(t).Conns.Accepted)
	})
}

func TestStatsShowHandlersThatRun(t *testing.T) {
	testkit.OwnProcess(t, func(t *testing.T) {
		release := make(chan struct{})
		s := testnet.NewServer(t, "tcp", func(ctx context.Context, conn netpoll.Connection) error {
			<-release
			return testnet.Echo(ctx, conn)
		})
		running := func() int { return netpoll.ReadStats().Handlers.Running }
		for range 3 {
			_, err := io.WriteString(s.Dial(), "x")
			require.NoError(t, err)
		}
		testkit.Eventually(t, func() bool { return running() == 3 })
		close(release)
		testkit.Eventually(t, func() bool { return running() == 0 })
	})
}

func TestStatsShowHandlersThatWaitForARunner(t *testing.T) {
	testkit.OwnProcess(t, func(t *testing.T) {
		tasks := make(chan func(), 10)
		netpoll.SetRunner(func(_ context.Context, f func()) { tasks <- f })
		s := testnet.NewServer(t, "tcp", testnet.Echo)
		c := s.Dial()
		_, err := io.WriteString(c, "x")
		require.NoError(t, err)
		testkit.Eventually(t, func() bool { return netpoll.ReadStats().Handlers.Queued == 1 })
		testkit.Receive(t, tasks)()
		handlers := netpoll.ReadStats().Handlers
		require.Zero(t, handlers.Queued)
		require.Zero(t, handlers.Running)
		require.EqualValues(t, 1, handlers.InRunner)
		require.NoError(t, c.Close())
		go func() { // the end of the server may need it, too
			for f := range tasks {
				f()
			}
		}()
		t.Cleanup(func() { close(tasks) })
		awaitEnded(t, 1)
	})
}

func TestStatsCountHandshakes(t *testing.T) {
	testkit.OwnProcess(t, func(t *testing.T) {
		s := testnet.NewServer(t, "tcp", testnet.Echo, netpoll.WithTLSConfig(
			&tls.Config{Certificates: []tls.Certificate{testkit.Certificate("server")}}))
		c := tls.Client(s.Dial(), &tls.Config{InsecureSkipVerify: true})
		testkit.ExpectEcho(t, c, "over TLS")
		_, err := io.WriteString(s.Dial(), "this is not TLS, and long enough to be seen as such\n")
		require.NoError(t, err)
		testkit.Eventually(t, func() bool { return netpoll.ReadStats().FailedHandshakes == 1 })
		require.EqualValues(t, 1, netpoll.ReadStats().Handshakes)
	})
}

func TestStatsCountDatagrams(t *testing.T) {
	testkit.OwnProcess(t, func(t *testing.T) {
		ln, err := netpoll.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		require.NoError(t, err)
		defer ln.Close()
		to := ln.LocalAddr().(*net.UDPAddr).AddrPort()
		n, err := ln.WriteBatch([]netpoll.Packet{{Data: []byte("a"), Addr: to}, {Data: []byte("b"), Addr: to}})
		require.NoError(t, err)
		require.Equal(t, 2, n)
		for got := 0; got < 2; {
			n, err := ln.ReadBatch([]netpoll.Packet{{Buffer: make([]byte, 9)}, {Buffer: make([]byte, 9)}})
			require.NoError(t, err)
			got += n
		}
		packets := netpoll.ReadStats().Packets
		require.EqualValues(t, 2, packets.Sent)
		require.EqualValues(t, 2, packets.Received)
		require.NotZero(t, packets.Sends)
		require.NotZero(t, packets.Receives)
	})
}

func TestStatsCountBlocks(t *testing.T) {
	testkit.OwnProcess(t, func(t *testing.T) {
		before := netpoll.ReadStats()
		b := netpoll.NewLinkBuffer()
		_, err := b.Malloc(1 << 20)
		require.NoError(t, err)
		after := netpoll.ReadStats()
		require.Greater(t, after.Blocks, before.Blocks)
		require.GreaterOrEqual(t, after.BlockBytes-before.BlockBytes, uint64(1<<20))
		require.NoError(t, b.Close())
	})
}

func TestStatsAreOneLineOfExpvar(t *testing.T) {
	testkit.OwnProcess(t, func(t *testing.T) {
		expvar.Publish("netpoll", expvar.Func(func() any { return netpoll.ReadStats() }))
		var s netpoll.Stats
		require.NoError(t, json.Unmarshal([]byte(expvar.Get("netpoll").String()), &s))
		require.Equal(t, netpoll.ReadStats().Conns, s.Conns)
	})
}

func TestHistogram(t *testing.T) {
	var h netpoll.Histogram
	require.Equal(t, 256*time.Nanosecond, h.Limit(0))
	require.Equal(t, 512*time.Nanosecond, h.Limit(1))
	require.Equal(t, 256*time.Nanosecond<<23, h.Limit(netpoll.HistogramBuckets-2))
	require.Equal(t, time.Duration(math.MaxInt64), h.Limit(netpoll.HistogramBuckets-1))
	require.Zero(t, h.Quantile(0.5))

	h.Counts[0], h.Counts[3], h.Counts[netpoll.HistogramBuckets-1] = 90, 9, 1
	require.EqualValues(t, 100, h.Count())
	for _, c := range []struct {
		q    float64
		want time.Duration
	}{
		{0, h.Limit(0)}, {0.5, h.Limit(0)}, {0.899, h.Limit(0)}, {0.9, h.Limit(3)}, {0.98, h.Limit(3)},
		{0.99, math.MaxInt64}, {1, math.MaxInt64},
	} {
		require.Equal(t, c.want, h.Quantile(c.q), "%v", c.q)
	}
}

func BenchmarkReadStats(b *testing.B) {
	s := testnet.NewServer(b, "tcp", testnet.Echo)
	testkit.ExpectEcho(b, s.Dial(), "hello")
	b.ReportAllocs()
	for b.Loop() {
		netpoll.ReadStats()
	}
}
