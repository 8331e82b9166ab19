//go:build linux

package test

// Close against everything else, at the same moment, over thousands of connections: no panic, no hang, no descriptor
// or goroutine left, each callback at most once and in order, only errors that say what happened.

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
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

// raceOp is one thing that a goroutine does to a connection while others close it. Memory from Next and Malloc is left
// alone: another goroutine may release it at any moment.
type raceOp struct {
	name string
	run  func(c netpoll.Connection) error
}

var raceOps = []raceOp{
	{"Next", func(c netpoll.Connection) error { _, err := c.Reader().Next(8); return err }},
	{"Next that waits", func(c netpoll.Connection) error { _, err := c.Reader().Next(1 << 20); return err }},
	{"Peek", func(c netpoll.Connection) error { _, err := c.Reader().Peek(8); return err }},
	{"Skip", func(c netpoll.Connection) error { return c.Reader().Skip(8) }},
	{"Until", func(c netpoll.Connection) error { _, err := c.Reader().Until('\n'); return err }},
	{"ReadBinary", func(c netpoll.Connection) error { _, err := c.Reader().ReadBinary(8); return err }},
	{"ReadString", func(c netpoll.Connection) error { _, err := c.Reader().ReadString(8); return err }},
	{"ReadByte", func(c netpoll.Connection) error { _, err := c.Reader().ReadByte(); return err }},
	{"Read", func(c netpoll.Connection) error { _, err := c.Read(make([]byte, 64)); return err }},
	{"Slice", func(c netpoll.Connection) error {
		r, err := c.Reader().Slice(8)
		if err != nil {
			return err
		}
		return errors.Join(r.Release(), r.(io.Closer).Close())
	}},
	{"Release", func(c netpoll.Connection) error { return c.Reader().Release() }},
	{"Len", func(c netpoll.Connection) error { c.Reader().Len(); return nil }},
	{"Write", func(c netpoll.Connection) error { _, err := c.Write([]byte("written")); return err }},
	{"Write that waits", func(c netpoll.Connection) error { _, err := c.Write(make([]byte, 8<<20)); return err }},
	{"Malloc and Flush", func(c netpoll.Connection) error {
		_, err := c.Writer().Malloc(16)
		return errors.Join(err, c.Writer().Flush())
	}},
	{"MallocAck", func(c netpoll.Connection) error {
		_, err := c.Writer().Malloc(16)
		_ = c.Writer().MallocAck(4) // may be beyond what another goroutine's Flush has left
		return err
	}},
	{"WriteBinary", func(c netpoll.Connection) error { _, err := c.Writer().WriteBinary(make([]byte, 8192)); return err }},
	{"WriteString", func(c netpoll.Connection) error { _, err := c.Writer().WriteString("text"); return err }},
	{"WriteByte", func(c netpoll.Connection) error { return c.Writer().WriteByte('b') }},
	{"WriteDirect", func(c netpoll.Connection) error { return c.Writer().WriteDirect([]byte("direct"), 0) }},
	{"Append", func(c netpoll.Connection) error {
		buf := netpoll.NewLinkBuffer()
		_, err := buf.WriteString("appended")
		return errors.Join(err, c.Writer().Append(buf))
	}},
	{"Flush", func(c netpoll.Connection) error { return c.Writer().Flush() }},
	{"MallocLen", func(c netpoll.Connection) error { c.Writer().MallocLen(); return nil }},
	{"IsActive", func(c netpoll.Connection) error { c.IsActive(); return nil }},
	{"addresses", func(c netpoll.Connection) error { c.LocalAddr(); c.RemoteAddr(); return nil }},
	{"deadlines", func(c netpoll.Connection) error {
		return errors.Join(c.SetReadDeadline(time.Now()), c.SetWriteDeadline(time.Now().Add(time.Millisecond)),
			c.SetDeadline(time.Time{}))
	}},
	{"timeouts", func(c netpoll.Connection) error {
		return errors.Join(c.SetReadTimeout(time.Millisecond), c.SetWriteTimeout(time.Millisecond))
	}},
	{"SetIdleTimeout", func(c netpoll.Connection) error { return c.SetIdleTimeout(time.Second) }},
	{"SetOnRequest", func(c netpoll.Connection) error { return c.SetOnRequest(swallow) }},
	{"SetOnDisconnect", func(c netpoll.Connection) error {
		return c.(lifeSetter).SetOnDisconnect(func(context.Context, netpoll.Connection) {})
	}},
	{"AddCloseCallback", func(c netpoll.Connection) error {
		return c.AddCloseCallback(func(c netpoll.Connection) error { return c.Close() })
	}},
}

