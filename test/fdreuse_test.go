//go:build linux

package test

// Descriptor numbers are used again at once: nothing of the library may touch the number of what it has closed, and an
// event that was meant for the old owner must not reach the new one.

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// rounds is a number of repetitions: many if NETPOLL_TEST_ROUNDS is "many", as in CI, where the test may take its time.
func rounds(many, few int) int {
	if os.Getenv("NETPOLL_TEST_ROUNDS") == "many" {
		return many
	}
	return few
}

// Behaviour 4.7, 6.2: connections that reuse each other's descriptors never see a foreign byte.
func TestReusedDescriptorsCarryNoForeignBytes(t *testing.T) {
	const clients = 8
	noLeak(t)
	s := testnet.NewServer(t, "tcp", testnet.Echo)
	var wg sync.WaitGroup
	for worker := range clients {
		wg.Go(func() {
			for i := range rounds(500, 100) {
				if err := echoOwnNumber(s.Listener.Addr().String(), uint64(worker)<<32|uint64(i), i%3); err != nil {
					t.Errorf("worker %d, connection %d: %v", worker, i, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// echoOwnNumber dials, expects its own number back three times, and closes in one of three states.
func echoOwnNumber(address string, number uint64, how int) error {
	conn, err := netpoll.DialConnection("tcp", address, testkit.Timeout)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetReadTimeout(testkit.Timeout); err != nil {
		return err
	}
	own := binary.BigEndian.AppendUint64(nil, number)
	for range 3 {
		if _, err := conn.Write(own); err != nil {
			return err
		}
		got, err := conn.Reader().Next(len(own))
		if err != nil {
			return err
		}
		if !bytes.Equal(own, got) {
			return fmt.Errorf("received the foreign bytes %x, not %x", got, own)
		}
		if err := conn.Reader().Release(); err != nil {
			return err
		}
	}
	switch how {
	case 1: // an answer is under way when the connection closes
		_, err = conn.Write(own)
	case 2: // bytes are queued
		_, err = conn.Writer().WriteBinary(own)
	}
	return err
}

// openers open files of their own as fast as they can and report those that other code closed.
type openers struct {
	t    *testing.T
	stop chan struct{}
	wg   sync.WaitGroup
	n    atomic.Int64
}

// startOpeners begins. The files are pipes: each has an identity that shows whether a number still means it.
func startOpeners(t *testing.T, goroutines int) *openers {
	o := &openers{t: t, stop: make(chan struct{})}
	for range goroutines {
		o.wg.Go(o.run)
	}
	testkit.Eventually(t, func() bool { return o.n.Load() > 0 || t.Failed() })
	return o
}

func (o *openers) run() {
	for {
		select {
		case <-o.stop:
			return
		default:
			if err := openAndCheck(); err != nil {
				o.t.Error(err)
				return
			}
			o.n.Add(1)
		}
	}
}

func openAndCheck() error {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return os.NewSyscallError("pipe2", err)
	}
	before, err := socketID(p[0])
	if err != nil {
		return fmt.Errorf("an own descriptor was closed by somebody else: %w", err)
	}
	for range 20 {
		id, err := socketID(p[0])
		if err != nil || id != before {
			return fmt.Errorf("own descriptor %d means something else: %d, then %d, %w", p[0], before, id, err)
		}
	}
	for _, fd := range p {
		if err := closeFd(fd); err != nil {
			return fmt.Errorf("an own descriptor was closed by somebody else: %w", err)
		}
	}
	return nil
}

// finish ends the openers.
func (o *openers) finish() {
	close(o.stop)
	o.wg.Wait()
}

// Behaviour 6.2: closing connections and listeners, as often as one likes, closes no descriptor twice.
func TestNothingClosesForeignDescriptors(t *testing.T) {
	churns := map[string]func(t *testing.T){
		"dial and close twice": func(t *testing.T) {
			conn, peer := testnet.Dialed(t, "tcp")
			var wg sync.WaitGroup
			wg.Go(func() { conn.Close() })
			wg.Go(func() { conn.Close() })
			wg.Wait()
			conn.Close()
			peer.Close()
		},
		"listen and close twice": func(t *testing.T) {
			ln, err := netpoll.CreateListener("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			ln.Close()
			ln.Close()
		},
		"convert, close both": func(t *testing.T) {
			plain, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			ln, err := netpoll.ConvertListener(plain)
			require.NoError(t, err)
			ln.Close()
			plain.Close()
			ln.Close()
		},
		"serve, close, shut down": serveCloseShutdown,
		"detach, then close": func(t *testing.T) {
			conn, peer := testnet.Dialed(t, "tcp")
			fd := conn.(netpoll.Conn).Fd()
			require.NoError(t, conn.(detacher).Detach())
			require.NoError(t, closeGivenBack(conn, fd))
			conn.Close()
			peer.Close()
		},
	}
	for name, churn := range churns {
		t.Run(name, func(t *testing.T) {
			o := startOpeners(t, 2)
			for range rounds(300, 100) {
				churn(t)
			}
			o.finish()
		})
	}
}

// serveCloseShutdown does as Kitex does: the converted listener is closed, the shutdown comes later.
func serveCloseShutdown(t *testing.T) {
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ln, err := netpoll.ConvertListener(plain)
	require.NoError(t, err)
	loop, err := netpoll.NewEventLoop(testnet.Echo)
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- loop.Serve(ln) }()
	c, err := net.Dial("tcp", ln.Addr().String())
	require.NoError(t, err)
	require.NoError(t, testkit.RoundTrip(c, "hello"))
	ln.Close()
	require.NoError(t, c.Close())
	require.NoError(t, loop.Shutdown(context.Background()))
	require.NoError(t, testkit.Receive(t, served))
	plain.Close()
}

// Behaviour 5.9: events of a socket that outlives its connection, because it was duplicated, reach no handler.
func TestEventsAfterCloseReachNobody(t *testing.T) {
	conn, peer := testnet.Dialed(t, "tcp")
	called := make(chan struct{}, 1)
	require.NoError(t, conn.SetOnRequest(func(context.Context, netpoll.Connection) error {
		called <- struct{}{}
		return nil
	}))
	dup, err := unix.FcntlInt(uintptr(conn.(netpoll.Conn).Fd()), unix.F_DUPFD_CLOEXEC, 0)
	require.NoError(t, err)
	defer func() { require.NoError(t, closeFd(dup)) }()
	require.NoError(t, conn.Close())

	others := make([]netpoll.Connection, 64) // among them is the next owner of whatever the closed one had
	for i := range others {
		others[i], _ = testnet.Dialed(t, "tcp")
	}
	_, err = io.WriteString(peer, "for nobody")
	require.NoError(t, err)
	testkit.Silent(t, testkit.Calm, called, "call of the closed connection's handler")
	testkit.Idles(t)
	require.NoError(t, peer.Close())
	testkit.Idles(t)
	for _, other := range others {
		require.Zero(t, other.Reader().Len())
		require.True(t, other.IsActive())
	}
}

// Behaviour 5.9: the same for a socket that is readable, and closed by its peer, before the Close.
func TestReadableSocketThatOutlivesItsConnectionCausesNoSpin(t *testing.T) {
	s := testnet.NewServer(t, "tcp", func(_ context.Context, conn netpoll.Connection) error {
		return conn.Close() // with all of the input unread
	}, netpoll.WithOnPrepare(func(conn netpoll.Connection) context.Context {
		dup, err := unix.FcntlInt(uintptr(conn.(netpoll.Conn).Fd()), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			t.Error(err)
		}
		t.Cleanup(func() { require.NoError(t, closeFd(dup)) })
		return context.Background()
	}))
	for range 16 {
		c := s.Dial()
		_, err := io.WriteString(c, "x")
		require.NoError(t, err)
		_, _ = io.WriteString(c, "more") // fails if the server was faster
		require.NoError(t, c.Close())
	}
	testkit.Idles(t)
	require.NoError(t, testkit.RoundTrip(testnet.NewServer(t, "tcp", testnet.Echo).Dial(), "still served"))
}
