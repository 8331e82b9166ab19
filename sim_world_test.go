//go:build linux && !netconn

package netpoll

// The world of a simulation: settings of the process, servers, many lives at once, a shutdown in the midst of things,
// and what must be left of it all in the end, which is nothing.

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll/internal/testkit"
)

// simPatience is how long the simulation waits for what must happen: many are at work, perhaps on a busy machine.
const simPatience = 3 * testkit.Timeout

// simFaults, if it is built in, lets system calls fail at random until stop is called; with rude also for good.
var simFaults func(seed uint64, rude bool) (stop func() (injected int64))

// simFaultReport lists those faults by kind.
var simFaultReport = func() string { return "" }

// simSettings are common to all connections of a world.
type simSettings struct {
	ring     IOUringMode
	aio      AIOMode
	direct   bool
	runner   bool // one of the user
	procs    int
	pollers  int
	buffer   int
	debug    bool // released memory is poisoned
	shutdown bool // in the midst of things
	resize   bool // the number of pollers changes meanwhile
	faults   bool
	rude     bool // some faults end connections
}

func drawSettings(r *rand.Rand) simSettings {
	return simSettings{
		ring:     [...]IOUringMode{IOUringAuto, IOUringOff, IOUringAlways}[r.IntN(3)],
		aio:      [...]AIOMode{AIOAuto, AIOAuto, AIOOff, AIOAlways}[r.IntN(4)],
		direct:   r.IntN(3) == 0,
		runner:   r.IntN(4) == 0,
		procs:    [...]int{1, 2, 8}[r.IntN(3)],
		pollers:  1 + r.IntN(3),
		buffer:   [...]int{1, 64, builtinBufferSize, builtinBufferSize, 40_000}[r.IntN(5)],
		debug:    r.IntN(4) == 0,
		shutdown: r.IntN(3) == 0,
		resize:   r.IntN(4) == 0,
		faults:   simFaults != nil && r.IntN(4) > 0,
		rude:     simFaults != nil && r.IntN(2) == 0,
	}
}

// apply changes the process; undo restores what tests find.
func (s simSettings) apply(t testing.TB) (undo func()) {
	t.Helper()
	procs := runtime.GOMAXPROCS(s.procs)
	size, direct := bufferSize.Load(), directFlush.Load()
	restore := withExecutors(executorMode(s.ring), executorMode(s.aio))
	bufferSize.Store(int64(s.buffer))
	directFlush.Store(s.direct)
	require.NoError(t, SetNumLoops(s.pollers))
	if s.runner {
		SetRunner(func(_ context.Context, f func()) { go f() })
	}
	return func() {
		SetRunner(nil)
		directFlush.Store(direct)
		bufferSize.Store(size)
		restore()
		runtime.GOMAXPROCS(procs)
		require.NoError(t, SetNumLoops(defaultPollers()))
	}
}

// withExecutors sets the modes of what executes batches, unless the operator has, until restore is called.
func withExecutors(ring, aio executorMode) (restore func()) {
	oldRing, oldAIO := defaultExecutors.ring.mode.Load(), defaultExecutors.aio.mode.Load()
	defaultExecutors.ring.set(ring)
	defaultExecutors.aio.set(aio)
	return func() {
		defaultExecutors.ring.set(executorMode(oldRing))
		defaultExecutors.aio.set(executorMode(oldAIO))
	}
}

// simTotals is the sum over several worlds.
type simTotals struct {
	worlds, lives, steps, bytes  int64
	orderlyIn, orderlyOut, polls int64
	panics, exits, injected      int64
	sessions, shared             int64
}