// dialedRaceOps adds what would replace the callbacks whose order the test of served connections looks at.
var dialedRaceOps = append(slices.Clip(raceOps),
	raceOp{"SetOnConnect", func(c netpoll.Connection) error {
		return c.(lifeSetter).SetOnConnect(func(ctx context.Context, _ netpoll.Connection) context.Context { return ctx })
	}})

// swallow is an OnRequest for connections that others read, too.
func swallow(_ context.Context, conn netpoll.Connection) error {
	if n := conn.Reader().Len(); n > 0 {
		_, err := conn.Reader().ReadBinary(min(n, 8))
		return err
	}
	return nil
}

// raceClosers are the ways a connection comes to its end. The peer is one of package net.
var raceClosers = []struct {
	name string
	run  func(conn netpoll.Connection, peer net.Conn)
}{
	{"Close", func(conn netpoll.Connection, _ net.Conn) { conn.Close() }},
	{"Close and Read", func(conn netpoll.Connection, _ net.Conn) { conn.Close(); _, _ = conn.Read(make([]byte, 1)) }},
	{"FIN", func(_ netpoll.Connection, peer net.Conn) { peer.Close() }},
	{"half-close", func(_ netpoll.Connection, peer net.Conn) { _ = peer.(*net.TCPConn).CloseWrite() }},
	{"RST", func(_ netpoll.Connection, peer net.Conn) { _ = peer.(*net.TCPConn).SetLinger(0); peer.Close() }},
	{"FIN and Close", func(conn netpoll.Connection, peer net.Conn) {
		var wg sync.WaitGroup
		wg.Go(func() { peer.Close() })
		conn.Close()
		wg.Wait()
	}},
	{"Detach", func(conn netpoll.Connection, _ net.Conn) { _ = conn.(detacher).Detach() }},
}

// expectedInRace reports whether err is one that an operation may give while the connection ends.
func expectedInRace(err error) bool {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, err := range joined.Unwrap() {
			if !expectedInRace(err) {
				return false
			}
		}
		return true
	}
	for _, target := range []error{nil, io.EOF, netpoll.ErrConnClosed, netpoll.ErrEOF, netpoll.ErrReadTimeout,
		netpoll.ErrWriteTimeout, netpoll.ErrConcurrentAccess, syscall.ECONNRESET, syscall.EPIPE, os.ErrDeadlineExceeded} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

// race runs some operations and a closer at the same moment and waits for all of them. The connection is closed
// afterwards, and the descriptor that a Detach left.
func race(t *testing.T, conn netpoll.Connection, peer net.Conn, ops []raceOp, r *rand.Rand) {
	fd := conn.(netpoll.Conn).Fd()
	socket, err := socketID(fd)
	if err != nil {
		t.Error(err)
		return
	}
	closer := raceClosers[r.IntN(len(raceClosers))]
	start := make(chan struct{})
	var closers, running sync.WaitGroup
	for range 3 + r.IntN(4) {
		op := ops[r.IntN(len(ops))]
		running.Go(func() {
			<-start
			if err := op.run(conn); !expectedInRace(err) {
				t.Errorf("%s against %s: %v", op.name, closer.name, err)
			}
		})
	}
	closers.Go(func() { <-start; closer.run(conn, peer) })
	_, _ = peer.Write([]byte("some input\n"))
	close(start)
	closers.Wait()
	if closer.name == "half-close" { // nothing ends a Flush but the peer's reading, or the Close
		conn.Close()
	}
	finished := make(chan struct{})
	go func() { running.Wait(); close(finished) }()
	select {
	case <-finished:
	case <-time.After(testkit.Timeout):
		t.Errorf("an operation hangs after %s\n%s", closer.name, testkit.Stacks())
	}
	closed := make(chan struct{})
	_ = conn.AddCloseCallback(func(netpoll.Connection) error { close(closed); return nil })
	conn.Close()
	<-closed
	if id, err := socketID(fd); closer.name == "Detach" && err == nil && id == socket {
		_ = closeGivenBack(conn, fd)
	}
	peer.Close()
}

// stress runs f in several goroutines until it has run n times, each with randomness of its own.
func stress(t *testing.T, n int, f func(r *rand.Rand)) {
	t.Helper()
	const workers = 8
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var wg sync.WaitGroup
	var done atomic.Int64
	for worker := range uint64(workers) {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, worker))
			for done.Add(1) <= int64(n) && !t.Failed() {
				f(r)
			}
		})
	}
	wg.Wait()
}

