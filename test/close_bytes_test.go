//go:build linux

package test

// No byte is lost, doubled or exchanged when a connection ends while it works.

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
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

// numberSize is the size of one number in a stream of consecutive numbers.
const numberSize = 8

// countNumbers reads consecutive numbers until the end of the stream and returns how many there were. A part of a
// number at the end is the one that was being sent.
func countNumbers(r io.Reader) (n uint64, err error) {
	var buf [numberSize]byte
	for {
		switch _, err = io.ReadFull(r, buf[:]); {
		case err == io.EOF, errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
			return n, nil
		case err != nil:
			return n, err
		}
		if got := binary.BigEndian.Uint64(buf[:]); got != n {
			return n, fmt.Errorf("number %d came where %d was due", got, n)
		}
		n++
	}
}

// sendNumbers flushes one consecutive number after the other until that fails, and reports how many were flushed.
func sendNumbers(conn netpoll.Connection, flushed func(n uint64)) error {
	for i := uint64(0); ; i++ {
		switch i % 3 {
		case 0:
			if _, err := conn.Write(binary.BigEndian.AppendUint64(nil, i)); err != nil {
				return err
			}
		case 1:
			buf, err := conn.Writer().Malloc(numberSize)
			if err != nil {
				return err
			}
			binary.BigEndian.PutUint64(buf, i)
			if err := conn.Writer().Flush(); err != nil {
				return err
			}
		case 2:
			if _, err := conn.Writer().WriteBinary(binary.BigEndian.AppendUint64(nil, i)); err != nil {
				return err
			}
			if err := conn.Writer().Flush(); err != nil {
				return err
			}
		}
		flushed(i + 1)
	}
}

// connect returns both ends of a connection. Callers have their turn, so that the ends belong together.
func connect(ln net.Listener, turn *sync.Mutex) (conn netpoll.Connection, peer net.Conn, err error) {
	turn.Lock()
	defer turn.Unlock()
	conn, dialErr := netpoll.DialConnection("tcp", ln.Addr().String(), testkit.Timeout)
	peer, acceptErr := ln.Accept()
	return conn, peer, errors.Join(dialErr, acceptErr)
}

