//go:build linux && !netconn

package netpoll

// Which output is left to the poller, and that the user cannot notice: the user's memory is free when Flush returns,
// and the bytes come before everything that is done afterwards.

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/internal/testkit"
)

func TestQueuedFlushOwnsItsBytes(t *testing.T) {
	testkit.OverNetworks(t, func(t *testing.T, network string) {
		h := newTestPoller(t)
		c, peer := h.connect(network)
		release := h.hold()
		p := []byte("copied when it was written;")
		_, err := c.WriteBinary(p)
		require.NoError(t, err)
		copy(mallocIn(t, c, 9), "allocated")
		require.NoError(t, c.Flush())
		require.True(t, c.life.load().has(bitPending))
		clear(p) // the user's again
		release()
		testkit.Expect(t, peer, "copied when it was written;allocated")
		noOneInside(t, c)
	})
}

func mallocIn(t testing.TB, c *connection, n int) []byte {
	t.Helper()
	p, err := c.Malloc(n)
	require.NoError(t, err)
	return p
}

// Memory of the user, and more than the library wants to have pending output, is in the kernel when Flush returns.
func TestFlushSendsByItselfWhatItDoesNotOwn(t *testing.T) {
	large := strings.Repeat("l", BinaryInplaceThreshold+1)
	for _, tc := range []struct {
		name  string
		write func(t *testing.T, c *connection)
		want  string
	}{
		{"long WriteBinary", func(t *testing.T, c *connection) { _, _ = c.WriteBinary([]byte(large)) }, large},
		{"long WriteString", func(t *testing.T, c *connection) { _, _ = c.WriteString(large) }, large},
		{"WriteDirect", func(t *testing.T, c *connection) { require.NoError(t, c.WriteDirect([]byte("d"), 0)) }, "d"},
		{"WriteDirect between others", func(t *testing.T, c *connection) {
			copy(mallocIn(t, c, 4), "abcd")
			require.NoError(t, c.WriteDirect([]byte("XX"), 2))
		}, "abXXcd"},
		{"WriteDirect behind what is owned", func(t *testing.T, c *connection) {
			_, _ = c.WriteString("owned")
			require.NoError(t, c.WriteDirect([]byte("lent"), 0))
		}, "ownedlent"},
		{"buffer with lent memory appended", func(t *testing.T, c *connection) {
			b := NewLinkBuffer()
			_, _ = b.WriteString("own")
			require.NoError(t, b.WriteDirect([]byte("lent"), 0))
			require.NoError(t, c.Append(b))
		}, "ownlent"},
		{"more than is pending at most", func(t *testing.T, c *connection) {
			for range maxPending/1024 + 1 {
				_, _ = c.WriteString(strings.Repeat("m", 1024))
			}
		}, strings.Repeat("m", maxPending+1024)},
		{"connection with direct flush", func(t *testing.T, c *connection) {
			c.direct = true
			_, _ = c.WriteString("direct")
		}, "direct"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newTestPoller(t)
			c, peer := h.connect("tcp")
			_ = h.hold() // whatever arrives was not sent by the poller
			tc.write(t, c)
			require.NoError(t, c.Flush())
			require.False(t, c.life.load().has(bitPending))
			testkit.Expect(t, peer, tc.want)
		})
	}
}

func TestWriteSendsByItselfAndAfterWhatIsPending(t *testing.T) {
	testkit.OverNetworks(t, func(t *testing.T, network string) {
		h := newTestPoller(t)
		c, peer := h.connect(network)
		_ = h.hold()
		putPending(t, c, "first ")
		n, err := c.Write([]byte("second"))
		require.NoError(t, err)
		require.Equal(t, len("second"), n)
		testkit.Expect(t, peer, "first second")
		noOneInside(t, c)
	})
}

