//go:build interleave && linux && !netconn

package netpoll

// The hand-overs of TLS under every schedule: the role of the opener, what pauses the receiving and what resumes it, and
// the beginning of a handshake against its end.

import (
	"net"
	"testing"

	"github.com/cloudwego/netpoll/internal/interleave"
	"github.com/cloudwego/netpoll/internal/interleave/explored"
)

// opening counts what an opener has seen of what has arrived.
type opening struct {
	r             *interleave.Run
	role          openerRole
	arrived, seen int
	inside        bool
}

// open is what an opener does: it takes all that has arrived.
func (o *opening) open() {
	if o.inside {
		o.r.Failf("two open at a time")
	}
	o.inside = true
	interleave.Step("open", o)
	o.seen = o.arrived
	interleave.Step("opened", o)
	o.inside = false
}

// openAll is the rest of a turn as the opener.
func (o *opening) openAll() {
	for !o.role.release() {
		o.open()
	}
}

// There is one opener at a time, and it or the next one sees all that has arrived.
func TestScheduleTLSOpenerSeesAllThatArrives(t *testing.T) {
	explored.Explore(t, 4, func(r *interleave.Run) {
		o := &opening{r: r}
		o.role.init()
		r.Go("handshake", func() {
			o.open()
			o.openAll()
		})
		r.Go("poller", func() {
			for range 2 {
				is := o.role.take()
				interleave.Step("arrives", o)
				o.arrived++
				if is = is || o.role.notify(); is {
					o.open()
					o.openAll()
				}
			}
		})
		r.Check(func() {
			if o.seen != o.arrived || o.role.taken() {
				r.Failf("%d have arrived, %d were opened; the role is taken: %t", o.arrived, o.seen, o.role.taken())
			}
		})
	})
}

// sessionUp is the upper layer of a session that only receives.
type sessionUp struct{ layerUser }

func (sessionUp) interest() pollEvent { return evRead | evHup }

// sessionLine is the transport below a session, and what its poller reports.
type sessionLine struct {
	*line
	up upperLayer
}

func (l *sessionLine) reportTo(up upperLayer) { l.up = up }

func (l *sessionLine) start() error { return l.updateInterest() }

func (l *sessionLine) updateInterest() error {
	l.watch.Lock()
	defer l.watch.Unlock()
	l.asked = l.up.interest()
	l.told = 0
	return nil
}

// bareSession is a session without a connection and without records.
func bareSession(r *interleave.Run, phase tlsPhase) (t *tlsTransport, below *sessionLine) {
	t = &tlsTransport{up: sessionUp{}, side: &tlsSide{}}
	below = &sessionLine{line: &line{r: r}, up: t}
	t.below = below
	t.phase.Store(uint32(phase))
	t.role.init()
	_ = below.updateInterest()
	r.Check(func() {
		if below.asked&evRead == 0 || t.inPaused.Load() || t.flooded.Load() {
			r.Failf("nothing is received: paused %t, flooded %t", t.inPaused.Load(), t.flooded.Load())
		}
	})
	return t, below
}

// fillBuffer puts n bytes into b.
func fillBuffer(b *LinkBuffer, n int) {
	_, _ = b.WriteBinary(make([]byte, n))
	_ = b.Flush()
}

// What waits for a handshake pauses the receiving until there is room again.
func TestScheduleTLSPauseEndsWhenTheHandshakeHasTakenItsInput(t *testing.T) {
	explored.Explore(t, 4, func(r *interleave.Run) {
		s, below := bareSession(r, tlsHandshaking)
		fillBuffer(&s.in, maxUnopened)
		r.Go("poller", func() {
			interleave.Step("look", below)
			for s.pauseUnopened() {
				interleave.Await("reports", below, func() bool { return below.asked&evRead != 0 })
			}
		})
		r.Go("handshake", func() {
			for range 2 {
				interleave.Step("take", &s.in)
				_ = s.in.Skip(maxUnopened / 2)
				_ = s.in.Release()
				s.resumeUnopened()
			}
		})
	})
}

// The receiving pauses while the goroutine of the handshake opens, and goes on when that has given the role up.
func TestScheduleTLSPauseEndsWithTheRoleOfTheHandshake(t *testing.T) {
	explored.Explore(t, 4, func(r *interleave.Run) {
		s, below := bareSession(r, tlsOpen)
		r.Go("poller", func() {
			for range 2 {
				s.opening = s.role.take()
				for s.pauseUnopened() {
					interleave.Await("reports", below, func() bool { return below.asked&evRead != 0 })
				}
				if s.opening = s.opening || s.role.notify(); s.opening {
					for s.opening = false; !s.role.release(); {
					}
				}
			}
		})
		r.Go("handshake", func() {
			for !s.role.release() {
			}
			s.resumeUnopened()
		})
		r.Check(func() {
			if s.role.taken() {
				r.Failf("the role is still taken")
			}
		})
	})
}