// Behaviour 4.7, 5.9: on a dialed connection.
func TestCloseRacesWithEveryMethodOfDialedConnection(t *testing.T) {
	noLeak(t)
	testnet.Poison(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	var dialing sync.Mutex // so that the accepted connection is the dialed one
	stress(t, rounds(6000, 1500), func(r *rand.Rand) {
		dialing.Lock()
		conn, err := netpoll.DialConnection("tcp", ln.Addr().String(), testkit.Timeout)
		if err != nil {
			dialing.Unlock()
			t.Error(err)
			return
		}
		peer, err := ln.Accept()
		dialing.Unlock()
		if err != nil {
			t.Error(err)
			return
		}
		if r.IntN(2) == 0 {
			_ = conn.SetOnRequest(swallow)
		}
		race(t, conn, peer, dialedRaceOps, r)
	})
}

// lifeRecord is the order of the callbacks of one connection, as they note it.
type lifeRecord struct {
	t                                       *testing.T
	step                                    atomic.Int64
	prepared, connected, disconnected, over atomic.Int64 // the step at which each ran
	requests                                atomic.Int64 // running at the moment
	ended                                   chan struct{}
}

// at notes that a callback runs, which must be its first time.
func (l *lifeRecord) at(which *atomic.Int64, name string) {
	if !which.CompareAndSwap(0, l.step.Add(1)) {
		l.t.Errorf("%s ran twice", name)
	}
}

// check looks at the order once everything is over.
func (l *lifeRecord) check() {
	p, c, d, o := l.prepared.Load(), l.connected.Load(), l.disconnected.Load(), l.over.Load()
	if p == 0 || c != 0 && c < p || d != 0 && (c == 0 || d < c) || o < max(p, c, d) {
		l.t.Errorf("order of callbacks: OnPrepare %d, OnConnect %d, OnDisconnect %d, CloseCallback %d", p, c, d, o)
	}
}

func (l *lifeRecord) onRequest(ctx context.Context, conn netpoll.Connection) error {
	if l.requests.Add(1) != 1 {
		l.t.Error("two requests at a time")
	}
	defer l.requests.Add(-1)
	if l.connected.Load() == 0 || l.over.Load() != 0 {
		l.t.Error("a request outside the connection's life")
	}
	return swallow(ctx, conn)
}

func (l *lifeRecord) onClose(netpoll.Connection) error {
	l.at(&l.over, "CloseCallback")
	if l.requests.Load() != 0 {
		l.t.Error("a CloseCallback while OnRequest runs")
	}
	close(l.ended)
	return nil
}

type recordKey struct{}

// Behaviour 5.1, 5.9: on an accepted connection, with the order of its callbacks.
func TestCloseRacesWithEveryMethodOfServedConnection(t *testing.T) {
	noLeak(t)
	testnet.Poison(t)
	type acceptance struct {
		conn   netpoll.Connection
		record *lifeRecord
	}
	var accepted sync.Map // by the client's address, a channel with one acceptance
	meeting := func(client string) chan acceptance {
		ch, _ := accepted.LoadOrStore(client, make(chan acceptance, 1))
		return ch.(chan acceptance)
	}
	recordOf := func(ctx context.Context) *lifeRecord { return ctx.Value(recordKey{}).(*lifeRecord) }
	s := testnet.NewServer(t, "tcp", func(ctx context.Context, conn netpoll.Connection) error {
		return recordOf(ctx).onRequest(ctx, conn)
	}, netpoll.WithOnPrepare(func(conn netpoll.Connection) context.Context {
		l := &lifeRecord{t: t, ended: make(chan struct{})}
		l.at(&l.prepared, "OnPrepare")
		_ = conn.AddCloseCallback(l.onClose)
		meeting(conn.RemoteAddr().String()) <- acceptance{conn, l}
		return context.WithValue(context.Background(), recordKey{}, l)
	}), netpoll.WithOnConnect(func(ctx context.Context, _ netpoll.Connection) context.Context {
		l := recordOf(ctx)
		l.at(&l.connected, "OnConnect")
		return ctx
	}), netpoll.WithOnDisconnect(func(ctx context.Context, _ netpoll.Connection) {
		l := recordOf(ctx)
		l.at(&l.disconnected, "OnDisconnect")
	}))
	stress(t, rounds(6000, 1500), func(r *rand.Rand) {
		peer, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Error(err)
			return
		}
		client := peer.LocalAddr().String()
		a := <-meeting(client)
		accepted.Delete(client)
		for r.IntN(2) == 0 && a.record.connected.Load() == 0 {
			_, _ = peer.Write([]byte("x")) // so that some races begin later in the connection's life
		}
		race(t, a.conn, peer, raceOps, r)
		<-a.record.ended
		a.record.check()
	})
}