func TestSeveralFlushesMayBePending(t *testing.T) {
	h := newTestPoller(t)
	c, peer := h.connect("unix")
	release := h.hold()
	var want strings.Builder
	for _, s := range []string{"one ", "two ", "three "} {
		putPending(t, c, s)
		want.WriteString(s)
	}
	require.Equal(t, 2, c.life.load().refs(), "all that is pending, one reference")
	release()
	testkit.Expect(t, peer, want.String())
	noOneInside(t, c)
}

func TestQueueOfSendersIsBounded(t *testing.T) {
	var q sendQueue
	s := new(countingSender)
	require.False(t, q.add(s), "nobody will look")
	q.setOpen()
	for range maxSends {
		require.True(t, q.add(s))
	}
	require.False(t, q.add(s), "full")
	require.Equal(t, maxSends, s.asked, "who cannot be queued is not asked to add pending output")
	require.Len(t, q.take(), maxSends)
	s.refuses = true
	require.False(t, q.add(s))
	require.Empty(t, q.take(), "who refuses is not queued")
	s.refuses = false
	require.True(t, q.add(s))
	require.Len(t, q.shut(), 1)
	require.False(t, q.add(s), "shut")
}

// countingSender is a sender that has pending nothing real.
type countingSender struct {
	asked   int
	refuses bool
}

func (s *countingSender) addPending() bool               { s.asked++; return !s.refuses }
func (s *countingSender) sendPending()                   {}
func (s *countingSender) beginSend() (int, []byte, bool) { return 0, nil, false }
func (s *countingSender) endSend(int32)                  {}

// The poller has begun to send; who flushes then has its turn afterwards.
func TestFlushWaitsForThePollerThatSends(t *testing.T) {
	h := newTestPoller(t)
	c, peer := h.connect("unix")
	below := c.transport
	sending, goOn := make(chan struct{}, 100), make(chan struct{}) // a mark for each send that begins, and waits
	h.do(func() {
		c.transport = &fakeTransport{below: below, onSend: func(v *vector) (int, error) {
			sending <- struct{}{}
			<-goOn
			return below.send(v, 0)
		}}
	})
	release := h.hold()
	putPending(t, c, "pending ")
	release()
	testkit.Receive(t, sending, "the poller's send")
	require.True(t, c.life.load().has(bitSending))

	_, err := c.WriteString("flushed ") // filling the output goes on meanwhile
	require.NoError(t, err)
	result := make(chan error, 1)
	go func() { result <- c.Flush() }()
	testkit.Eventually(t, func() bool { return c.writing.Waiting() }, "Flush waits")
	require.Empty(t, result)
	require.ErrorIs(t, c.Flush(), ErrConcurrentAccess, "two goroutines in Flush are as wrong as ever")
	close(goOn)
	require.NoError(t, testkit.Receive(t, result, "Flush"))
	testkit.Expect(t, peer, "pending flushed ")
	noOneInside(t, c)
}

