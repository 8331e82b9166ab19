package netpoll

// This file holds the methods that Unix connections have beyond others: those of *net.UnixConn for messages with
// control data, such as descriptors that are handed over, and their forms without it. Arriving control data is kept in
// control_socket.go.

import (
	"io"
	"net"
	"os"
	"syscall"

	"github.com/cloudwego/netpoll/internal/interleave/clock"
)

// KeepDescriptors says whether descriptors that the peer sends (SCM_RIGHTS), and other control data, are kept for
// [UnixConnection.ReadMsgUnix] from now on. If not, they are closed as they arrive, without any report. A connection
// that was dialed, that Accept of a listener returned, or that was made by [NewConnection] or [NewFDConnection] keeps
// them from the beginning. A connection that an [EventLoop] serves does not, because its peers could use up the
// descriptors of the process: call this in OnPrepare, before anything has arrived.
//
// The error of a connection that cannot keep any, because a [net.Conn] carries it, Is [ErrUnsupported].
func (c *UnixConnection) KeepDescriptors(keep bool) error {
	if keep && !receivesControl {
		return Exception(ErrUnsupported, "keeping descriptors over a net.Conn")
	}
	c.keepControl(keep)
	return nil
}

// ReadMsgUnix reads available bytes into b, as Read does, and the control data that came with them into oob: it is
// ReadMsgUnix of [net.UnixConn]. n and oobn are the numbers of bytes, flags those of recvmsg, and addr is the peer's
// address if the system tells it and it has one. Errors are [*net.OpError], and at the end of the stream [io.EOF]
// itself. If b is empty and oob is not, one byte is read and lost. If both are empty, nothing is read, and the error is
// io.EOF.
//
// Descriptors arrive with the first byte that was sent with them, and are close-on-exec. One call never returns bytes
// from behind the message that brought control data together with those. Control data that does not fit into oob is
// lost: then flags has MSG_CTRUNC, and descriptors in the lost part are closed.
//
// Control data waits for its bytes to be read. If another call consumes them, such as Read, Next, Skip, Close or
// Detach, its descriptors are closed. The connection keeps the control data of one message. It goes on receiving until
// the next message with control data, which waits in the kernel until the first is read. If a method of Reader, or a
// handler, waits for more bytes than that, it gets them, and the descriptors of the first message are closed.
//
// KeepDescriptors says which connections keep control data. On any other the call returns bytes alone, and no flag
// shows that something was dropped; over a [net.Conn] the error Is [ErrUnsupported].
func (c *UnixConnection) ReadMsgUnix(b, oob []byte) (n, oobn, flags int, addr *net.UnixAddr, err error) {
	if !receivesControl {
		return 0, 0, 0, nil, c.opError("read", c.RemoteAddr(), Exception(ErrUnsupported, "messages over a net.Conn"))
	}
	if len(b) == 0 && len(oob) > 0 {
		b = make([]byte, 1)
	}
	m, err := c.readMessage(b, oob)
	if err != nil {
		return 0, 0, m.flags, nil, c.readError(err)
	}
	if len(b) == 0 { // so it is with package net
		return 0, 0, m.flags, c.sender(), io.EOF
	}
	return m.n, m.oobn, m.flags, c.sender(), nil
}

// ReadFromUnix is Read that also returns the peer's address, if the system tells it and it has one. Its errors are
// [*net.OpError], and at the end of the stream [io.EOF] itself.
func (c *UnixConnection) ReadFromUnix(b []byte) (int, *net.UnixAddr, error) {
	m, err := c.readMessage(b, nil)
	if err != nil {
		return 0, nil, c.readError(err)
	}
	if len(b) == 0 { // so it is with package net
		return 0, c.sender(), io.EOF
	}
	return m.n, c.sender(), nil
}

// ReadFrom is ReadFromUnix with another type of address.
func (c *UnixConnection) ReadFrom(b []byte) (int, net.Addr, error) {
	n, addr, err := c.ReadFromUnix(b)
	if addr == nil {
		return n, nil, err
	}
	return n, addr, err
}

// readError gives an error of reading the form that package net gives it, since Go 1.27 also at the end of the stream.
func (c *UnixConnection) readError(err error) error {
	if err == io.EOF {
		return err
	}
	return c.opError("read", c.RemoteAddr(), err)
}

// message is the result of a read.
type message struct{ n, oobn, flags int }