// Behaviour 5.9: everything whose Flush or Write returned nil before or while Close ran reaches a peer that reads.
func TestFlushedBytesReachThePeerWhateverCloseDoes(t *testing.T) {
	noLeak(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	var dialing sync.Mutex
	stress(t, rounds(1000, 250), func(r *rand.Rand) {
		conn, peer, err := connect(ln, &dialing)
		if err != nil {
			t.Error(err)
			return
		}
		defer peer.Close()
		_ = peer.SetDeadline(time.Now().Add(testkit.Timeout))
		var flushed uint64
		closeAfter, reached := uint64(1+r.IntN(100)), make(chan struct{})
		var work sync.WaitGroup
		work.Go(func() {
			err := sendNumbers(conn, func(n uint64) {
				if flushed = n; n == closeAfter {
					close(reached)
				}
			})
			if !errors.Is(err, netpoll.ErrConnClosed) {
				t.Errorf("sending against Close: %v", err)
			}
		})
		work.Go(func() {
			select {
			case <-reached:
			case <-time.After(testkit.Timeout): // the sender has failed, and said so
			}
			conn.Close()
		})
		received, err := countNumbers(peer)
		work.Wait()
		if err != nil || received < flushed {
			t.Errorf("%d numbers were flushed, %d arrived: %v", flushed, received, err)
		}
	})
}

// readNumbers consumes consecutive numbers by every method of reading in turn, until the end of the stream.
func readNumbers(conn netpoll.Connection, from uint64) (n uint64, err error) {
	r := conn.Reader()
	for n = from; ; n++ {
		p, err := readNumber(conn, n)
		if err != nil {
			return n, err
		}
		if got := binary.BigEndian.Uint64(p); got != n {
			return n, fmt.Errorf("number %d came where %d was due", got, n)
		}
		if err := r.Release(); err != nil {
			return n, err
		}
	}
}

func readNumber(conn netpoll.Connection, turn uint64) (p []byte, err error) {
	r := conn.Reader()
	switch turn % 5 {
	case 0:
		return r.Next(numberSize)
	case 1:
		if p, err = r.Peek(numberSize); err == nil {
			err = r.Skip(numberSize)
		}
		return p, err
	case 2:
		return r.ReadBinary(numberSize)
	case 3:
		var s netpoll.Reader
		if s, err = r.Slice(numberSize); err != nil {
			return nil, err
		}
		return s.ReadBinary(numberSize)
	default:
		p = make([]byte, numberSize)
		_, err = io.ReadFull(conn, p)
		return p, err
	}
}

// writeNumbers sends n consecutive numbers in pieces of random length and closes.
func writeNumbers(c net.Conn, n int, r *rand.Rand) error {
	var all []byte
	for i := range n {
		all = binary.BigEndian.AppendUint64(all, uint64(i))
	}
	for len(all) > 0 {
		k := min(len(all), 1+r.IntN(4000))
		if _, err := c.Write(all[:k]); err != nil {
			return err
		}
		all = all[k:]
	}
	return c.Close()
}

// Behaviour 5.4, 5.8: everything that the peer sent before its end is read, whatever else happens to the connection.
func TestReceivedBytesSurviveEveryRaceButClose(t *testing.T) {
	noLeak(t)
	testnet.Poison(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	var dialing sync.Mutex
	stress(t, rounds(400, 100), func(r *rand.Rand) {
		conn, peer, err := connect(ln, &dialing)
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		total := 1 + r.IntN(6000)
		stop := make(chan struct{})
		var work sync.WaitGroup
		work.Go(func() {
			if err := writeNumbers(peer, total, r); err != nil {
				t.Error(err)
			}
		})
		work.Go(func() { disturb(conn, stop) })
		n, err := readNumbers(conn, 0)
		close(stop)
		work.Wait()
		if !errors.Is(err, io.EOF) && !errors.Is(err, netpoll.ErrEOF) || n != uint64(total) {
			t.Errorf("%d numbers were sent, %d read, then: %v", total, n, err)
		}
	})
}

// disturb makes calls that must not change the input of a reader, until stop is closed.
func disturb(conn netpoll.Connection, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		_ = conn.SetReadDeadline(time.Now().Add(testkit.Timeout))
		_ = conn.SetReadTimeout(testkit.Timeout)
		_ = conn.SetReadDeadline(time.Time{})
		_ = conn.AddCloseCallback(func(netpoll.Connection) error { return nil })
		_ = conn.(lifeSetter).SetOnDisconnect(func(context.Context, netpoll.Connection) {})
		conn.IsActive()
		conn.Reader().Len()
		time.Sleep(10 * time.Microsecond)
	}
}

// Behaviour 5.4: a handler gets every byte in order, whatever pieces they come in, the last ones with the FIN.
func TestHandlerReceivesEveryByteInOrder(t *testing.T) {
	noLeak(t)
	testnet.Poison(t)
	var ended, received atomic.Int64
	type next struct{ n uint64 }
	s := testnet.NewServer(t, "tcp", func(ctx context.Context, conn netpoll.Connection) error {
		r, state := conn.Reader(), ctx.Value(contextKey("next")).(*next)
		for ; r.Len() >= numberSize; state.n++ {
			p, err := r.Next(numberSize)
			if err != nil || binary.BigEndian.Uint64(p) != state.n {
				t.Errorf("number %x came where %d was due: %v", p, state.n, err)
			}
			received.Add(1)
		}
		return r.Release()
	}, netpoll.WithOnPrepare(func(conn netpoll.Connection) context.Context {
		_ = conn.AddCloseCallback(func(netpoll.Connection) error { ended.Add(1); return nil })
		return context.WithValue(context.Background(), contextKey("next"), new(next))
	}))
	const conns, each = 100, 2000
	stress(t, conns, func(r *rand.Rand) {
		c, err := net.Dial("tcp", s.Listener.Addr().String())
		if err == nil {
			err = writeNumbers(c, each, r)
		}
		if err != nil {
			t.Error(err)
		}
	})
	testkit.Eventually(t, func() bool { return ended.Load() == conns })
	require.EqualValues(t, conns*each, received.Load())
}
