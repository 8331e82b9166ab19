//go:build linux && !netconn

package netpoll

// The simulation: many connections over real sockets at once, each with a random program for its user, its handler and
// its peer, and a judge who knows what each was promised. A seed decides every program and every setting; what the
// threads and the kernel make of it is theirs, so a failing seed is run many times. This file holds the programs: how
// they are drawn and written down.
//
//	NETPOLL_SIM_STEPS=3000000 go test -run '^TestSimulated' .      so many steps
//	NETPOLL_SIM_TIME=2h go test -timeout 0 -run '^TestSimulated' . for so long
//	NETPOLL_SIM_SEED=12345 go test -run '^TestSimulated' .         this one world, again and again

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
)

// simStep is one step of a program: which of the acts, and what with.
type simStep struct {
	act uint8
	arg uint32
}

// simAct is one thing that an actor can do.
type simAct[A any] struct {
	name  string
	often int
	do    func(a A, arg int)
}

// drawProgram draws n steps. Each program leaves some acts out and prefers others, so that rare mixtures occur.
func drawProgram[A any](r *rand.Rand, acts []simAct[A], n int) []simStep {
	var lots []uint8
	for i, act := range acts {
		if r.IntN(3) > 0 {
			for range act.often * (1 + r.IntN(4)) {
				lots = append(lots, uint8(i))
			}
		}
	}
	if len(lots) == 0 {
		return nil
	}
	program := make([]simStep, n)
	for i := range program {
		program[i] = simStep{lots[r.IntN(len(lots))], r.Uint32() >> 1}
	}
	return program
}

// simScript is the program of one actor, and how far it has come.
type simScript struct {
	steps []simStep
	at    atomic.Int64 // stored by the actor
}

// perform does the steps of a script until stop holds.
func perform[A any](a A, acts []simAct[A], script *simScript, stop func() bool) {
	for i, s := range script.steps {
		if stop() {
			return
		}
		script.at.Store(int64(i + 1))
		acts[s.act].do(a, int(s.arg))
	}
}

// done is how many steps were begun.
func (s *simScript) done() int { return int(s.at.Load()) }

// writeDown is the text of what an actor did last. The seed has the rest.
func writeDown[A any](acts []simAct[A], script *simScript) string {
	var s strings.Builder
	at := script.done()
	fmt.Fprintf(&s, " %d of %d steps, the last ones", at, len(script.steps))
	for i := max(0, at-24); i < at; i++ {
		step := script.steps[i]
		fmt.Fprintf(&s, " %s:%x", acts[step.act].name, step.arg)
	}
	return s.String()
}

// simSize makes a size of an argument: mostly small, now and then beyond a block.
func simSize(arg int) int {
	v := arg >> 3
	switch arg & 7 {
	case 0, 1, 2:
		return 1 + v%16
	case 3, 4:
		return 1 + v%300
	case 5:
		return 1 + v%2000
	case 6:
		return 1 + v%6000
	default:
		return 1 + v%40000
	}
}

// simEnd is how the life of a connection ends.
type simEnd int

const (
	endPeerFin   simEnd = iota // the peer ends its side in order, reads all, and then this side closes
	endPeerClose               // the peer closes, whatever it has not read
	endReset                   // the peer resets
	endUserClose               // this side closes in the midst of things
	endDetach                  // this side detaches in the midst of things
	endStall                   // the peer does nothing any more until this side closes
	endKinds     = int(iota)
)

func (e simEnd) String() string {
	return [...]string{"peer-fin", "peer-close", "reset", "user-close", "detach", "stall"}[e]
}

// byPeer reports whether it is the peer who ends it.
func (e simEnd) byPeer() bool { return e <= endReset }

// simOwner is who takes the input.
type simOwner int

const (
	ownerUser    simOwner = iota // a goroutine that reads
	ownerHandler                 // OnRequest
	ownerSwitch                  // a goroutine that reads, and then OnRequest
	ownerKinds   = int(iota)
)

// simCarrier is how the connection comes about.
type simCarrier int

const (
	servedTCP simCarrier = iota
	servedUnix
	servedForeign // over a net.Conn that only its listener knows
	dialedTCP
	dialedUnix
	dialedForeign
	pairOfSockets
	carrierKinds = int(iota)
)

