//go:build unix

package netpoll

// This file holds what a connection lends of its descriptor: half-close, socket options, and the doors that package net
// has too: SyscallConn and File.

import (
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// CloseRead shuts down the reading side: reads return what is buffered and then io.EOF. The writing side goes on.
func (c *connection) CloseRead() error {
	if c.life.enter(0, phasePeerDone) != entered {
		return Exception(ErrConnClosed, "when close read")
	}
	defer c.leave(0)
	c.life.set(bitEnded | bitReadShut)
	c.reading.wake()
	return c.transport.closeRead()
}

// CloseWrite shuts down the writing side: the peer reads everything that was flushed and then the end of the stream.
// What was not flushed is dropped, and later writes fail with EPIPE. The reading side goes on.
func (c *connection) CloseWrite() error {
	if c.life.enter(0, phasePeerDone) != entered {
		return Exception(ErrConnClosed, "when close write")
	}
	defer c.leave(0)
	c.life.set(bitWriteShut)
	return c.transport.closeWrite()
}

// withFd runs f while the descriptor is held open.
func (c *connection) withFd(what string, f func(fd int) error) error {
	if c.life.enter(0, phasePeerDone) != entered {
		return Exception(ErrConnClosed, what)
	}
	defer c.leave(0)
	fd := c.transport.fd()
	if fd < 0 {
		return Exception(ErrUnsupported, what)
	}
	return f(fd)
}

// SetKeepAlive sets the TCP keepalive time, in seconds, and switches keepalive on. It does nothing for 0 or less and
// for connections that are not TCP.
func (c *connection) SetKeepAlive(second int) error {
	if second <= 0 || c.network != "tcp" {
		return nil
	}
	return c.withFd("when set keepalive", func(fd int) error { return SetKeepAlive(fd, second) })
}

// SetIdleTimeout implements Connection.
func (c *connection) SetIdleTimeout(timeout time.Duration) error {
	if timeout <= 0 {
		return nil
	}
	return c.SetKeepAlive(wholeSeconds(timeout))
}

// wholeSeconds rounds up; the longest times end at what the kernel takes.
func wholeSeconds(d time.Duration) int {
	const most = 32767 // of TCP_KEEPIDLE
	if d > most*time.Second {
		return most
	}
	return int((d + time.Second - 1) / time.Second)
}

// File returns a duplicate of the descriptor as a file, as the connections of package net do. The two are closed each
// by itself; both act on the same socket, so reading from the file takes bytes away from the connection.
func (c *connection) File() (f *os.File, err error) {
	err = c.withFd("when file", func(fd int) error {
		dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return os.NewSyscallError("fcntl", err)
		}
		f = os.NewFile(uintptr(dup), c.network+":"+c.peerName())
		return nil
	})
	return f, err
}

// SyscallConn gives access to the descriptor. Control runs its function while the descriptor cannot be closed. The
// functions given to Read and Write are called once: the poller takes incoming bytes into the connection's buffer, so
// one that returns false, to wait for readiness, ends the call with an error that Is [errors.ErrUnsupported].
func (c *connection) SyscallConn() (syscall.RawConn, error) {
	if c.transport.fd() < 0 {
		return nil, Exception(ErrUnsupported, "when syscall conn")
	}
	return rawConn{c}, nil
}

// rawConn implements syscall.RawConn.
type rawConn struct{ c *connection }

func (r rawConn) Control(f func(fd uintptr)) error {
	return r.c.withFd("when control", func(fd int) error {
		f(uintptr(fd))
		return nil
	})
}

func (r rawConn) Read(f func(fd uintptr) (done bool)) error  { return r.once("when raw read", f) }
func (r rawConn) Write(f func(fd uintptr) (done bool)) error { return r.once("when raw write", f) }

func (r rawConn) once(what string, f func(fd uintptr) (done bool)) error {
	return r.c.withFd(what, func(fd int) error {
		if f(uintptr(fd)) {
			return nil
		}
		return Exception(ErrUnsupported, what+": waiting for readiness")
	})
}

var _ syscall.RawConn = rawConn{}
