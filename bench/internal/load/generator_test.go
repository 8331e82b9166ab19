package load

import (
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll/bench/internal/frame"
)

// startEcho starts a server that answers each frame after change has changed it. change may block.
func startEcho(t *testing.T, change func(n int, msg []byte)) netip.AddrPort {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { ln.Close() })
	var count atomic.Int64
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				header := make([]byte, frame.HeaderLen)
				for {
					if _, err := io.ReadFull(conn, header); err != nil {
						return
					}
					msg := append(header, make([]byte, frame.PayloadLen(header))...)
					if _, err := io.ReadFull(conn, msg[frame.HeaderLen:]); err != nil {
						return
					}
					change(int(count.Add(1)), msg)
					if _, err := conn.Write(msg); err != nil {
						return
					}
				}
			}()
		}
	}()
	return netip.MustParseAddrPort(ln.Addr().String())
}

func unchanged(int, []byte) {}

// runLoad runs a load against a server of startEcho.
func runLoad(t *testing.T, spec Spec, change func(int, []byte)) (*Result, error) {
	t.Helper()
	spec.Addr = startEcho(t, change)
	if spec.Size == 0 {
		spec.Size = 64
	}
	g, err := Open(spec)
	require.NoError(t, err)
	defer func() { require.NoError(t, g.Close()) }()
	return g.Run()
}

func TestClosedLoopVerifiesEveryResponse(t *testing.T) {
	for name, spec := range map[string]Spec{
		"plain":      {Conns: 3, Plain: true},
		"ring":       {Conns: 3},
		"some idle":  {Conns: 10, Active: 2},
		"pipelining": {Conns: 2, Depth: 8},
		"long":       {Conns: 2, Size: 1 << 20},
		"reconnect":  {Conns: 2, Reconnect: true},
	} {
		t.Run(name, func(t *testing.T) {
			ends := 0
			spec.Begin, spec.End = func() { ends++ }, func() { ends++ }
			var res *Result
			for spec.Window = 50 * time.Millisecond; ; spec.Window *= 2 {
				var err error
				ends = 0
				res, err = runLoad(t, spec, unchanged)
				require.NoError(t, err)
				if res.Requests > 0 || spec.Window > 10*time.Second { // on a busy machine no response may come in a short window
					break
				}
			}
			require.Positive(t, res.Requests)
			require.InDelta(t, res.Requests, res.Latency.TotalCount(), float64(res.Requests)/2+50)
			require.Equal(t, 2, ends)
			require.GreaterOrEqual(t, res.Elapsed, spec.Window)
			require.Positive(t, res.ClientCPU)
			require.LessOrEqual(t, res.ClientBusy, 1.01)
		})
	}
}

func TestOneCorruptedResponseEndsTheRun(t *testing.T) {
	for _, plain := range []bool{true, false} {
		_, err := runLoad(t, Spec{Conns: 2, Window: 5 * time.Second, Plain: plain}, func(n int, msg []byte) {
			if n == 20 {
				msg[30] ^= 1
			}
		})
		require.ErrorContains(t, err, "differs from what was sent")
	}
}

func TestAResponseToAnotherConnectionEndsTheRun(t *testing.T) {
	_, err := runLoad(t, Spec{Conns: 1, Window: 5 * time.Second}, func(n int, msg []byte) {
		if n == 3 {
			msg[frame.HeaderLen+3]++ // the number of the connection
		}
	})
	require.ErrorContains(t, err, "differs from what was sent")
}

func TestOpenLoopSendsAtTheRateItIsGiven(t *testing.T) {
	res, err := runLoad(t, Spec{Conns: 4, Rate: 2000, Window: 300 * time.Millisecond}, unchanged)
	require.NoError(t, err)
	require.Equal(t, int64(600), res.Latency.TotalCount(), "every request that was due in the window is counted")
	require.Zero(t, res.Unanswered)
	require.Equal(t, int64(600), res.Lag.TotalCount())
}

// While a server stops, every request that comes due is slow, not only the one that it stopped at: one connection,
// 1000 requests per second and a stop of 100 ms must give about 100 slow ones.
func TestAStopOfTheServerIsCountedForEveryRequestThatWasDue(t *testing.T) {
	const stop = 100 * time.Millisecond
	res, err := runLoad(t, Spec{Conns: 1, Rate: 1000, Window: 400 * time.Millisecond}, func(n int, _ []byte) {
		if n == 100 {
			<-time.After(stop)
		}
	})
	require.NoError(t, err)
	require.Equal(t, int64(400), res.Latency.TotalCount())
	slow := 0
	for _, bar := range res.Latency.Distribution() {
		if time.Duration(bar.From) >= stop/2 {
			slow += int(bar.Count)
		}
	}
	require.GreaterOrEqual(t, slow, 40, "half of those that were due in the stop waited for more than half of it")
}

func TestRequestsThatAreNeverAnsweredAreCounted(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	res, err := runLoad(t, Spec{Conns: 2, Rate: 500, Window: 100 * time.Millisecond}, func(n int, _ []byte) {
		if n > 10 {
			<-release
		}
	})
	require.NoError(t, err)
	require.Equal(t, int64(50), res.Latency.TotalCount())
	require.Equal(t, 40, res.Unanswered)
	require.GreaterOrEqual(t, time.Duration(res.Latency.Max()), drainTime)
}

func TestAServerThatEndsIsAnError(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	go func() {
		if conn, err := ln.Accept(); err == nil {
			_, _ = io.ReadFull(conn, make([]byte, frame.HeaderLen+64))
			conn.Close()
		}
	}()
	g, err := Open(Spec{Addr: netip.MustParseAddrPort(ln.Addr().String()), Conns: 1, Size: 64, Window: 5 * time.Second})
	require.NoError(t, err)
	defer g.Close()
	_, err = g.Run()
	require.ErrorIs(t, err, io.EOF)
}

func TestSpecsThatMakeNoSenseAreRefused(t *testing.T) {
	for name, spec := range map[string]Spec{
		"no window":      {Conns: 1, Size: 64},
		"small":          {Conns: 1, Size: 1, Window: 1},
		"too active":     {Conns: 1, Active: 2, Size: 64, Window: 1},
		"rate":           {Rate: 5, Size: 64, Window: 1},
		"reconnect deep": {Conns: 1, Size: 64, Window: 1, Reconnect: true, Depth: 2},
	} {
		_, err := Open(spec)
		require.Error(t, err, name)
	}
}
