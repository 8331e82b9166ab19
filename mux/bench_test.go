package mux_test

// Benchmarks of the queue alone: a connection that takes everything at once shows what callers pay for queueing.

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/mux"
)

type nullConn struct {
	netpoll.Connection
	flushes *atomic.Int64
}

func (c nullConn) Writer() netpoll.Writer { return nullWriter{flushes: c.flushes} }
func (nullConn) IsActive() bool           { return true }

type nullWriter struct {
	netpoll.Writer
	flushes *atomic.Int64
}

func (nullWriter) Append(netpoll.Writer) error { return nil }

func (w nullWriter) Flush() error {
	w.flushes.Add(1)
	return nil
}

// BenchmarkShardQueue measures one request of a caller that waits until its getter was called before the next one, as
// a call of a multiplexed client does.
func BenchmarkShardQueue(b *testing.B) {
	for _, callers := range []int{1, 100} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			var flushes atomic.Int64
			q := mux.NewShardQueue(mux.ShardSize, nullConn{flushes: &flushes})
			buf := netpoll.NewLinkBuffer()
			var left atomic.Int64
			left.Store(int64(b.N))
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			for range callers {
				wg.Go(func() {
					called := make(chan struct{}, 1)
					get := func() (netpoll.Writer, bool) {
						called <- struct{}{}
						return buf, false
					}
					for left.Add(-1) >= 0 {
						q.Add(get)
						<-called
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			if err := q.Close(); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(b.N)/float64(max(flushes.Load(), 1)), "getters/flush")
		})
	}
}
