package netpoll

// This file holds the source of sockets that no poller watches: a goroutine that receives.

import (
	"time"

	"github.com/cloudwego/netpoll/internal/interleave/clock"
)

// packetReader receives by itself. The server is in the state receiving as long as it does.
type packetReader struct{ s *packetServer }

// open implements packetSource.
func (r *packetReader) open() error {
	if r.s.begin() {
		go r.receive()
	}
	return nil
}

// updateInterest implements packetSource.
func (r *packetReader) updateInterest() {}

// close implements packetSource: the deadline ends a call that waits. A socket without deadlines has to be closed.
func (r *packetReader) close() {
	if r.s.conn.SetReadDeadline(time.Unix(1, 0)) != nil {
		_ = r.s.conn.socket.Close()
	}
}

// receive receives until the server has ended. If the handler ends the goroutine another one goes on.
func (r *packetReader) receive() {
	s := r.s
	slab := s.loop.slabs.get()
	ended := false
	defer func() {
		s.loop.slabs.put(slab)
		if ended {
			s.finish()
		} else {
			go r.receive()
		}
	}()
	for !s.hasEnded() {
		packets := slab.first(min(s.conn.batches.most(), s.loop.opts.batch))
		n, err := s.conn.batches.read(s.conn, packets)
		if n > 0 {
			s.handle(packets[:n])
		}
		if err != nil {
			r.failed(err)
		}
	}
	ended = true
}

// failed waits or ends the server, as err says. A deadline is cleared: it may be the program's, or that of close, which
// comes after the server has ended.
func (r *packetReader) failed(err error) {
	s := r.s
	if isTimeout(err) {
		_ = s.conn.SetReadDeadline(time.Time{})
		return
	}
	if s.survives(err) || s.hasEnded() {
		return
	}
	waited := make(chan struct{})
	clock.AfterFunc(minBackOff, func() { close(waited) })
	<-waited
}