// A peer that causes output is received from again when it has taken that.
func TestScheduleTLSStallEndsWhenTheOutputIsSent(t *testing.T) {
	explored.Explore(t, 4, func(r *interleave.Run) {
		s, below := bareSession(r, tlsOpen)
		fillBuffer(&s.out, maxOwnOutput+1)
		s.own.Store(maxOwnOutput + 1)
		r.Go("opener", func() {
			interleave.Step("look", below)
			s.stallIfFlooded()
			if s.flooded.Load() {
				interleave.Await("reports", below, func() bool { return below.asked&evRead != 0 })
			}
		})
		r.Go("sender", func() {
			for range 2 {
				interleave.Step("send", &s.out)
				s.sealedSent((s.out.Len() + 1) / 2)
			}
			interleave.Step("send", &s.out)
			s.sealedSent(s.out.Len())
		})
	})
}

// newSessionLine makes a session that an event loop serves, over a line where something arrives that is not TLS.
func newSessionLine(r *interleave.Run) (l *sessionLine, s *tlsTransport, failures *int) {
	failures = new(int)
	side := &tlsSide{config: testTLSConfig(), served: true, limiter: newHandshakeLimiter(1)}
	side.failed = func(net.Conn, error) { *failures++ }
	c := newSession("", side)
	l = &sessionLine{line: &line{r: r, c: c, room: 1000, input: "GET / HTTP/1.1\r\n\r\n"}}
	c.transport, c.owner = l, l
	c.beginSession(side)
	s = &c.self.(*TLSConnection).session
	_, readTimeout, readDeadline := c.reading.Atomics()
	_, writeTimeout, writeDeadline := c.writing.Atomics()
	r.Quiet(&c.idle, &c.derived, &c.remote, &c.window.limit, readTimeout, writeTimeout, readDeadline, writeDeadline,
		&c.window.lowWater, &c.window.readerQuota, &c.window.handlerQuota, &s.used)
	r.Check(l.check)
	r.Check(func() {
		switch {
		case *failures > 1:
			r.Failf("the handshake was reported as failed %d times", *failures)
		case c.life.load().phase() < phaseReleased:
			r.Failf("not over: %v", c.life.load())
		case !s.is(tlsFailed):
			r.Failf("at the end the session is %v", s.phaseNow())
		case side.limiter.free != 1 || len(side.limiter.waiting) > 0:
			r.Failf("the limit has %d places, and %d wait", side.limiter.free, len(side.limiter.waiting))
		}
	})
	if err := c.start(causePoller); err != nil {
		r.Failf("start: %v", err)
	}
	ready := func() bool { return l.events() != 0 }
	r.Daemon("poller", ready, func() {
		for {
			interleave.Await("look", l.line, ready)
			ev, before := l.events(), len(l.input)
			l.told |= ev
			deliver(l, s, ev, nil)
			if l.events() == ev && len(l.input) == before {
				r.Idle()
			}
		}
	})
	return l, s, failures
}

// However the handshake, its time limit and a Close meet, the session fails once, the connection ends, and the limit has
// its place back.
func TestScheduleTLSHandshakeAgainstItsEnd(t *testing.T) {
	for name, end := range map[string]func(l *sessionLine, s *tlsTransport){
		"time limit": func(_ *sessionLine, s *tlsTransport) { s.cancel(ErrReadTimeout) },
		"close":      func(l *sessionLine, _ *tlsTransport) { _ = l.c.Close() },
		"server":     func(l *sessionLine, _ *tlsTransport) { l.c.closeIfIdle() },
		"use":        func(_ *sessionLine, s *tlsTransport) { s.use() },
		"time limit and close": func(l *sessionLine, s *tlsTransport) {
			l.r.Go("close", func() { _ = l.c.Close() })
			s.cancel(ErrReadTimeout)
		},
	} {
		t.Run(name, func(t *testing.T) {
			explored.Explore(t, 2, func(r *interleave.Run) {
				l, s, failures := newSessionLine(r)
				r.Go("end", func() { end(l, s) })
				r.Check(func() {
					if name == "use" && *failures != 1 {
						r.Failf("the failed handshake was reported %d times", *failures)
					}
				})
			})
		})
	}
}
