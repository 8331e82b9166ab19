// Package micro holds benchmarks of LinkBuffer by itself, for this library and, with -modfile=ref.mod, for the
// reference. So they use exported methods only.
package micro

import (
	"fmt"
	"sync"
	"testing"

	"github.com/cloudwego/netpoll"
)

var benchSizes = []int{64, 1024, 4096, 16384, 65536}

func BenchmarkLinkBuffer(b *testing.B) {
	for _, size := range benchSizes {
		b.Run(fmt.Sprintf("op=WriteRead/size=%d", size), func(b *testing.B) { benchWriteRead(b, size) })
	}
	b.Run("op=MallocAck/size=1024", func(b *testing.B) { benchMallocAck(b, 1024) })
	b.Run("op=WriteDirect/size=1024", func(b *testing.B) { benchWriteDirect(b, 1024) })
	b.Run("op=Slice/size=1024", func(b *testing.B) { benchSlice(b, 1024) })
	b.Run("op=Append/size=1024", func(b *testing.B) { benchAppend(b, 1024) })
	b.Run("op=PeekAcross/size=8192", func(b *testing.B) { benchPeekAcross(b, 8192) })
	b.Run("op=ReadBinary/size=1024", func(b *testing.B) { benchReadBinary(b, 1024) })
	b.Run("op=ProducerConsumer/size=1024", func(b *testing.B) { benchProducerConsumer(b, 1024) })
}

func benchWriteRead(b *testing.B, size int) {
	buf := netpoll.NewLinkBuffer()
	p := make([]byte, size)
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		buf.WriteBinary(p)
		buf.Flush()
		buf.Next(size)
		buf.Release()
	}
}

func benchMallocAck(b *testing.B, size int) {
	buf := netpoll.NewLinkBuffer()
	b.ReportAllocs()
	for b.Loop() {
		buf.Malloc(2 * size)
		buf.MallocAck(size)
		buf.Flush()
		buf.Skip(size)
		buf.Release()
	}
}

func benchWriteDirect(b *testing.B, size int) {
	buf := netpoll.NewLinkBuffer()
	p := make([]byte, size)
	b.ReportAllocs()
	for b.Loop() {
		buf.Malloc(64)
		buf.WriteDirect(p, 32)
		buf.Flush()
		buf.Skip(size + 64)
		buf.Release()
	}
}

func benchSlice(b *testing.B, size int) {
	buf := netpoll.NewLinkBuffer()
	b.ReportAllocs()
	for b.Loop() {
		buf.Malloc(size)
		buf.Flush()
		r, _ := buf.Slice(size)
		r.Next(size)
		r.Release()
		buf.Release()
	}
}

func benchAppend(b *testing.B, size int) {
	buf := netpoll.NewLinkBuffer()
	b.ReportAllocs()
	for b.Loop() {
		src := netpoll.NewLinkBuffer()
		src.Malloc(size)
		src.Flush()
		buf.WriteBuffer(src)
		buf.Flush()
		buf.Skip(size)
		buf.Release()
	}
}

func benchPeekAcross(b *testing.B, size int) {
	buf := netpoll.NewLinkBuffer()
	b.ReportAllocs()
	for b.Loop() {
		for range 4 {
			buf.Malloc(size/4 + 2048)
			buf.Flush()
		}
		buf.Peek(size / 2)
		buf.Peek(size)
		buf.Peek(size / 4)
		buf.Skip(size + 4*2048)
		buf.Release()
	}
}

func benchReadBinary(b *testing.B, size int) {
	buf := netpoll.NewLinkBuffer()
	b.ReportAllocs()
	for b.Loop() {
		buf.Malloc(size)
		buf.Flush()
		buf.ReadBinary(size)
		buf.Release()
	}
}

// benchProducerConsumer has one goroutine write to a buffer and another read from it. At most 64 messages are in the
// buffer.
func benchProducerConsumer(b *testing.B, size int) {
	buf := netpoll.NewLinkBuffer()
	free, full := make(chan struct{}, 64), make(chan struct{}, 64)
	var wg sync.WaitGroup
	wg.Go(func() {
		for range full {
			buf.Next(size)
			buf.Release()
			free <- struct{}{}
		}
	})
	for range cap(free) {
		free <- struct{}{}
	}
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		<-free
		buf.Malloc(size)
		buf.Flush()
		full <- struct{}{}
	}
	close(full)
	wg.Wait()
}