// simWorld is one run.
type simWorld struct {
	t        testing.TB
	dir      string
	seed     uint64
	settings simSettings
	faulty   bool
	lives    []*simLife
	loops    [2]EventLoop       // without a handler, and with one
	servers  [2][7]net.Listener // the fourth to the sixth have TLS, the seventh has shared memory
	others   [3]net.Listener    // those that dialed connections dial
	served   chan error

	dialing  sync.Mutex // held by the one who connects, so that both ends know each other
	expected chan *simLife
	foreign  chan *simPlan
	prepared chan struct{}

	begun      sync.WaitGroup
	goOn       chan struct{} // closed when the standstill is over
	shuts      atomic.Bool   // Shutdown has begun
	panics     atomic.Int64
	exits      atomic.Int64 // callbacks that ended their goroutine
	orderlyIn  atomic.Int64 // connections whose input had to be complete
	orderlyOut atomic.Int64 // and those whose output had
	sessions   atomic.Int64 // those with TLS whose peer has seen close_notify
	shared     atomic.Int64 // those over shared memory whose peer has seen the end

	mu       sync.Mutex // guards the fields below
	failures []string
	totals   simTotals
}

func (w *simWorld) fail(what string, l *simLife) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.failures) < 3 {
		w.failures = append(w.failures, fmt.Sprintf("%s\n %v", what, l.plan))
	}
}

func (w *simWorld) count(l *simLife) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.totals.lives++
	w.totals.steps += int64(l.steps())
	w.totals.bytes += l.peer.sent + l.peer.got
	w.totals.polls += l.polls.Load()
}

// simulate runs the world of a seed, with its sockets in dir, and ends the test if a promise was broken in it.
func simulate(t testing.TB, dir string, seed uint64, lives, length int) simTotals {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 3))
	w := &simWorld{t: t, dir: dir, seed: seed, settings: drawSettings(r), served: make(chan error, 14)}
	w.foreign = make(chan *simPlan, 1)
	w.expected, w.prepared, w.goOn = make(chan *simLife, 1), make(chan struct{}, 1), make(chan struct{})
	for i := range lives {
		w.lives = append(w.lives, newSimLife(w, i, drawPlan(rand.New(rand.NewPCG(seed, 100+uint64(i))), length)))
	}
	log := new(testkit.Log)
	SetLoggerOutput(log)
	defer SetLoggerOutput(os.Stderr)
	undo := w.settings.apply(t)
	defer undo()
	before := takeStock()
	if w.settings.debug {
		SetMemoryDebug(func(err error) { w.fail(err.Error(), w.lives[0]) })
	}
	w.serve()
	if w.settings.faults {
		w.faulty = w.settings.rude
		stop := simFaults(seed, w.settings.rude)
		w.run()
		w.totals.injected = stop()
	} else {
		w.run()
	}
	w.end(before)
	SetMemoryDebug(nil)
	if reported := strings.Count(log.String(), "netpoll: panic in"); int64(reported) != w.panics.Load() {
		w.fail(fmt.Sprintf("%d of %d panics were reported", reported, w.panics.Load()), w.lives[0])
	}
	if reported := strings.Count(log.String(), "ended its goroutine"); int64(reported) != w.exits.Load() {
		w.fail(fmt.Sprintf("%d of %d goroutines that ended were reported", reported, w.exits.Load()), w.lives[0])
	}
	w.verdict(log.String())
	w.totals.worlds, w.totals.panics, w.totals.exits = 1, w.panics.Load(), w.exits.Load()
	w.totals.sessions, w.totals.shared = w.sessions.Load(), w.shared.Load()
	w.totals.orderlyIn, w.totals.orderlyOut = w.orderlyIn.Load(), w.orderlyOut.Load()
	return w.totals
}

// verdict ends the test if anything was wrong.
func (w *simWorld) verdict(log string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.failures) == 0 {
		return
	}
	w.t.Fatalf("NETPOLL_SIM_SEED=%d, %+v\n%s\nthe log:\n%.700s", w.seed, w.settings, strings.Join(w.failures, "\n"), log)
}

