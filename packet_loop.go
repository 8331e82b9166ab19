package netpoll

// This file holds the PacketLoop as its user sees it. What it does with one socket is in packet_server.go.

import (
	"context"
	"errors"
	"net"
	"slices"

	"github.com/cloudwego/netpoll/internal/interleave/sync"
)

// OnPacket is called with the datagrams that have arrived at a socket, one at least, never twice at once for one socket:
//
//	func echo(ctx context.Context, conn *netpoll.UDPConn, packets []netpoll.Packet) error {
//		_, err := conn.WriteBatch(packets)
//		return err
//	}
//
// One WriteBatch with all replies is one system call. The packets and all their memory belong to the loop and are used
// again when the handler has returned; until then it may change them, above all Data, for which there is room in Buffer.
//
// It may block. Meanwhile no datagram of the socket is received, so the memory that the process needs does not grow: the
// system keeps what arrives up to the size of its buffer, and drops and counts the rest; see [WithPacketReadBuffer] and
// [UDPConn.Stats]. A handler that has much to do for each datagram copies them, or there are several sockets: see
// [ListenPackets].
//
// ctx is the background context. The error that it returns is ignored. A handler that panics, or ends its goroutine, is
// reported in the log, and called again with the next datagrams.
type OnPacket func(ctx context.Context, conn *UDPConn, packets []Packet) error

// PacketLoop is a server of datagrams: it receives them from UDP sockets and calls the handler.
type PacketLoop interface {
	// Serve receives from conn, which it owns from then on, and blocks. It returns nil when Shutdown begins, or at once if
	// Shutdown was called before, and an error when conn can receive no more; if that is because the program closed conn,
	// the error Is [net.ErrClosed]. No handler runs any more, and conn is closed, when it returns, except for an error that
	// Is [ErrUnsupported]: then conn is of a kind that cannot be served. A second Serve of a socket that is being served
	// returns an error, too, and does not close it.
	//
	// Serve may be called several times at once, with a socket each. Their handlers run at the same time.
	//
	// conn may be anything that [NewUDPConn] takes, which Serve calls: the handler gets the UDPConn. There is a goroutine that
	// receives. It waits by the poller of the Go runtime, and memory for datagrams is taken only when something arrives,
	// where batches are one system call. SetReadDeadline is the loop's.
	//
	// Errors that only say that a datagram did not reach its receiver, which connected sockets get, end nothing. Nor does
	// a system without memory: the loop tries again soon.
	Serve(conn net.PacketConn) error

	// Shutdown ends the loop: it receives nothing any more, waits for the handlers that run, closes the sockets, and makes
	// every Serve return. What the system still holds for the sockets is lost. If ctx ends first it returns a
	// [*ShutdownError] that wraps the error of ctx, and the rest happens when the handlers return. Only the first call does
	// all this; later ones return nil at once.
	Shutdown(ctx context.Context) error
}

// NewPacketLoop makes a loop that is ready to Serve. It starts nothing. on must not be nil.
func NewPacketLoop(on OnPacket, ops ...PacketOption) (PacketLoop, error) {
	if on == nil {
		return nil, errors.New("netpoll: new packet loop: the handler is nil")
	}
	opts := newPacketOptions(ops)
	return &packetLoop{on: on, opts: opts, slabs: newSlabPool(opts.batch, opts.size)}, nil
}

// packetLoop implements PacketLoop.
type packetLoop struct {
	on      OnPacket
	guarded bool // on does not panic, and reports by itself that it ends its goroutine
	watched bool // sockets are watched by a poller, if they can be
	opts    *packetOptions
	slabs   *slabPool

	// mu guards the fields below.
	mu      sync.Mutex
	ending  bool
	servers []*packetServer // one for each running Serve
}

// Serve implements PacketLoop.
func (l *packetLoop) Serve(conn net.PacketConn) error {
	if isNil(conn) {
		return errors.New("netpoll: serve: packet connection is nil")
	}
	if l.isEnding() {
		_ = conn.Close()
		return nil
	}
	c, err := NewUDPConn(conn)
	if err != nil {
		if !errors.Is(err, ErrUnsupported) {
			_ = conn.Close()
		}
		return err
	}
	s := newPacketServer(l, c)
	if err := c.bind(s); err != nil {
		return err // closed already, or served by another
	}
	defer s.closeSocket()
	if err := l.opts.setBuffers(c.socket); err != nil && !errors.Is(err, ErrUnsupported) {
		return c.opError("set", err)
	}
	if l.add(s) {
		s.run()
	}
	return s.err
}

// Shutdown implements PacketLoop.
func (l *packetLoop) Shutdown(ctx context.Context) error {
	if ctx == nil {
		ctx = context.Background()
	}
	servers := l.beginShutdown()
	for _, s := range servers {
		s.end(nil)
	}
	for _, s := range servers {
		select {
		case <-s.gone:
			continue
		case <-ctx.Done():
		}
		select {
		case <-s.gone: // both at once: the end counts more
		default:
			return &ShutdownError{Err: ctx.Err()}
		}
	}
	return nil
}

// beginShutdown returns the servers to end. No more are added from here on.
func (l *packetLoop) beginShutdown() []*packetServer {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ending {
		return nil
	}
	l.ending = true
	return slices.Clone(l.servers)
}

func (l *packetLoop) isEnding() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ending
}

// add returns false if Shutdown has begun.
func (l *packetLoop) add(s *packetServer) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ending {
		return false
	}
	l.servers = append(l.servers, s)
	return true
}

func (l *packetLoop) remove(s *packetServer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.servers = slices.DeleteFunc(l.servers, func(other *packetServer) bool { return other == s })
}
