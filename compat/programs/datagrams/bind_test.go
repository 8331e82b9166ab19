package datagrams

// A Bind of wireguard-go over ReadBatch and WriteBatch.

import (
	"errors"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"syscall"

	"github.com/cloudwego/netpoll"
	"golang.zx2c4.com/wireguard/conn"
)

// bindBatch is how many datagrams the device receives and sends at once.
const bindBatch = 64

// bind is a conn.Bind with a socket for each family. Replies leave from the address that the peer has sent to.
type bind struct {
	// mu guards the fields below. It is not held while a socket receives or sends.
	mu      sync.Mutex
	sockets []*netpoll.UDPConn // of IPv4 and of IPv6
}

var _ conn.Bind = (*bind)(nil)

// Open implements conn.Bind.
func (b *bind) Open(port uint16) (fns []conn.ReceiveFunc, actual uint16, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.sockets != nil {
		return nil, 0, conn.ErrBindAlreadyOpen
	}
	for _, network := range []string{"udp4", "udp6"} {
		c, err := netpoll.ListenPacket(network, ":"+strconv.Itoa(int(port)), netpoll.WithPacketInfo(),
			netpoll.WithPacketGRO(true), netpoll.WithPacketReadBuffer(1<<20), netpoll.WithPacketWriteBuffer(1<<20))
		if errors.Is(err, syscall.EAFNOSUPPORT) {
			continue
		}
		if err != nil {
			b.closeAll()
			return nil, 0, err
		}
		socket := c.(*netpoll.UDPConn)
		port = uint16(socket.LocalAddr().(*net.UDPAddr).Port)
		b.sockets = append(b.sockets, socket)
		fns = append(fns, receiveFrom(socket))
	}
	return fns, port, nil
}

// receiveFrom makes the function of one socket, which one goroutine calls.
func receiveFrom(socket *netpoll.UDPConn) conn.ReceiveFunc {
	packets := make([]netpoll.Packet, bindBatch)
	return func(buffers [][]byte, sizes []int, eps []conn.Endpoint) (int, error) {
		packets := packets[:min(len(buffers), len(packets))]
		for i := range packets {
			packets[i].Buffer = buffers[i]
		}
		n, err := socket.ReadBatch(packets)
		for i, p := range packets[:n] {
			sizes[i] = len(p.Data)
			eps[i] = &endpoint{to: p.Addr, local: p.Local, index: p.Interface}
		}
		if n > 0 {
			return n, nil
		}
		return 0, err
	}
}

// Close implements conn.Bind.
func (b *bind) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.closeAll()
}

func (b *bind) closeAll() (err error) {
	for _, socket := range b.sockets {
		err = errors.Join(err, socket.Close())
	}
	b.sockets = nil
	return err
}

// Send implements conn.Bind.
func (b *bind) Send(buffers [][]byte, ep conn.Endpoint) error {
	to, ok := ep.(*endpoint)
	if !ok {
		return conn.ErrWrongEndpointType
	}
	socket := b.socketFor(to)
	if socket == nil {
		return syscall.EAFNOSUPPORT
	}
	packets := make([]netpoll.Packet, len(buffers))
	for i := range packets {
		packets[i] = netpoll.Packet{Data: buffers[i], Addr: to.to, Local: to.local, Interface: to.index}
	}
	_, err := socket.WriteBatch(packets)
	return err
}

// socketFor returns the socket that sends to an endpoint.
func (b *bind) socketFor(to *endpoint) *netpoll.UDPConn {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, socket := range b.sockets {
		if inet4 := socket.LocalAddr().(*net.UDPAddr).IP.To4() != nil; inet4 == to.to.Addr().Unmap().Is4() {
			return socket
		}
	}
	return nil
}

// SetMark implements conn.Bind.
func (b *bind) SetMark(uint32) error { return nil }

// ParseEndpoint implements conn.Bind.
func (b *bind) ParseEndpoint(s string) (conn.Endpoint, error) {
	to, err := netip.ParseAddrPort(s)
	return &endpoint{to: to}, err
}

// BatchSize implements conn.Bind.
func (b *bind) BatchSize() int { return bindBatch }

// endpoint is a peer, and the address of this side that it knows.
type endpoint struct {
	to    netip.AddrPort
	local netip.Addr
	index int
}

func (e *endpoint) ClearSrc()           { e.local, e.index = netip.Addr{}, 0 }
func (e *endpoint) SrcToString() string { return e.local.String() }
func (e *endpoint) DstToString() string { return e.to.String() }
func (e *endpoint) DstIP() netip.Addr   { return e.to.Addr() }
func (e *endpoint) SrcIP() netip.Addr   { return e.local }
func (e *endpoint) DstToBytes() []byte  { p, _ := e.to.MarshalBinary(); return p }