// readMessage waits for input, as Read does, and reads it.
func (c *UnixConnection) readMessage(b, oob []byte) (m message, err error) {
	m, err = readSome(&c.connection, func(in *LinkBuffer) (message, error) { return c.takeMessage(in, b, oob), nil })
	if err == io.EOF {
		m.flags = plainFlags
	}
	return m, err
}

// WriteMsgUnix sends what is pending in Writer, as Write, and then b with the control data in oob, for example
// descriptors, as [golang.org/x/sys/unix.UnixRights] makes it: it is WriteMsgUnix of [net.UnixConn]. It waits for room
// within the write timeout or deadline, and like that method it returns when the kernel has taken some of b, with all
// of oob; n and oobn say how much. Other writers wait, so no output comes between. addr must be nil. If b is empty and
// oob is not, one byte is sent. Errors are [*net.OpError]. Over a net.Conn other than a [net.UnixConn] the error Is
// [ErrUnsupported].
func (c *UnixConnection) WriteMsgUnix(b, oob []byte, addr *net.UnixAddr) (n, oobn int, err error) {
	if addr != nil {
		err = errOfAddress(addr)
	} else {
		n, oobn, err = c.writeMessage(b, oob)
	}
	if err != nil {
		return n, oobn, c.opError("write", addressOrNil(addr), err)
	}
	return n, oobn, nil
}

func (c *UnixConnection) writeMessage(b, oob []byte) (n, oobn int, err error) {
	const what = "when write"
	err = c.sendBehind(what, func(start int64, own *lifeBits) error {
		n, oobn, err = c.sendWith(b, oob, what, start, own)
		return err
	})
	return n, oobn, err
}

// messenger is a transport that sends control data, too. sendMessage takes bytes from b, perhaps not all of them, and with
// them all of oob; or its error is that of send.
type messenger interface {
	sendMessage(b, oob []byte, start int64) (n int, err error)
}

// sendWith sends one message, when there is room. The caller is the sending goroutine; nothing is queued before the
// message.
func (c *UnixConnection) sendWith(b, oob []byte, what string, start int64, own *lifeBits) (n, oobn int, err error) {
	t, ok := c.transport.(messenger)
	if !ok {
		return 0, 0, Exception(ErrUnsupported, what)
	}
	for {
		c.life.set(bitSendInFlight)
		n, err = t.sendMessage(b, oob, start)
		switch {
		case err == nil:
			c.called()
			c.touch()
			return n, len(oob), nil
		case err != errWouldBlock:
			return 0, 0, c.sendFailed(err, what)
		}
		c.called()
		if start == 0 {
			start = clock.Now()
		}
		if *own != bitFlushing {
			c.life.clear(bitProducing)
			*own = bitFlushing
		}
		if err := c.waitRoom(start, what); err != nil {
			return 0, 0, err
		}
	}
}

// WriteTo fails as on a connected [net.UnixConn]: its error Is [net.ErrWriteToConnected].
func (c *UnixConnection) WriteTo(b []byte, addr net.Addr) (int, error) {
	if a, ok := addr.(*net.UnixAddr); ok {
		return c.WriteToUnix(b, a)
	}
	return 0, c.opError("write", addr, errNotUnixAddress)
}

// WriteToUnix is WriteTo with another type of address.
func (c *UnixConnection) WriteToUnix(_ []byte, addr *net.UnixAddr) (int, error) {
	return 0, c.opError("write", addressOrNil(addr), net.ErrWriteToConnected)
}

// errNotUnixAddress and errOfAddress are the errors of package net for an address that it cannot use.
var errNotUnixAddress error = syscall.EINVAL

func errOfAddress(addr *net.UnixAddr) error {
	if addr.Net != "unix" {
		return syscall.EAFNOSUPPORT
	}
	return os.NewSyscallError("sendmsg", syscall.EISCONN)
}

// addressOrNil is a nil interface for a nil pointer.
func addressOrNil(addr *net.UnixAddr) net.Addr {
	if addr == nil {
		return nil
	}
	return addr
}

// opError gives err the form that it has in package net.
func (c *UnixConnection) opError(op string, addr net.Addr, err error) error {
	return &net.OpError{Op: op, Net: "unix", Source: c.LocalAddr(), Addr: addr, Err: err}
}

// sender is the address that came with a message: the peer's, if it has one.
func (c *UnixConnection) sender() *net.UnixAddr {
	addr, ok := c.RemoteAddr().(*net.UnixAddr)
	if !tellsSender || !ok || addr == nil || addr.Name == "" || addr.Name == "@" {
		return nil
	}
	return &net.UnixAddr{Name: addr.Name, Net: "unix"}
}
