package netpoll

// This file holds the source of sockets that a goroutine receives from. With the runtime's poller it wakes one goroutine
// for a batch, and nothing else: of all ways to wait for datagrams this is the cheapest for a busy socket. How the system
// receives is in packet_batch_unix.go and packet_batch_other.go.

import (
	"time"

	"github.com/cloudwego/netpoll/internal/interleave/clock"
)

// packetReader receives by itself. The server is in the state receiving as long as it does.
type packetReader struct {
	s  *packetServer
	in slabReader
}

func newPacketReader(s *packetServer) *packetReader {
	r := &packetReader{s: s}
	r.in.init(s.conn, s.loop.slabs, s.loop.opts.batch)
	return r
}

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
	ended := false
	defer func() {
		r.in.give()
		if ended {
			r.s.finish()
		} else {
			go r.receive()
		}
	}()
	for !r.s.hasEnded() {
		packets, err := r.in.calls.next()
		if len(packets) > 0 {
			r.s.handle(packets)
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
		if s.conn.SetReadDeadline(time.Time{}) != nil {
			s.end(err)
		}
		return
	}
	if s.survives(err) || s.hasEnded() {
		return
	}
	waited := make(chan struct{})
	clock.AfterFunc(minBackOff, func() { close(waited) })
	<-waited
}
