//go:build linux && !netconn

package netpoll

// The clients of simulated datagrams, and the ledger of each.

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// simDatagram is what has become of one datagram. That of the length 0 stands for all of that length.
type simDatagram struct {
	size                   int
	handled, replied, back atomic.Int64
}

// simLedger has the datagrams of a client. The first four bytes of each are its number, and begin the rest.
type simLedger struct {
	mu    sync.Mutex // guards the fields below
	empty simDatagram
	list  []*simDatagram
}

// add enters a datagram, and returns its content. Those with bytes have at least 4.
func (l *simLedger) add(size int) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	if size == 0 {
		return nil
	}
	l.list = append(l.list, &simDatagram{size: size})
	return simContent(len(l.list)-1, size)
}

// simContent is the content of the i-th datagram.
func simContent(i, size int) []byte {
	p := binary.BigEndian.AppendUint32(nil, uint32(i))
	return bytes.Repeat(append(p, byte(i*7), byte(i>>3), 'x'), size/7+1)[:size]
}

// find returns what data is the content of, or its beginning, or nil.
func (l *simLedger) find(data []byte) *simDatagram {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(data) == 0 {
		return &l.empty
	}
	if len(data) < 4 {
		return nil
	}
	i := int(binary.BigEndian.Uint32(data))
	if i >= len(l.list) || len(data) > l.list[i].size || !bytes.Equal(data, simContent(i, len(data))) {
		return nil
	}
	return l.list[i]
}

// simPacketClient is one client.
type simPacketClient struct {
	w        *simPacketWorld
	r        *rand.Rand
	addr     netip.AddrPort
	ledger   simLedger
	sent     int64 // stored by the client
	handled  atomic.Int64
	replied  atomic.Int64
	back     atomic.Int64
	gro      bool
	socket   syscall.Conn
	send     func(list [][]byte) error
	close    func() error
	receiver sync.WaitGroup
}

func newSimPacketClient(w *simPacketWorld, r *rand.Rand) *simPacketClient {
	c := &simPacketClient{w: w, r: r}
	var local net.Addr
	switch r.IntN(4) {
	case 0:
		local = c.byNet()
	case 1:
		local = c.byBatches()
	default:
		local = c.byConnection(r.IntN(2) == 0)
	}
	c.addr = local.(*net.UDPAddr).AddrPort()
	c.addr = netip.AddrPortFrom(c.addr.Addr().Unmap(), c.addr.Port())
	return c
}

// byNet is a client on package net.
func (c *simPacketClient) byNet() net.Addr {
	conn, err := net.DialUDP("udp4", nil, c.w.to)
	if err != nil {
		panic(err)
	}
	c.socket, c.close = conn, conn.Close
	c.send = func(list [][]byte) (err error) {
		for _, p := range list {
			_, e := conn.Write(p)
			err = errors.Join(err, e)
		}
		return err
	}
	c.receiver.Go(func() { c.read(conn) })
	return conn.LocalAddr()
}

// read receives by Read until the client is closed.
func (c *simPacketClient) read(conn net.Conn) {
	p := make([]byte, maxPacketSize)
	for {
		n, err := conn.Read(p)
		switch {
		case err == nil:
			c.came(p[:n])
		case errors.Is(err, net.ErrClosed):
			return
		case !errors.Is(err, syscall.ECONNREFUSED) || !c.w.ending.Load():
			c.w.fail("Read of a client: %v", err)
			return
		}
	}
}

// byBatches is a client with ReadBatch and WriteBatch.
func (c *simPacketClient) byBatches() net.Addr {
	c.gro = c.r.IntN(2) == 0
	conn, err := DialUDP("udp4", nil, c.w.to, WithPacketGRO(c.gro), WithPacketGSO(c.r.IntN(3) > 0), WithPacketReadBuffer(1<<20))
	if err != nil {
		panic(err)
	}
	c.socket, c.close = conn, conn.Close
	c.send = func(list [][]byte) (err error) {
		packets := make([]Packet, len(list))
		for i := range list {
			packets[i].Data = list[i]
		}
		for len(packets) > 0 && err == nil {
			var n int
			n, err = conn.WriteBatch(packets)
			packets = packets[n:]
		}
		return err
	}
	room, count := [...]int{maxPacketSize, 2000}[c.r.IntN(2)], 1+c.r.IntN(20)
	c.receiver.Go(func() {
		packets := make([]Packet, count)
		for i := range packets {
			packets[i].Buffer = make([]byte, room)
		}
		for {
			n, err := conn.ReadBatch(packets)
			for _, p := range packets[:n] {
				c.came(p.Data)
			}
			switch {
			case err == nil:
			case errors.Is(err, net.ErrClosed):
				return
			case !errors.Is(err, syscall.ECONNREFUSED) || !c.w.ending.Load():
				c.w.fail("ReadBatch: %v", err)
				return
			}
		}
	})
	return conn.LocalAddr()
}

