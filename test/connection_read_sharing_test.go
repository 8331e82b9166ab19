package test

// Input shared: slices in other goroutines, Read by many, a second Reader, and Release after Close.

import (
	"bytes"
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
)

// Behaviour 3.6: Slice is zero-copy.
func TestSliceSharesMemory(t *testing.T) {
	conn, peer := testnet.Dialed(t, "tcp")
	const n = 1000
	testkit.Send(t, peer, string(testkit.Pattern(3*n)))
	testnet.Buffered(t, conn, 3*n)
	require.NoError(t, conn.Reader().Skip(n))
	peeked, err := conn.Reader().Peek(n)
	require.NoError(t, err)
	slice, err := conn.Reader().Slice(n)
	require.NoError(t, err)
	p, err := slice.Next(n)
	require.NoError(t, err)
	require.True(t, unsafe.SliceData(peeked) == unsafe.SliceData(p), "the slice lies elsewhere than what was peeked at")
}

// Behaviour 3.6: a slice may be read and released by another goroutine while the connection reads on.
func TestSliceOutlivesReleaseInAnotherGoroutine(t *testing.T) {
	conn, peer := testnet.Dialed(t, "tcp")
	const rounds, size = 300, 6000
	go func() {
		for i := range rounds {
			if _, err := peer.Write(bytes.Repeat([]byte{byte(i)}, size)); err != nil {
				return // the reader will miss it
			}
		}
	}()
	var wg sync.WaitGroup
	var spoilt atomic.Int32
	for i := range rounds {
		slice, err := conn.Reader().Slice(size)
		require.NoError(t, err)
		require.NoError(t, conn.Reader().Release())
		wg.Go(func() {
			p, err := slice.Next(size)
			if err != nil || !bytes.Equal(p, bytes.Repeat([]byte{byte(i)}, size)) || slice.Release() != nil {
				spoilt.Add(1)
			}
		})
	}
	wg.Wait()
	require.Zero(t, spoilt.Load(), "slices with the wrong content, of %d", rounds)
}

// Behaviour 3.9: Read may be called from many goroutines; every byte goes to exactly one of them.
func TestReadMayBeCalledFromManyGoroutines(t *testing.T) {
	conn, peer := testnet.Dialed(t, "tcp")
	const readers, total = 8, 4 << 20
	var counts [256]atomic.Int64
	var wg sync.WaitGroup
	failures := make(chan error, readers)
	for range readers {
		wg.Go(func() {
			buf := make([]byte, 5000)
			for {
				n, err := conn.Read(buf)
				for _, b := range buf[:n] {
					counts[b].Add(1)
				}
				if err != nil {
					failures <- err
					return
				}
			}
		})
	}
	data := testkit.Pattern(total)
	_, err := peer.Write(data)
	require.NoError(t, err)
	require.NoError(t, peer.Close())
	testkit.Within(t, testkit.Timeout, wg.Wait)
	for range readers {
		require.ErrorContains(t, testkit.Receive(t, failures), "EOF")
	}
	var want [256]int64
	for _, b := range data {
		want[b]++
	}
	for b := range want {
		require.Equal(t, want[b], counts[b].Load(), "how often byte %d was read", b)
	}
}

// Behaviour 3.9: one goroutine uses Reader at a time; a second gets ErrConcurrentAccess, the first is not disturbed.
func TestSecondReaderGetsErrConcurrentAccess(t *testing.T) {
	for _, call := range readCalls {
		t.Run(call.name, func(t *testing.T) {
			conn, peer := testnet.Dialed(t, "tcp")
			first := testkit.Blocked(t, func() error { _, err := conn.Reader().Next(4); return err })
			_, err := call.do(conn.Reader(), 1)
			require.ErrorIs(t, err, netpoll.ErrConcurrentAccess)
			testkit.Send(t, peer, "0123")
			require.NoError(t, testkit.Receive(t, first))
		})
	}
}

// Behaviour 3.10: Release after Close is safe, for other connections too.
func TestReleaseAfterCloseHarmsNobody(t *testing.T) {
	addr := testnet.NewServer(t, "tcp", testnet.Echo).Addr().String()
	for range 50 {
		conn, peer := testnet.Dialed(t, "tcp")
		testkit.Send(t, peer, "0123456789")
		_, err := conn.Reader().Next(5)
		require.NoError(t, err)
		require.NoError(t, conn.Close())
		require.NoError(t, conn.Reader().Release())
		other, err := netpoll.DialConnection("tcp", addr, testkit.Timeout)
		require.NoError(t, err)
		require.NoError(t, conn.Reader().Release())
		require.NoError(t, other.SetReadTimeout(testkit.Timeout))
		_, err = other.Write([]byte("ping"))
		require.NoError(t, err)
		s, err := other.Reader().ReadString(4)
		require.NoError(t, err)
		require.Equal(t, "ping", s)
		require.NoError(t, other.Close())
		require.NoError(t, other.Reader().Release())
	}
}

// Behaviour 3.10: a handler that closes its connection and then releases, as programs do in a defer, harms no other
// connection.
func TestReleaseAfterCloseInHandler(t *testing.T) {
	released := make(chan error, 1)
	_, peer := testnet.Served(t, "tcp", func(_ context.Context, conn netpoll.Connection) error {
		defer func() { released <- conn.Reader().Release() }()
		if _, err := conn.Reader().Next(1); err != nil {
			return err
		}
		return conn.Close()
	})
	testkit.Send(t, peer, "abc")
	require.NoError(t, testkit.Receive(t, released))
}
