//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

// This file holds the source of sockets that a poller watches: the poller, or a goroutine of the runner, receives. An idle
// socket needs no goroutine, but each batch of a busy one costs more than with a packetReader.

import (
	"context"

	"github.com/cloudwego/netpoll/internal/interleave/clock"
	"github.com/cloudwego/netpoll/internal/interleave/sync"
	"github.com/cloudwego/netpoll/internal/runner"
	"github.com/cloudwego/netpoll/internal/sock"
)

// packetWatch reports input of a descriptor. It is the handler of its watch.
type packetWatch struct {
	s     *packetServer
	watch watch
	task  func() // receiveApart, made once

	// mu guards the fields below. It is taken before the locks of the watch and of the server.
	mu     sync.Mutex
	closed bool
	fd     int // that the watch is for; -1 if there is none
}

var (
	_ pollHandler = (*packetWatch)(nil)
	_ task        = (*packetWatch)(nil)
)

func newPacketWatch(s *packetServer) packetSource {
	if s.conn.batches.raw == nil {
		return newPacketReader(s)
	}
	w := &packetWatch{s: s, fd: -1}
	w.task = w.receiveApart
	return w
}

// open implements packetSource. The poller watches a duplicate: the descriptor of the socket may be closed by the program
// at any time, and its number then be that of another file.
func (w *packetWatch) open() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil
	}
	fd, err := duplicate(w.s.conn.batches.raw)
	if err != nil {
		return w.s.conn.opError("read", insideOf(err))
	}
	if err := w.watch.openAny(fd, w, w.interest()); err != nil {
		_ = sock.Close(fd)
		return w.s.conn.opError("read", err)
	}
	w.fd = fd
	return nil
}

// updateInterest implements packetSource. If it fails the poller reports that.
func (w *packetWatch) updateInterest() { _ = w.watch.updateInterest() }

// close implements packetSource.
func (w *packetWatch) close() {
	w.watch.close()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	if w.fd >= 0 {
		_ = sock.Close(w.fd)
		w.fd = -1
	}
}

// interest implements pollHandler.
func (w *packetWatch) interest() pollEvent {
	if w.s.watched() {
		return evRead
	}
	return 0
}

// watched reports whether the source shall report input.
func (s *packetServer) watched() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state != packetsUnwatched && !s.ended
}

// onPoll implements pollHandler. An error of the socket is found by receiving, too.
func (w *packetWatch) onPoll(ev pollEvent, b *batch) {
	if ev&evDetached != 0 {
		w.s.end(w.s.conn.opError("read", ErrPollerFailed))
		return
	}
	if w.s.begin() && !b.add(w) {
		w.dispatch()
	}
}

// inlinePackets limits the datagrams of a batch that is received on a worker, where other handlers wait for their turn. A
// socket that fills it goes on in the runner.
const inlinePackets = 16

// runTask implements task: on a worker.
func (w *packetWatch) runTask() { w.receive(true) }

// dispatch implements task: in the runner.
func (w *packetWatch) dispatch() { runner.Run(context.Background(), w.task) }

func (w *packetWatch) receiveApart() { w.receive(false) }

// receive receives and runs the handler until there is no input, on a worker for one batch at most. What comes after the
// handler is deferred, because that may end the goroutine.
func (w *packetWatch) receive(inline bool) {
	s := w.s
	slab := s.loop.slabs.get()
	then := finishNow
	defer func() {
		s.loop.slabs.put(slab)
		w.goOn(then)
	}()
	limit := s.loop.opts.batch
	if inline {
		limit = min(limit, inlinePackets)
	}
	for !s.hasEnded() {
		packets := slab.first(limit)
		n, err := s.conn.batches.readNow(s.conn, packets)
		if n > 0 {
			s.handle(packets[:n])
		}
		switch {
		case err != nil:
			if !s.survives(err) {
				then = finishLater
				return
			}
		case n == 0:
			return
		case inline:
			if n == limit {
				then = receiveApart
			}
			return
		}
	}
}

// afterBatch is what comes after receive.
type afterBatch uint8

const (
	finishNow    afterBatch = iota
	finishLater             // after a back-off, for a system that has no memory at the moment
	receiveApart            // in the runner
)

func (w *packetWatch) goOn(then afterBatch) {
	switch {
	case then == receiveApart:
		w.dispatch()
	case then == finishLater && !w.s.hasEnded():
		clock.AfterFunc(minBackOff, w.s.finish)
	default:
		w.s.finish()
	}
}