func (c simCarrier) served() bool { return c <= servedForeign }

func (c simCarrier) foreign() bool { return c == servedForeign || c == dialedForeign }

// simPlan is everything that was decided about one connection before it began.
type simPlan struct {
	carrier       simCarrier
	tls           uint16 // the version of TLS, or 0
	shm           int    // the size of the peer's ring in shared memory, or 0
	owner         simOwner
	end           simEnd
	byServer      bool   // the handler is that of the EventLoop; else SetOnRequest sets it
	rejected      bool   // OnPrepare closes it
	lazy          bool   // the reader does not read on when its program is over
	canCloseWrite bool   // the writer ends its side when it is done
	slowClose     bool   // the net.Conn takes long to close
	early         bool   // OnDisconnect is set at the beginning
	halfOpen      bool   // the end of the peer's side does not close it: the handler does
	panics        string // the callback that panics
	exits         string // the callback that ends its goroutine
	readLimit     int
	reader        simScript
	writer        simScript
	handler       simScript
	control, peer simScript
}

func drawPlan(r *rand.Rand, length int) *simPlan {
	p := new(simPlan)
	p.carrier = simCarrier(r.IntN(carrierKinds))
	p.owner = simOwner(r.IntN(ownerKinds))
	p.end = simEnd(r.IntN(endKinds))
	p.byServer = p.carrier.served() && p.owner == ownerHandler && r.IntN(2) == 0
	p.rejected = p.carrier.served() && r.IntN(30) == 0
	p.lazy = r.IntN(5) == 0
	p.canCloseWrite = r.IntN(4) == 0
	p.slowClose = r.IntN(2) == 0
	p.early = r.IntN(2) == 0
	p.halfOpen = r.IntN(3) == 0 && p.owner != ownerUser
	if r.IntN(12) == 0 {
		p.panics = [...]string{"OnConnect", "OnRequest", "OnDisconnect", "CloseCallback"}[r.IntN(4)]
	}
	if r.IntN(12) == 0 {
		p.exits = [...]string{"OnPrepare", "OnConnect", "OnRequest", "OnDisconnect", "CloseCallback"}[r.IntN(5)]
		if p.carrier == servedForeign && p.exits == "OnPrepare" {
			p.exits = "" // it would be Serve that ends
		}
		p.rejected = p.rejected || p.exits == "OnPrepare" && p.carrier.served()
	}
	p.readLimit = [...]int{0, 1, 700, 10_000, 1 << 20}[r.IntN(5)]
	p.drawTLS(r)
	p.drawShm(r)
	p.reader.steps = drawProgram(r, readerActs, r.IntN(length))
	p.writer.steps = drawProgram(r, writerActs, r.IntN(length))
	p.handler.steps = drawProgram(r, handlerActs, r.IntN(length))
	p.control.steps = drawProgram(r, controlActs, r.IntN(1+length/6))
	p.peer.steps = drawProgram(r, peerActs, r.IntN(length))
	return p
}

// loses reports whether the callback what does not return.
func (p *simPlan) loses(what string) bool { return p.panics == what || p.exits == what }

func (p *simPlan) String() string {
	var s strings.Builder
	fmt.Fprintf(&s, "carrier %d, TLS %x, ring %d, owner %d, end %v, by server %t, rejected %t, lazy %t, half-closes %t, early %t",
		p.carrier, p.tls, p.shm, p.owner, p.end, p.byServer, p.rejected, p.lazy, p.canCloseWrite, p.early)
	fmt.Fprintf(&s, ", half-open %t, panics %q, exits %q, limit %d", p.halfOpen, p.panics, p.exits, p.readLimit)
	fmt.Fprintf(&s, "\n  control:%s", writeDown(controlActs, &p.control))
	if p.owner != ownerHandler {
		fmt.Fprintf(&s, "\n  reader:%s", writeDown(readerActs, &p.reader))
	}
	if p.owner == ownerUser {
		fmt.Fprintf(&s, "\n  writer:%s", writeDown(writerActs, &p.writer))
	} else {
		fmt.Fprintf(&s, "\n  handler:%s", writeDown(handlerActs, &p.handler))
	}
	fmt.Fprintf(&s, "\n  peer:%s", writeDown(peerActs, &p.peer))
	return s.String()
}
