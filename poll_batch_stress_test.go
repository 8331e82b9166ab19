//go:build linux && !netconn

package netpoll

// Batches of replies and of ends at once: flushed bytes arrive, in order, before the end.

import (
	"bytes"
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// replyThenEnd answers in two flushes of three bytes and then ends as its first byte says.
func replyThenEnd(_ context.Context, conn Connection) error {
	p, err := conn.Reader().Next(3)
	if err != nil {
		return err
	}
	for range 2 {
		_, _ = conn.Writer().WriteBinary(p)
		if err := conn.Writer().Flush(); err != nil {
			return err
		}
	}
	switch p[0] {
	case 'c':
		return conn.Close()
	case 'w':
		return inner(conn).CloseWrite()
	case 'd':
		c := inner(conn)
		fd := c.Fd()
		if err := c.Detach(); err != nil {
			return err
		}
		return (&socket{sysfd: fd}).release(false)
	}
	return conn.Reader().Release()
}

func TestFlushedRepliesOfABatchArriveBeforeEachKindOfEnd(t *testing.T) {
	for name, mode := range map[string]struct{ ring, aio executorMode }{
		"auto": {executorAuto, executorAuto}, "always": {executorAlways, executorAuto},
		"aio": {executorOff, executorAuto}, "aio always": {executorAuto, executorAlways}, "off": {executorOff, executorOff},
	} {
		t.Run(name, func(t *testing.T) {
			defer withExecutors(mode.ring, mode.aio)()
			addr := serveOn(t, replyThenEnd)
			var clients sync.WaitGroup
			for i := range 48 {
				clients.Go(func() {
					for j := range 15 {
						converse(t, addr, []byte{"cwd"[(i+j)%3], byte(i), byte(j)})
					}
				})
			}
			clients.Wait()
		})
	}
}

// converse sends requests that keep the connection, all at once, then msg, and checks all bytes until the end.
func converse(t *testing.T, addr net.Addr, msg []byte) {
	conn, err := net.Dial(addr.Network(), addr.String())
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	var all, want []byte
	for k := range byte(8) {
		all = append(all, 'k', msg[1], k)
	}
	all = append(all, msg...)
	for r := all; len(r) > 0; r = r[3:] {
		want = append(append(want, r[:3]...), r[:3]...)
	}
	if _, err := conn.Write(all); err != nil {
		t.Error(err)
	}
	got, err := io.ReadAll(conn)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%q: got %q of %q, error %v", msg, got, want, err)
	}
}

// Two handlers of one batch, the first of which waits for the other in a way that the library cannot see.
func TestHandlerMayWaitForAnotherOfItsBatch(t *testing.T) {
	meet := make(chan struct{})
	addr := serveOn(t, func(_ context.Context, conn Connection) error {
		_ = conn.Reader().Skip(conn.Reader().Len())
		select {
		case meet <- struct{}{}:
		case <-meet:
		}
		_, _ = conn.Writer().WriteString("x")
		return conn.Writer().Flush()
	})
	var peers [2]net.Conn
	for i := range peers {
		peer, err := net.Dial(addr.Network(), addr.String())
		require.NoError(t, err)
		defer peer.Close()
		require.NoError(t, peer.SetDeadline(time.Now().Add(20*time.Second)))
		peers[i] = peer
	}
	for range 200 {
		for _, peer := range peers {
			_, err := peer.Write([]byte("?"))
			require.NoError(t, err)
		}
		for _, peer := range peers {
			_, err := io.ReadFull(peer, make([]byte, 1))
			require.NoError(t, err)
		}
	}
}