// Two goroutines write, in turns and each in its own way, while the poller opens its queue again and again.
func TestQueuedAndDirectSendsKeepTheirOrder(t *testing.T) {
	testkit.OverNetworks(t, func(t *testing.T, network string) {
		h := newTestPoller(t)
		c, peer := h.connect(network)
		const rounds = 2000
		lent := bytes.Repeat([]byte("L"), BinaryInplaceThreshold+1)
		var turn sync.Mutex
		var want bytes.Buffer
		var writers sync.WaitGroup
		write := func(how int) (err error) {
			turn.Lock()
			defer turn.Unlock()
			s := []byte{byte(want.Len()), byte(want.Len() >> 8), 'q'}
			switch how % 3 {
			case 0:
				_, _ = c.WriteBinary(s)
				err = c.Flush()
			case 1:
				_, err = c.Write(s)
			case 2:
				s = append(s, lent...)
				_, _ = c.WriteBinary(s)
				err = c.Flush()
			}
			want.Write(s)
			return err
		}
		for g := range 2 {
			writers.Go(func() {
				for i := range rounds {
					if i%4 == 0 {
						h.post(h.leader.sends.setOpen)
					}
					if err := write((i*7 + g) % 11); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		read := make(chan []byte, 1)
		go func() {
			all, _ := io.ReadAll(peer)
			read <- all
		}()
		writers.Wait()
		require.NoError(t, c.Close())
		got := testkit.Receive(t, read, "all that was sent")
		require.True(t, bytes.Equal(want.Bytes(), got), "%d bytes sent, %d received; or another order", want.Len(), len(got))
	})
}

func TestRawWriteComesAfterWhatIsPending(t *testing.T) {
	h := newTestPoller(t)
	c, peer := h.connect("tcp")
	_ = h.hold()
	putPending(t, c, "pending ")
	raw, err := c.SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Write(func(fd uintptr) bool {
		n, err := unix.Write(int(fd), []byte("raw"))
		return err == nil && n == len("raw")
	}))
	testkit.Expect(t, peer, "pending raw")
	noOneInside(t, c)
}

func TestRawWriteSendsWhatIsPendingToAFullSocketFirst(t *testing.T) {
	h := newTestPoller(t)
	c, peer := h.connect("unix")
	filler := fill(t, c)
	release := h.hold()
	putPending(t, c, "pending ")
	release()
	h.settle()
	require.True(t, c.life.load().has(bitPending))
	result := make(chan error, 1)
	go func() {
		raw, err := c.SyscallConn()
		if err == nil {
			err = raw.Write(func(fd uintptr) bool {
				_, err := unix.Write(int(fd), []byte("raw"))
				return err == nil
			})
		}
		result <- err
	}()
	testkit.Expect(t, peer, filler+"pending raw")
	require.NoError(t, testkit.Receive(t, result, "RawConn.Write"))
	noOneInside(t, c)
}

func TestFileWritesAfterWhatIsPending(t *testing.T) {
	h := newTestPoller(t)
	c, peer := h.connect("unix")
	_ = h.hold()
	putPending(t, c, "pending ")
	f, err := c.File()
	require.NoError(t, err)
	defer f.Close()
	_, err = f.WriteString("by the file")
	require.NoError(t, err)
	testkit.Expect(t, peer, "pending by the file")
	noOneInside(t, c)
}

func TestServerShutsDownAfterWhatIsPending(t *testing.T) {
	h := newTestPoller(t)
	conns := make(chan *connection, 1)
	ln, err := CreateListener("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	loop, err := NewEventLoop(nil, WithOnConnect(func(ctx context.Context, conn Connection) context.Context {
		conns <- inner(conn)
		return ctx
	}))
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- loop.Serve(ln) }()
	peer, err := net.Dial("tcp", ln.Addr().String())
	require.NoError(t, err)
	defer peer.Close()
	require.NoError(t, peer.SetDeadline(time.Now().Add(testkit.Timeout)))
	c := testkit.Receive(t, conns, "the connection")
	testkit.Eventually(t, func() bool { return !c.life.load().has(bitRunning) }, "OnConnect is over")

	release := h.hold()
	putPending(t, c, "flushed before the shutdown")
	shut := make(chan error, 1)
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Timeout)
	defer cancel()
	go func() { shut <- loop.Shutdown(ctx) }()
	release()
	testkit.ExpectEnd(t, peer, "flushed before the shutdown")
	require.NoError(t, testkit.Receive(t, shut, "Shutdown"))
	require.NoError(t, testkit.Receive(t, served, "Serve"))
}

// A deadline that has passed makes Flush fail at once, whether it could have been left to the poller or not.
func TestFlushPastItsDeadlineIsNotQueued(t *testing.T) {
	h := newTestPoller(t)
	c, peer := h.connect("tcp")
	release := h.hold()
	require.NoError(t, c.SetWriteDeadline(time.Now().Add(-time.Second)))
	_, err := c.WriteString("late")
	require.NoError(t, err)
	err = c.Flush()
	require.ErrorIs(t, err, ErrWriteTimeout)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.NoError(t, c.SetWriteDeadline(time.Time{}))
	require.NoError(t, c.Flush())
	release()
	testkit.Expect(t, peer, "late")
}