// byConnection is a client on a Connection, with a handler or without.
func (c *simPacketClient) byConnection(handler bool) net.Addr {
	conn, err := DialConnection("udp4", c.w.to.String(), simPatience)
	if err != nil {
		panic(err)
	}
	c.socket, c.close = conn.(*packetConnection).conn, conn.Close
	c.send = func(list [][]byte) (err error) {
		for _, p := range list {
			if len(p) == 0 {
				_, e := conn.Write(nil)
				err = errors.Join(err, e)
				continue
			}
			_, _ = conn.Writer().WriteBinary(p)
			err = errors.Join(err, conn.Writer().Flush())
		}
		return err
	}
	if !handler {
		c.receiver.Go(func() { c.read(conn) })
		return conn.LocalAddr()
	}
	var running atomic.Int32
	err = conn.SetOnRequest(func(_ context.Context, conn Connection) error {
		if running.Add(1) > 1 {
			c.w.fail("two handlers of a connection at once")
		}
		defer running.Add(-1)
		p, err := conn.Reader().ReadBinary(conn.Reader().Len())
		if err != nil {
			c.w.fail("ReadBinary: %v", err)
		}
		c.came(p)
		return nil
	})
	if err != nil {
		c.w.fail("SetOnRequest: %v", err)
	}
	c.receiver.Add(1)
	_ = conn.AddCloseCallback(func(Connection) error { c.receiver.Done(); return nil })
	return conn.LocalAddr()
}

// came notes a reply.
func (c *simPacketClient) came(data []byte) {
	d := c.ledger.find(data)
	if d == nil {
		c.w.fail("%d bytes came back that were not sent: %.40q", len(data), data)
		return
	}
	d.back.Add(1)
	c.back.Add(1)
}

// live sends, and waits now and then until the server has had everything.
func (c *simPacketClient) live() {
	for range 4 + c.r.IntN(40) {
		if c.w.ending.Load() {
			return
		}
		var list [][]byte
		for range 1 + c.r.IntN(4) {
			size := c.size()
			for range 1 + c.r.IntN(9) {
				list = append(list, c.ledger.add(size))
			}
		}
		c.sent += int64(len(list))
		if err := c.send(list); err != nil && !c.w.ending.Load() {
			c.w.fail("sending: %v", err)
			return
		}
		if !c.awaitHandled() {
			return
		}
	}
}

// size draws the size of a datagram.
func (c *simPacketClient) size() int {
	switch c.r.IntN(8) {
	case 0:
		return 0
	case 1:
		return 4 + c.r.IntN(6000)
	default:
		return 4 + c.r.IntN(1400)
	}
}

// awaitHandled waits until the server has had what this client has sent, or the system has dropped some of someone's.
func (c *simPacketClient) awaitHandled() bool {
	for deadline := time.Now().Add(simPatience); c.handled.Load() < c.sent; <-time.After(50 * time.Microsecond) {
		if c.w.ending.Load() {
			return false
		}
		if c.w.dropped() > 0 {
			return true
		}
		if time.Now().After(deadline) {
			c.w.fail("%d sent, %d handled, and none was dropped", c.sent, c.handled.Load())
			return false
		}
	}
	return true
}

// end closes the client and looks at its ledger.
func (c *simPacketClient) end(sum *simPacketTotals) {
	// What the server has sent is here, or was dropped; each drop of a socket that joins may be many.
	for deadline := time.Now().Add(simPatience); c.back.Load()+dropsOf(c.socket) < c.replied.Load(); <-time.After(50 * time.Microsecond) {
		if c.gro && dropsOf(c.socket) > 0 {
			break
		}
		if time.Now().After(deadline) {
			c.w.fail("%d replies, %d came, %d were dropped", c.replied.Load(), c.back.Load(), dropsOf(c.socket))
			break
		}
	}
	drops := dropsOf(c.socket)
	if err := c.close(); err != nil {
		c.w.fail("Close of a client: %v", err)
	}
	c.receiver.Wait()
	c.ledger.mu.Lock()
	defer c.ledger.mu.Unlock()
	for i, d := range append(c.ledger.list, &c.ledger.empty) {
		if d.back.Load() > d.replied.Load() {
			c.w.fail("datagram %d of %d bytes was sent back %d times, and %d came", i, d.size, d.replied.Load(), d.back.Load())
		}
	}
	if c.handled.Load() > c.sent {
		c.w.fail("%d sent, %d handled", c.sent, c.handled.Load())
	}
	if c.handled.Load() == c.sent && drops == 0 {
		sum.accounted++
	}
	sum.datagrams += c.sent
	sum.replies += c.replied.Load()
	sum.back += c.back.Load()
	sum.dropped += drops + c.sent - c.handled.Load()
}