// serve starts two servers with two listeners each, and the listeners of those that are dialed.
func (w *simWorld) serve() {
	opts := []Option{
		WithOnPrepare(func(conn Connection) context.Context {
			l := <-w.expected
			defer func() { w.prepared <- struct{}{} }()
			return l.onPrepare(conn)
		}),
		WithOnConnect(func(ctx context.Context, conn Connection) context.Context { return lifeOf(ctx).onConnect(ctx, conn) }),
		WithOnDisconnect(func(ctx context.Context, conn Connection) { lifeOf(ctx).onDisconnect(ctx, conn) }),
	}
	onRequest := func(ctx context.Context, conn Connection) error {
		return lifeOf(ctx).onRequest(0)(ctx, conn)
	}
	for i, on := range []OnRequest{nil, onRequest} {
		loop, err := NewEventLoop(on, opts...)
		require.NoError(w.t, err)
		w.loops[i] = loop
		for j, network := range []string{"tcp", "unix", "foreign", "tcp", "unix", "foreign"} {
			ln := w.listen(network, i+j/3*3)
			if j >= 3 {
				ln = NewTLSListener(ln, testTLSConfig())
			}
			w.servers[i][j] = ln
			go func() { w.served <- loop.Serve(ln) }()
		}
		ln := w.listenShm(w.address("unix", 6+i))
		w.servers[i][6] = ln
		go func() { w.served <- loop.Serve(ln) }()
	}
	for j, network := range []string{"tcp", "unix", "tcp"} {
		ln, err := net.Listen(network, w.address(network, 2))
		require.NoError(w.t, err)
		w.others[j] = ln
	}
}

// listen makes a listener of server i.
func (w *simWorld) listen(network string, i int) (ln net.Listener) {
	var err error
	if network == "foreign" {
		ln, err = net.Listen("tcp", w.address("tcp", i))
		ln = simForeignListener{ln, w.foreign}
	} else {
		ln, err = CreateListener(network, w.address(network, i))
	}
	require.NoError(w.t, err)
	return ln
}

func lifeOf(ctx context.Context) *simLife { return ctx.Value(simKey{}).(*simLife) }

func (w *simWorld) address(network string, i int) string {
	if network == "unix" {
		return filepath.Join(w.dir, fmt.Sprint(i))
	}
	return "127.0.0.1:0"
}

// dialServer connects the peer of l to a server, and returns when the server has it.
func (w *simWorld) dialServer(l *simLife) (peer net.Conn) {
	w.dialing.Lock()
	defer w.dialing.Unlock()
	i := 0
	if l.plan.byServer {
		i = 1
	}
	j := l.plan.carrier - servedTCP
	if l.plan.tls != 0 {
		j += 3
	}
	if l.plan.shm != 0 {
		j = 6
	}
	addr := w.servers[i][j].Addr()
	w.expected <- l
	if l.plan.carrier.foreign() {
		w.foreign <- l.plan
	}
	network := addr.Network()
	if l.plan.shm != 0 {
		network = "unix"
	}
	peer, err := net.Dial(network, addr.String())
	if err == nil && l.plan.shm != 0 {
		peer, err = l.plan.agreeShm(peer)
	}
	if err != nil {
		panic(err)
	}
	<-w.prepared
	return peer
}

// dialPeer dials for l.
func (w *simWorld) dialPeer(l *simLife) (conn Connection, peer net.Conn) {
	w.dialing.Lock()
	defer w.dialing.Unlock()
	ln := w.others[l.plan.carrier-dialedTCP]
	network, address := ln.Addr().Network(), ln.Addr().String()
	var err error
	if l.plan.shm != 0 {
		if conn, peer, err = w.dialShm(l, ln); err != nil {
			panic(err)
		}
		return conn, peer
	}
	if l.plan.carrier.foreign() {
		var over net.Conn
		if over, err = net.Dial(network, address); err == nil {
			conn, err = NewConnection(l.plan.foreign(over))
		}
	} else {
		conn, err = DialConnection(network, address, simPatience)
	}
	if err == nil && l.plan.tls != 0 {
		conn, err = TLSClient(conn, testTLSConfig())
	}
	if err != nil {
		panic(err)
	}
	if peer, err = ln.Accept(); err != nil {
		panic(err)
	}
	return conn, peer
}

// run lets all connections live.
func (w *simWorld) run() {
	var all sync.WaitGroup
	w.begun.Add(len(w.lives))
	for _, l := range w.lives {
		all.Go(l.live)
	}
	all.Go(w.disturb)
	all.Go(func() {
		w.standStill()
		close(w.goOn)
	})
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(3 * simPatience):
		w.fail("not all have come to their end\n"+testkit.Stacks(), w.lives[0])
		w.verdict("")
	}
}

