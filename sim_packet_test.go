//go:build linux && !netconn

package netpoll

// Simulated datagrams: clients of every kind, a PacketLoop with random options whose handler loses, repeats and reorders
// what it sends back, and a ledger of what each datagram has met. Clients are in sim_packet_client_test.go. As with
// connections a seed decides all that is not the kernel's: see sim_program_test.go for the commands.

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll/internal/sock"
	"github.com/cloudwego/netpoll/internal/testkit"
)

// simPacketSettings are those of one world.
type simPacketSettings struct {
	procs, sockets, clients int
	batch, size             int
	gso, gro, segments      bool
	kind                    int  // of the sockets that are served
	small                   bool // buffers, so that the system drops
	slow                    bool // the handler takes its time
	panics, exits           bool // now and then
	end                     simPacketEnd
	faults                  bool
}

// simPacketEnd is how a world ends.
type simPacketEnd int

const (
	packetsEndInOrder simPacketEnd = iota // when each datagram is accounted for
	packetsShutdown                       // in the midst of things
	packetsClose                          // the program closes the sockets
)

const (
	kindUDPConn = iota
	kindOfPackageNet
	kindOther
)

func drawPacketSettings(r *rand.Rand) simPacketSettings {
	s := simPacketSettings{
		procs:    [...]int{1, 2, 8}[r.IntN(3)],
		sockets:  1 + r.IntN(3),
		clients:  1 + r.IntN(8),
		batch:    [...]int{1, 2, 7, 32, 64}[r.IntN(5)],
		size:     [...]int{100, 1500, maxPacketSize, maxPacketSize}[r.IntN(4)],
		gso:      r.IntN(3) > 0,
		gro:      r.IntN(3) > 0,
		segments: r.IntN(4) == 0,
		kind:     r.IntN(3),
		small:    r.IntN(4) == 0,
		slow:     r.IntN(4) == 0,
		panics:   r.IntN(2) == 0,
		exits:    r.IntN(2) == 0,
		end:      simPacketEnd(r.IntN(3)),
		faults:   simFaults != nil && r.IntN(4) > 0,
	}
	if s.kind != kindUDPConn {
		s.sockets = 1
	}
	return s
}

// simOther hides what a PacketConn is.
type simOther struct{ net.PacketConn }

// simPacketWorld is one run.
type simPacketWorld struct {
	t        testing.TB
	seed     uint64
	settings simPacketSettings
	loop     PacketLoop
	sockets  []net.PacketConn
	to       *net.UDPAddr
	clients  map[netip.AddrPort]*simPacketClient
	ending   atomic.Bool  // what is sent now may meet nobody
	running  atomic.Int32 // Serves
	panics   atomic.Int64
	exits    atomic.Int64

	mu       sync.Mutex // guards the fields below
	failures []string
	inside   map[*UDPConn]bool // a handler runs
	random   *rand.Rand
	handled  map[*UDPConn]uint64
	replied  map[*UDPConn]uint64
}

func (w *simPacketWorld) fail(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failLocked(format, args...)
}

func (w *simPacketWorld) failLocked(format string, args ...any) {
	if len(w.failures) < 3 {
		w.failures = append(w.failures, fmt.Sprintf(format, args...))
	}
}

// onPacket is the handler.
func (w *simPacketWorld) onPacket(_ context.Context, conn *UDPConn, packets []Packet) error {
	replies, act := w.enter(conn, packets)
	defer w.leave(conn)
	if w.settings.slow {
		simPause(act)
	}
	switch {
	case w.settings.panics && act%16 == 0:
		w.panics.Add(1)
		panic("as planned")
	case w.settings.exits && act%16 == 1:
		w.exits.Add(1)
		runtime.Goexit()
	}
	n, err := conn.WriteBatch(replies)
	w.sent(conn, replies[:n])
	if err != nil && (!w.ending.Load() || !errors.Is(err, net.ErrClosed)) {
		w.fail("WriteBatch: %v", err)
	}
	return err
}

// enter looks at what has come, and decides what is sent back.
func (w *simPacketWorld) enter(conn *UDPConn, packets []Packet) (replies []Packet, act int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.inside[conn]:
		w.failLocked("two handlers at once")
	case w.running.Load() == 0:
		w.failLocked("a handler runs after every Serve")
	case len(packets) == 0 || len(packets) > w.settings.batch:
		w.failLocked("a batch of %d", len(packets))
	}
	w.inside[conn] = true
	w.handled[conn] += uint64(len(packets))
	for i := range packets {
		p := packets[i]
		if len(p.Data) > len(p.Buffer) || p.SegmentSize > 0 && !w.settings.segments {
			w.failLocked("%d bytes of %d, segments of %d", len(p.Data), len(p.Buffer), p.SegmentSize)
		}
		for k := range p.segments() {
			w.arrived(conn, p.Addr, p.segment(k), p.Truncated)
		}
		switch w.random.IntN(8) {
		case 0:
			continue
		case 1:
			replies = append(replies, p)
		}
		replies = append(replies, p)
	}
	for i := 1; i < len(replies); i++ {
		if w.random.IntN(8) == 0 {
			replies[i-1], replies[i] = replies[i], replies[i-1]
		}
	}
	return replies, w.random.IntN(1 << 20)
}

