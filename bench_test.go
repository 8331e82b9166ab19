//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll_test

// The echo benchmark: this library and package net, each with its own server and the same clients. Names can be
// grouped by benchstat:
//
//	go test -run '^$' -bench Echo -count 10 . | benchstat -col /lib -
//
// Clients and server share the processors, so the figures only compare the two libraries.

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
)

// echoServers starts an echo server of each library and returns its address.
var echoServers = []struct {
	lib   string
	start func(b *testing.B) (addr string)
}{
	{"netpoll", func(b *testing.B) string { return testnet.NewServer(b, "tcp", testnet.Echo).Addr().String() }},
	{"net", startPlainEchoServer},
}

// startPlainEchoServer is the usual server with package net: a goroutine and a buffer for each connection.
func startPlainEchoServer(b *testing.B) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer conn.Close()
				buf := make([]byte, 4<<10)
				for {
					n, err := conn.Read(buf)
					if err != nil {
						return
					}
					if _, err := conn.Write(buf[:n]); err != nil {
						return
					}
				}
			})
		}
	})
	b.Cleanup(running.Wait) // called after the next one, and after the clients are closed
	b.Cleanup(func() { ln.Close() })
	return ln.Addr().String()
}

func BenchmarkEcho(b *testing.B) {
	for _, conns := range []int{1, 10, 100, 1000} {
		for _, size := range []int{1024} {
			for _, server := range echoServers {
				b.Run(fmt.Sprintf("lib=%s/conns=%d/size=%d", server.lib, conns, size), func(b *testing.B) {
					benchmarkEcho(b, server.start(b), conns, size)
				})
			}
		}
	}
}

// benchmarkEcho makes b.N round trips over so many connections at once, each with a request under way at any time.
func benchmarkEcho(b *testing.B, addr string, conns, size int) {
	clients := make([]*echoClient, conns)
	for i := range clients {
		conn, err := net.Dial("tcp", addr)
		require.NoError(b, err)
		b.Cleanup(func() { conn.Close() })
		clients[i] = &echoClient{conn: conn, buf: make([]byte, size)}
		require.NoError(b, clients[i].roundTrip()) // the connection is set up at the server, too
		clients[i].took = make([]time.Duration, 0, 2*b.N/conns+16)
	}
	b.SetBytes(int64(size))
	b.ReportAllocs()
	var left atomic.Int64
	left.Store(int64(b.N))
	var running sync.WaitGroup
	b.ResetTimer()
	for _, c := range clients {
		running.Go(func() {
			for left.Add(-1) >= 0 {
				start := time.Now()
				if err := c.roundTrip(); err != nil {
					b.Error(err)
					return
				}
				c.took = append(c.took, time.Since(start))
			}
		})
	}
	running.Wait()
	b.StopTimer()
	var all []time.Duration
	for _, c := range clients {
		all = append(all, c.took...)
	}
	reportLatencies(b, all)
}

// echoClient is one connection to an echo server.
type echoClient struct {
	conn net.Conn
	buf  []byte
	took []time.Duration // what each round trip took
}

func (c *echoClient) roundTrip() error {
	if _, err := c.conn.Write(c.buf); err != nil {
		return err
	}
	_, err := io.ReadFull(c.conn, c.buf)
	return err
}

// reportLatencies adds throughput and percentiles to the result.
func reportLatencies(b *testing.B, all []time.Duration) {
	if len(all) == 0 {
		return
	}
	slices.Sort(all)
	at := func(permille int) float64 {
		return float64(all[(len(all)-1)*permille/1000]) / float64(time.Microsecond)
	}
	b.ReportMetric(at(500), "p50-µs")
	b.ReportMetric(at(990), "p99-µs")
	b.ReportMetric(at(999), "p999-µs")
	b.ReportMetric(float64(len(all))/b.Elapsed().Seconds(), "requests/s")
}

// BenchmarkIdleConnection reports what an accepted connection costs that has served a request and waits for the next:
// heap, and stacks of goroutines.
func BenchmarkIdleConnection(b *testing.B) {
	const connections = 2000
	for _, server := range echoServers {
		b.Run("lib="+server.lib, func(b *testing.B) {
			addr := server.start(b)
			var clients []testkit.BareClient
			connect := func(n int) {
				p := make([]byte, 1024)
				for range n {
					c, err := testkit.NewBareClient(addr)
					require.NoError(b, err)
					clients = append(clients, c)
					require.NoError(b, c.RoundTrip(p))
				}
			}
			b.Cleanup(func() {
				for _, c := range clients {
					_ = syscall.Close(int(c))
				}
			})
			connect(100) // makes pollers, pools and tables once
			heap, stack := memoryInUse()
			for b.Loop() {
				connect(connections)
			}
			moreHeap, moreStack := memoryInUse()
			total := float64(len(clients) - 100)
			b.ReportMetric(float64(moreHeap-heap)/total, "heap-B/conn")
			b.ReportMetric(float64(moreStack-stack)/total, "stack-B/conn")
		})
	}
}

func memoryInUse() (heap, stack int64) {
	heap = testkit.HeapInUse() // collects first
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return heap, int64(m.StackInuse)
}