// disturb does what concerns all.
func (w *simWorld) disturb() {
	w.begun.Wait()
	if w.settings.resize {
		for n := range 4 {
			if err := SetNumLoops(1 + (n+w.settings.pollers)%3); err != nil {
				w.fail(fmt.Sprintf("SetNumLoops: %v", err), w.lives[0])
			}
			simPause(90)
		}
	}
	if w.settings.shutdown {
		simPause(int(w.seed))
		w.shutdown()
	}
}

func (w *simWorld) shutdown() {
	w.shuts.Store(true)
	ctx, cancel := context.WithTimeout(context.Background(), 3*simPatience)
	defer cancel()
	for _, loop := range w.loops {
		if err := loop.Shutdown(ctx); err != nil {
			w.fail(fmt.Sprintf("Shutdown: %v", err), w.lives[0])
		}
	}
}

// standStill waits until those that stall do so and the others have ended. Then nothing happens, and so the process
// must take no time.
func (w *simWorld) standStill() {
	w.begun.Wait()
	var stuck bool
	for _, l := range w.lives {
		if l.plan.end != endStall {
			<-l.over
			continue
		}
		stuck = true
		l.standsStill()
	}
	if !stuck {
		return
	}
	var used []string
	for range 20 {
		before, start := testkit.ProcessorTime(), time.Now()
		<-time.After(20 * time.Millisecond)
		took, window := testkit.ProcessorTime()-before, time.Since(start) // which may be longer on a busy machine
		if took < window/2 {
			return
		}
		used = append(used, fmt.Sprintf("%v of %v", took, window))
	}
	w.fail(fmt.Sprintf("processor time in a standstill: %v\n%s", used, testkit.Stacks()), w.lives[0])
}

// standsStill waits until both sides wait for the world to go on.
func (l *simLife) standsStill() {
	for deadline := time.Now().Add(simPatience); l.stands.Load() < 2; {
		select {
		case <-l.over:
			return
		case <-time.After(100 * time.Microsecond):
		}
		if time.Now().After(deadline) {
			l.fail("no standstill: %v", l.c.life.load())
			return
		}
	}
}

// stock is the state that a world must leave as it has found it.
type stock struct {
	sockets, slots, goroutines int
	blocks                     int64
	leaderships                int32
}

func takeStock() (s stock) {
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.HasPrefix(target, "socket:") {
			s.sockets++
		}
	}
	if list := pollers.current.Load(); list != nil {
		for _, p := range *list {
			p.slots.mu.Lock()
			s.slots += p.slots.used
			p.slots.mu.Unlock()
		}
	}
	s.goroutines, s.blocks, s.leaderships = runtime.NumGoroutine(), blocksOut.Load(), offers.Load()
	return s
}

// end ends the servers and looks for leaks.
func (w *simWorld) end(before stock) {
	if !w.settings.shutdown {
		w.shutdown()
	}
	for range cap(w.served) {
		select {
		case err := <-w.served:
			if err != nil {
				w.fail(fmt.Sprintf("Serve: %v", err), w.lives[0])
			}
		case <-time.After(simPatience):
			w.fail("Serve has not returned", w.lives[0])
		}
	}
	for _, ln := range w.others {
		_ = ln.Close()
	}
	// The runner keeps some goroutines for a while; one for each connection would be a leak.
	most := before.goroutines + 2*len(w.lives)
	var after stock
	for deadline := time.Now().Add(simPatience); time.Now().Before(deadline); <-time.After(time.Millisecond) {
		after = takeStock()
		if after.sockets <= before.sockets && after.slots <= before.slots && after.blocks <= before.blocks &&
			after.leaderships <= before.leaderships && after.goroutines <= most {
			return
		}
	}
	w.fail(fmt.Sprintf("left: %+v, where there was %+v\n%s", after, before, testkit.Stacks()), w.lives[0])
}