// arrived notes a datagram. The caller holds mu.
func (w *simPacketWorld) arrived(conn *UDPConn, from netip.AddrPort, data []byte, truncated bool) {
	c := w.clients[netip.AddrPortFrom(from.Addr().Unmap(), from.Port())]
	if c == nil {
		w.failLocked("a datagram from %v", from)
		return
	}
	d := c.ledger.find(data)
	if d == nil {
		w.failLocked("%d bytes that were not sent: %.40q", len(data), data)
		return
	}
	if want := min(d.size, w.settings.size); len(data) != want || truncated != (d.size > want) && w.settings.kind != kindOther {
		w.failLocked("%d bytes of %d, truncated %t", len(data), d.size, truncated)
	}
	if d.handled.Add(1) > 1 && d.size > 0 {
		w.failLocked("a datagram came twice")
	}
	c.handled.Add(1)
}

// sent notes what WriteBatch says that it has sent.
func (w *simPacketWorld) sent(conn *UDPConn, packets []Packet) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.replied[conn] += uint64(len(packets))
	for i := range packets {
		c := w.clients[netip.AddrPortFrom(packets[i].Addr.Addr().Unmap(), packets[i].Addr.Port())]
		for k := range packets[i].segments() {
			if d := c.ledger.find(packets[i].segment(k)); d != nil {
				d.replied.Add(1)
				c.replied.Add(1)
			}
		}
	}
}

func (w *simPacketWorld) leave(conn *UDPConn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.inside[conn] = false
}

// listen makes the sockets.
func (w *simPacketWorld) listen() {
	if w.settings.kind == kindUDPConn {
		conns, err := ListenPackets("udp4", "127.0.0.1:0", w.settings.sockets)
		require.NoError(w.t, err)
		for _, conn := range conns {
			w.sockets = append(w.sockets, conn)
		}
	} else {
		conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		require.NoError(w.t, err)
		if w.sockets = []net.PacketConn{conn}; w.settings.kind == kindOther {
			require.NoError(w.t, conn.SetReadBuffer(4<<20)) // the loop cannot
			w.sockets = []net.PacketConn{simOther{conn}}
		}
	}
	w.to = w.sockets[0].LocalAddr().(*net.UDPAddr)
}

// serve serves the sockets. What it returns waits for the ends of all Serves.
func (w *simPacketWorld) serve() (wait func()) {
	s := w.settings
	ops := []PacketOption{WithPacketBatch(s.batch), WithPacketSize(s.size), WithPacketGSO(s.gso), WithPacketGRO(s.gro)}
	if s.segments {
		ops = append(ops, WithPacketSegments())
	}
	if s.small {
		ops = append(ops, WithPacketReadBuffer(4096))
	} else {
		ops = append(ops, WithPacketReadBuffer(8<<20))
	}
	loop, err := NewPacketLoop(w.onPacket, ops...)
	require.NoError(w.t, err)
	w.loop = loop
	var all sync.WaitGroup
	for _, conn := range w.sockets {
		w.running.Add(1)
		all.Go(func() {
			err := loop.Serve(conn)
			w.running.Add(-1)
			if err != nil && (s.end != packetsClose || !errors.Is(err, net.ErrClosed)) {
				w.fail("Serve: %v", err)
			}
		})
	}
	return all.Wait
}

// dropped returns what the system has dropped for the server.
func (w *simPacketWorld) dropped() (n int64) {
	for _, conn := range w.sockets {
		if other, ok := conn.(simOther); ok {
			conn = other.PacketConn
		}
		n += dropsOf(conn.(syscall.Conn))
	}
	return n
}

// dropsOf returns what the system has dropped for a socket, 0 if it is closed.
func dropsOf(conn syscall.Conn) (n int64) {
	if raw, err := conn.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) {
			drops, _ := sock.Drops(int(fd))
			n = int64(drops)
		})
	}
	return n
}

// end ends the server, and waits until nothing of it is left.
func (w *simPacketWorld) end(wait func()) {
	w.ending.Store(true)
	if w.settings.end == packetsClose {
		for _, conn := range w.sockets {
			_ = conn.Close()
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), simPatience)
	defer cancel()
	if err := w.loop.Shutdown(ctx); err != nil {
		w.fail("Shutdown: %v\n%s", err, testkit.Stacks())
		return
	}
	wait()
}

