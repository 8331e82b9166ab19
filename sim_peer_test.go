//go:build linux && !netconn

package netpoll

// The peer of a simulated connection: a socket that is used past this library, by someone who may
// be slow, rude, or gone.

import (
	"io"
	"net"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/internal/testkit"
)

// maxInput limits the output of one peer. If it is taken in tiny portions, less will do.
func (p *simPlan) maxInput() int64 {
	if p.readLimit == 0 {
		return 256 << 10
	}
	return min(256<<10, 1000*int64(p.readLimit))
}

type simPeer struct {
	l      *simLife
	conn   net.Conn // a *net.TCPConn or a *net.UnixConn
	raw    syscall.RawConn
	buf    []byte
	sent   int64 // taken by the kernel
	got    int64
	fin    bool        // the sending side was ended in order
	eof    bool        // the other side has ended in order
	broken error       // an error of the socket
	abrupt atomic.Bool // it closes, or resets, without regard to what is on its way
	sends  int
	steps  int
	tls    *simSession // over conn, or nil
	ring   *simRing    // or nil
}

var peerActs = []simAct[*simPeer]{
	{"send", 8, func(p *simPeer, arg int) { p.send(simSize(arg)) }},
	{"send-much", 1, func(p *simPeer, arg int) { p.send(1 + arg%testkit.MaxPiece) }},
	{"trickle", 2, func(p *simPeer, arg int) {
		for range 1 + arg%5 {
			p.send(1)
		}
	}},
	{"receive", 6, func(p *simPeer, arg int) { p.receive(simSize(arg)) }},
	{"receive-all", 3, func(p *simPeer, _ int) {
		for p.receive(testkit.MaxPiece) {
		}
	}},
	{"yield", 3, func(*simPeer, int) { runtime.Gosched() }},
	{"pause", 1, func(_ *simPeer, arg int) { simPause(arg) }},
	{"bound", 1, func(p *simPeer, _ int) { p.l.checkBound() }},
}

// attach gives the peer its socket.
func (p *simPeer) attach(conn net.Conn) {
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		p.l.fail("SyscallConn of the peer: %v", err)
	}
	p.conn, p.raw, p.buf = conn, raw, make([]byte, testkit.MaxPiece)
	if p.l.plan.shm != 0 {
		p.ring = newSimRing(conn, raw)
	}
}

// stop holds when the peer has nothing more to do with its socket.
func (p *simPeer) stop() bool { return p.broken != nil || p.sent > p.l.plan.maxInput() }

// send sends as many of n bytes as the socket takes now.
func (p *simPeer) send(n int) {
	n = int(min(int64(n), p.l.plan.maxInput()))
	p.sends++
	if p.tls != nil {
		p.tls.send(n)
		return
	}
	if p.ring != nil {
		m, err := p.ring.send(p.l.in.Piece(p.sent, n))
		p.sent += int64(m)
		p.failed("send", err)
		return
	}
	_ = p.raw.Write(func(fd uintptr) bool {
		m, err := unix.SendmsgN(int(fd), p.l.in.Piece(p.sent, n), nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		if err == nil {
			p.sent += int64(m)
		}
		p.failed("send", err)
		return true
	})
}

// receive takes up to n bytes that are there, and reports whether there may be more.
func (p *simPeer) receive(n int) (more bool) {
	if p.tls != nil {
		return p.tls.receive(n)
	}
	if p.ring != nil {
		m, eof, err := p.ring.receive(p.buf[:n])
		return !p.failed("receive", err) && p.took(m, eof)
	}
	_ = p.raw.Read(func(fd uintptr) bool {
		m, _, err := unix.Recvfrom(int(fd), p.buf[:n], unix.MSG_DONTWAIT)
		if !p.failed("receive", err) {
			more = p.took(max(m, 0), err == nil && m == 0)
		}
		return true
	})
	return more
}

// took checks received bytes.
func (p *simPeer) took(n int, eof bool) (more bool) {
	if at := p.l.out.Differs(p.got, p.buf[:n]); at >= 0 {
		p.l.fail("output differs at %d", at)
	}
	p.got += int64(n)
	p.eof = p.eof || eof
	return n > 0
}

// failed sorts the errors of the socket.
func (p *simPeer) failed(what string, err error) bool {
	switch err {
	case nil, unix.EAGAIN, unix.EINTR:
		return false
	case unix.EPIPE, unix.ECONNRESET:
		if !p.l.endsHere() {
			p.l.fail("%s of the peer: %v, although nothing has been closed here: %v", what, err, p.l.c.life.load())
		}
	default:
		p.l.fail("%s of the peer: %v", what, err)
	}
	p.broken = err
	return true
}

// live does the program and then ends, as planned.
func (p *simPeer) live() {
	perform(p, peerActs, &p.l.plan.peer, p.stop)
	switch p.l.plan.end {
	case endPeerFin:
		if p.broken == nil {
			err := p.closeWrite()
			p.fin = err == nil // else the other side has reset it meanwhile
		}
		p.drain()
	case endPeerClose:
		p.abrupt.Store(true)
	case endReset:
		p.abrupt.Store(true)
		if tcp, ok := p.conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
	case endStall:
		p.l.stands.Add(1)
		<-p.l.w.goOn
		p.drain()
	default:
		p.drain()
	}
	p.abrupt.Store(true) // for this side it makes no difference any more
	if p.ring != nil && p.l.plan.end != endReset {
		p.ring.end()
	}
	_ = p.conn.Close()
}

// closeWrite ends the sending side in order.
func (p *simPeer) closeWrite() error {
	if p.tls != nil {
		return p.tls.conn.CloseWrite()
	}
	if p.ring != nil {
		return p.ring.closeWrite()
	}
	return p.conn.(interface{ CloseWrite() error }).CloseWrite()
}

// drain receives until the end.
func (p *simPeer) drain() {
	if p.tls != nil {
		p.tls.drain()
		return
	}
	if p.ring != nil {
		p.drainRing()
		return
	}
	_ = p.conn.SetReadDeadline(time.Now().Add(simPatience))
	for p.broken == nil && !p.eof {
		p.steps++
		n, err := p.conn.Read(p.buf)
		p.took(n, err == io.EOF)
		if no := asErrno(err); no != 0 {
			p.failed("receive", no)
		} else if err != nil && err != io.EOF {
			p.l.fail("the peer has waited for the end in vain: %v; %v", err, p.l.c.life.load())
			p.broken = err
		}
	}
}

// drainRing is drain for shared memory.
func (p *simPeer) drainRing() {
	deadline := time.Now().Add(simPatience)
	for p.broken == nil && !p.eof {
		p.steps++
		if p.receive(len(p.buf)) || p.eof || p.broken != nil {
			continue
		}
		if err := p.ring.await(deadline); err != nil {
			p.l.fail("the peer has waited for the end in vain: %v; %v", err, p.l.c.life.load())
			p.broken = err
		}
	}
}
