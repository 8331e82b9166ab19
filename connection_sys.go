//go:build unix

package netpoll

// This file holds what a connection lends of its descriptor: half-close, socket options, and the doors that package net
// has too: SyscallConn and File.

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// CloseRead shuts down the reading side: reads return what is buffered and then io.EOF, and what the peer sends from
// then on is dropped. The writing side goes on, and the peer's end is noticed as before.
func (c *connection) CloseRead() error {
	if c.life.enter(0, phasePeerDone) != entered {
		return Exception(ErrConnClosed, "when close read")
	}
	defer c.leave(0)
	c.life.set(bitReadShut)
	c.reading.wake()
	if c.paused.CompareAndSwap(true, false) {
		_ = c.transport.rearm()
	}
	return nil
}

// CloseWrite shuts down the writing side: the peer reads everything that was flushed and then the end of the stream.
// A Flush that is waiting, and later ones, fail with EPIPE and drop what was not sent. The reading side goes on.
func (c *connection) CloseWrite() error {
	if c.life.enter(0, phasePeerDone) != entered {
		return Exception(ErrConnClosed, "when close write")
	}
	defer c.leave(0)
	old := c.life.set(bitWriteShut)
	c.writing.wake()
	if old.has(bitOwed) {
		c.sendOwed()
		return nil // whoever sends the last of what is owed ends the direction
	}
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
	c.sendOwed()
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
