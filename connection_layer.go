package netpoll

// This file holds what a connection does for a layer between it and its transport, such as TLS: the references and the
// input that the layer needs, and the output that the layer adds to that of the user. The layer itself is in
// transport_tls.go.

import (
	"cmp"
	"net"
	"syscall"

	"github.com/cloudwego/netpoll/internal/errno"
)

var _ layerUser = (*connection)(nil)

// layer returns the layer of a connection that is layered.
func (c *connection) layer() layer { return c.transport.(layer) }

// setLayer puts t over the transport of a connection that has not been started.
func (c *connection) setLayer(t layer) {
	c.transport.(interface{ reportTo(upperLayer) }).reportTo(t.(upperLayer))
	c.transport = t
	c.layered = true
}

// use tells the layer, if there is one, that the program uses the connection.
func (c *connection) use() {
	if c.layered {
		c.layer().use()
	}
}

// unready reports whether there is a layer that has not begun.
func (c *connection) unready() bool { return c.layered && !c.layer().ready() }

// held reports whether a layer holds output.
func (c *connection) held() bool { return c.layered && c.layer().holds() }

// hold implements layerUser.
func (c *connection) hold() bool { return c.life.use(0) == entered }

// drop implements layerUser.
func (c *connection) drop() { c.leave(0) }

// roomFor implements layerUser.
func (c *connection) roomFor(size int) []byte { return c.in.book(size) }

// received implements layerUser.
func (c *connection) received(n int, full bool) {
	if n > 0 {
		c.window.adapt(n, full)
		c.touch()
	}
}

// opened implements layerUser.
func (c *connection) opened(b *batch) {
	if !c.life.load().has(bitReadShut) {
		c.inputArrived(b)
	}
}

// sendOwn implements layerUser. Output of the layer is pending output without bytes in the output buffer. If another
// goroutine is sending, that goroutine sends it, or finds it when it ends.
func (c *connection) sendOwn() {
	c.life.takePending()
	c.wakeSender()
}

// sendLost implements layerUser. A socket reports a reset to one call only. If that one sent output of the layer, the
// receive finds the end of the stream, which is not an orderly one. After any other error, too, nothing more can be sent.
func (c *connection) sendLost(no syscall.Errno) {
	switch {
	case no == syscall.EPIPE: // the reading side knows, or will know, why it is broken
	case errno.EndsConnection(no):
		c.life.noteError(no)
	default:
		c.peerClosed(cmp.Or(no, syscall.EIO), false)
	}
}

// wakeSender makes a goroutine that waits for room try again, and sends pending output.
func (c *connection) wakeSender() {
	if c.wantWrite.CompareAndSwap(true, false) {
		_ = c.transport.updateInterest()
		c.writing.Wake()
	}
	c.sendPending()
}

// handshakeDone implements layerUser.
func (c *connection) handshakeDone() (run task) {
	c.wakeSender()
	if !c.life.load().has(bitConnected) && c.life.startTask() {
		run = c
	}
	c.reading.Wake() // a Handshake may wait
	return run
}

// handshakeFailed implements layerUser. A connection of an event loop ends, before any callback but OnPrepare and the
// close callbacks has seen it. Any other belongs to the program, whose calls get the error.
func (c *connection) handshakeFailed(err error) {
	if c.life.load().phase() >= phaseClosing {
		return // for that reason
	}
	if c.owner == nil {
		if c.held() {
			c.sendOwn()
		}
		c.inputEnded(err)
		c.wakeSender()
		return
	}
	no := asErrno(err)
	if no == 0 {
		no = syscall.EIO
	}
	c.life.noteError(no)
	c.guard("WithOnTLSHandshakeError", func() { c.layer().reportFailure(c.self.(net.Conn)) })
	c.close(causePeer)
}

// layerClosing is called after the move to closing, and returns the state then. The caller has a reference. old is the
// state before. What the layer holds, and what it adds at the end, becomes pending output. If a Flush is cut off, or has
// been given up, the end is not in order.
func (c *connection) layerClosing(old lifeBits) lifeBits {
	unsent := c.out.Len()
	if old.has(bitPending) {
		unsent -= max(0, c.pendingLen())
	}
	inOrder := unsent <= 0 && !old.has(bitFlushing|bitSendFailed) && old.errno() == 0
	if c.layer().closing(inOrder) {
		c.life.takePending()
	}
	return c.life.load()
}

// closeWriteLayer is the CloseWrite of a connection with a layer, which then has bitWriteShut. What ends the direction is
// output of the layer.
func (c *connection) closeWriteLayer() {
	c.layer().wantEnd()
	c.sendOwn()
}
