package mux_test

// ShardQueue over real connections.

import (
	"context"
	"encoding/binary"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/mux"
)

// dialed starts a server on a Unix socket with onRequest and returns a connection to it. Both end with the test.
func dialed(t *testing.T, onRequest netpoll.OnRequest) netpoll.Connection {
	t.Helper()
	address := filepath.Join(t.TempDir(), "mux.sock")
	ln, err := netpoll.CreateListener("unix", address)
	require.NoError(t, err)
	loop, err := netpoll.NewEventLoop(onRequest)
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- loop.Serve(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), testkit.Timeout)
		defer cancel()
		require.NoError(t, loop.Shutdown(ctx))
		require.NoError(t, <-served)
	})
	conn, err := netpoll.DialConnection("unix", address, testkit.Timeout)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// frame returns a buffer with a caller's number and a count, and a body of size bytes that repeat the number.
func frame(caller, count uint32, size int) (*netpoll.LinkBuffer, error) {
	buf := netpoll.NewLinkBuffer()
	p, err := buf.Malloc(12 + size)
	if err != nil {
		return nil, err
	}
	binary.BigEndian.PutUint32(p, caller)
	binary.BigEndian.PutUint32(p[4:], count)
	binary.BigEndian.PutUint32(p[8:], uint32(size))
	for i := range p[12:] {
		p[12+i] = byte(caller)
	}
	return buf, nil // unflushed, as clients hand it over
}

// closeInTime is q.Close, which would wait for ever for a flush that does not end.
func closeInTime(t *testing.T, q *mux.ShardQueue) error {
	t.Helper()
	closed := make(chan error, 1)
	go func() { closed <- q.Close() }()
	return testkit.Receive(t, closed, "the queue's end")
}

type header struct{ caller, count uint32 }

// readFrame reads what frame wrote and checks the body.
func readFrame(r netpoll.Reader) (header, error) {
	p, err := r.Next(12)
	if err != nil {
		return header{}, err
	}
	h := header{binary.BigEndian.Uint32(p), binary.BigEndian.Uint32(p[4:])}
	body, err := r.Next(int(binary.BigEndian.Uint32(p[8:])))
	if err != nil {
		return header{}, err
	}
	for _, b := range body {
		if b != byte(h.caller) {
			return header{}, errors.New("a frame holds another one's bytes")
		}
	}
	return h, r.Release()
}

// Behaviour 7.1: all frames of many callers arrive, each whole and once.
func TestFramesOfManyCallersArriveWhole(t *testing.T) {
	const callers, frames = 20, 50
	type got struct {
		header
		err error
	}
	arrived := make(chan got, callers*frames)
	conn := dialed(t, func(_ context.Context, conn netpoll.Connection) error {
		h, err := readFrame(conn.Reader())
		arrived <- got{h, err}
		return err
	})
	q := mux.NewShardQueue(4, conn)
	var wg sync.WaitGroup
	for c := range uint32(callers) {
		wg.Go(func() {
			for i := range uint32(frames) {
				// Sizes below and above the length up to which bytes are copied.
				buf, err := frame(c, i, int(c+i)*100)
				if err != nil {
					t.Error(err)
					return
				}
				q.Add(func() (netpoll.Writer, bool) { return buf, false })
			}
		})
	}
	wg.Wait()
	require.NoError(t, closeInTime(t, q))
	seen := make(map[header]int)
	timeout := time.After(testkit.Timeout)
	for len(seen) < callers*frames {
		select {
		case g := <-arrived:
			require.NoError(t, g.err)
			seen[g.header]++
			require.Equal(t, 1, seen[g.header], "frame %v came twice", g.header)
		case <-timeout:
			t.Fatalf("%d of %d frames arrived", len(seen), callers*frames)
		}
	}
}

// Behaviour 7.2: the end of the connection is reported by Err and Close.
func TestPeerThatGoesAwayEndsTheQueue(t *testing.T) {
	conn := dialed(t, func(_ context.Context, conn netpoll.Connection) error { return conn.Close() })
	q := mux.NewShardQueue(2, conn)
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Timeout)
	defer cancel()
	for q.Err() == nil {
		require.NoError(t, ctx.Err(), "the queue took frames for a peer that has gone")
		called := make(chan struct{})
		q.Add(func() (netpoll.Writer, bool) {
			close(called)
			buf, err := frame(1, 1, 1)
			return buf, err != nil
		})
		testkit.Receive(t, called, "the getter")
	}
	require.ErrorIs(t, closeInTime(t, q), netpoll.ErrConnClosed)
	require.False(t, conn.IsActive())
	_, err := conn.Write([]byte("x"))
	require.ErrorIs(t, err, netpoll.ErrConnClosed)
}

// Behaviour 7.1: a client closes its queue in a CloseCallback, whichever side closes the connection.
func TestQueueClosedInACloseCallbackOfItsConnection(t *testing.T) {
	arrived := make(chan struct{})
	conn := dialed(t, func(_ context.Context, conn netpoll.Connection) error {
		_, err := readFrame(conn.Reader())
		close(arrived)
		return err
	})
	q := mux.NewShardQueue(2, conn)
	ended := make(chan error, 1)
	require.NoError(t, conn.AddCloseCallback(func(netpoll.Connection) error {
		ended <- q.Close()
		return nil
	}))
	buf, err := frame(1, 1, 1)
	require.NoError(t, err)
	q.Add(func() (netpoll.Writer, bool) { return buf, false })
	testkit.Receive(t, arrived, "the frame")
	require.NoError(t, conn.Close())
	require.NoError(t, testkit.Receive(t, ended, "the queue's end"))
	require.ErrorIs(t, q.Err(), netpoll.ErrConnClosed)
}