// judge compares what is counted.
func (w *simPacketWorld) judge(log string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for conn, handled := range w.handled {
		s := conn.Stats()
		if s.Received != handled || s.Sent != w.replied[conn] {
			w.failLocked("%d handled and %d sent: %+v", handled, w.replied[conn], s)
		}
	}
	for conn, inside := range w.inside {
		if inside {
			w.failLocked("a handler still runs for %v", conn.LocalAddr())
		}
	}
	if n := int64(strings.Count(log, "panic in OnPacket")); n != w.panics.Load() {
		w.failLocked("%d of %d panics were reported", n, w.panics.Load())
	}
	if n := int64(strings.Count(log, "ended its goroutine")); n != w.exits.Load() {
		w.failLocked("%d of %d goroutines that ended were reported", n, w.exits.Load())
	}
	if len(w.failures) > 0 {
		w.t.Fatalf("NETPOLL_SIM_SEED=%d, %+v\n%s\nthe log:\n%.500s", w.seed, w.settings, strings.Join(w.failures, "\n"), log)
	}
}

// simulatePackets runs the world of a seed, and ends the test if a promise was broken in it.
func simulatePackets(t testing.TB, seed uint64) (sum simPacketTotals) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 5))
	w := &simPacketWorld{t: t, seed: seed, settings: drawPacketSettings(r), random: r, clients: map[netip.AddrPort]*simPacketClient{},
		inside: map[*UDPConn]bool{}, handled: map[*UDPConn]uint64{}, replied: map[*UDPConn]uint64{}}
	log := new(testkit.Log)
	SetLoggerOutput(log)
	defer SetLoggerOutput(os.Stderr)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(w.settings.procs))
	before := takeStock()
	w.listen()
	for i := range w.settings.clients {
		c := newSimPacketClient(w, rand.New(rand.NewPCG(seed, 200+uint64(i))))
		w.clients[c.addr] = c
	}
	stop := func() int64 { return 0 }
	if w.settings.faults {
		stop = simFaults(seed, false)
	}
	wait := w.serve()
	var all sync.WaitGroup
	for _, c := range w.clients {
		all.Go(c.live)
	}
	if w.settings.end == packetsEndInOrder {
		all.Wait()
		w.end(wait)
	} else {
		simPause(int(seed))
		w.end(wait)
		all.Wait()
	}
	sum.injected = stop()
	for _, c := range w.clients {
		c.end(&sum)
	}
	w.judge(log.String())
	w.leftNothing(before)
	sum.worlds, sum.panics, sum.exits = 1, w.panics.Load(), w.exits.Load()
	return sum
}

// leftNothing waits until everything is as it was before.
func (w *simPacketWorld) leftNothing(before stock) {
	var after stock
	for deadline := time.Now().Add(simPatience); time.Now().Before(deadline); <-time.After(time.Millisecond) {
		after = takeStock()
		if after.sockets <= before.sockets && after.slots <= before.slots && after.blocks <= before.blocks &&
			after.goroutines <= before.goroutines+2*w.settings.clients+2 {
			return
		}
	}
	w.t.Fatalf("NETPOLL_SIM_SEED=%d, %+v: left: %+v, where there was %+v\n%s", w.seed, w.settings, after, before, testkit.Stacks())
}

// simPacketTotals is the sum over several worlds.
type simPacketTotals struct {
	worlds, datagrams, replies, back, dropped int64
	accounted                                 int64 // clients of which each datagram was accounted for
	panics, exits, injected                   int64
}

func (s *simPacketTotals) add(o simPacketTotals) {
	s.worlds += o.worlds
	s.datagrams += o.datagrams
	s.replies += o.replies
	s.back += o.back
	s.dropped += o.dropped
	s.accounted += o.accounted
	s.panics += o.panics
	s.exits += o.exits
	s.injected += o.injected
}

// misses reports whether something has not happened yet.
func (s *simPacketTotals) misses() bool {
	return slices.Contains([]int64{s.replies, s.back, s.dropped, s.accounted, s.panics, s.exits}, 0)
}

// Each datagram that arrives is what was sent, comes once, and is counted; none is lost that the system has not counted
// as dropped; and nothing is left in the end.
func TestSimulatedClientsOfAPacketLoopGetWhatWasSent(t *testing.T) {
	if simRepeated(t, func(seed uint64) { simulatePackets(t, seed) }) {
		return
	}
	steps, limit, seed := simRun(t)
	start := time.Now()
	var sum simPacketTotals
	// A datagram takes as long as ten steps of a connection.
	// A short run may miss what is rare, so it goes on until it has seen everything.
	for ; limit == 0 && (sum.datagrams < steps/10 || sum.misses() && sum.datagrams < 10*steps) ||
		time.Since(start) < limit; seed++ {
		sum.add(simulatePackets(t, seed))
	}
	t.Logf("%+v in %v%s", sum, time.Since(start).Round(time.Millisecond), simFaultReport())
	require.False(t, sum.misses(), "something has not happened")
	require.Equal(t, simFaults != nil, sum.injected > 0)
}
