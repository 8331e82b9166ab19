//go:build !netconn && !kqsim

package netpoll

// This file holds how two sides agree on shared memory, over a Unix socket between them, before the first byte of the
// stream. Both wait here, so it runs in a goroutine of its own, and the caller sets a deadline.
//
//	client                          server
//	creates a region, sends      →  checks who it is, the greeting and the region; creates a region
//	maps the server's            ←  sends
//
// Nothing of the stream is sent before both have the memory, so either side may still choose the plain socket.

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/internal/shmring"
	"github.com/cloudwego/netpoll/internal/sock"
)

// shmLink is a Unix socket with the memory that both sides have agreed on. A connection is made of it.
type shmLink struct {
	*net.UnixConn
	own, peer *shmring.Region // nil when the connection owns them
	freed     func()          // called once when own is free again; may be nil
	busyPoll  time.Duration
	counts    *ShmStatistics // may be nil
}

func (l *shmLink) LocalAddr() net.Addr { return shmAddr(l.UnixConn.LocalAddr()) }

func (l *shmLink) RemoteAddr() net.Addr { return shmAddr(l.UnixConn.RemoteAddr()) }

// Close frees what no connection owns.
func (l *shmLink) Close() error {
	for _, r := range []*shmring.Region{l.own, l.peer} {
		if r != nil {
			r.Free()
		}
	}
	if l.freed != nil {
		l.freed()
	}
	l.own, l.peer, l.freed = nil, nil, nil
	return l.UnixConn.Close()
}

// shmSupported returns an error for what this system cannot do.
func shmSupported(*ShmConfig) error { return nil }

// shmConnect agrees with the server behind conn. The result is conn itself if both have chosen the plain socket.
func shmConnect(conn *net.UnixConn, config *ShmConfig) (net.Conn, error) {
	own, fd, err := shmring.Create(config.ringSize())
	if err != nil {
		err = errors.Join(errShmSystem, err)
		if !config.Fallback {
			return nil, err
		}
		if err = shmAgreePlain(conn); err == nil {
			config.Statistics.onSocket(shmBySystem)
		}
		return conn, err
	}
	defer unix.Close(fd)
	link := &shmLink{UnixConn: conn, own: own, busyPoll: config.busyPoll(), counts: config.Statistics}
	hello := shmring.Hello{Answer: shmring.Shared, Ring: config.ringSize()}
	if err = shmGreet(conn, hello, fd); err == nil {
		hello, link.peer, err = shmGreeting(conn)
	}
	switch other := errors.Is(err, shmring.ErrVersion); {
	case (err == nil || other) && hello.Answer == shmring.Plain && config.Fallback:
		own.Free()
		config.Statistics.onSocket(shmByPeer)
		return conn, nil
	case other:
		err = errors.Join(errShmRefused, err)
	case err != nil:
	case hello.Answer == shmring.Shared:
		link.opened()
		return link, nil
	default:
		err = errShmRefused
	}
	own.Free()
	return nil, err
}

// shmAgreePlain is shmConnect without memory.
func shmAgreePlain(conn *net.UnixConn) error {
	if err := shmGreet(conn, shmring.Hello{Answer: shmring.Plain}, -1); err != nil {
		return err
	}
	hello, peer, err := shmGreeting(conn)
	if peer != nil {
		peer.Free() // it was not asked for
	}
	if err == nil && hello.Answer != shmring.Plain {
		err = errShmRefused
	}
	return err
}

// shmAccept agrees with the client behind conn, which it does not close. The result is conn itself if the client speaks
// something else and config allows that, or if both have chosen the plain socket.
func shmAccept(conn *net.UnixConn, config *ShmConfig, used *atomic.Int64) (net.Conn, error) {
	if err := shmCheckUser(conn, config); err != nil {
		if _, peer, _ := shmGreeting(conn); peer != nil { // or the answer would be lost with it
			peer.Free()
		}
		return nil, errors.Join(err, shmRefuse(conn))
	}
	if other, err := shmSpeaksOther(conn); err != nil || other {
		if err == nil && !config.Fallback {
			err = shmring.ErrHello
		}
		if err == nil {
			config.Statistics.onSocket(shmByOther)
		}
		return conn, err
	}
	hello, peer, err := shmGreeting(conn)
	switch {
	case err == nil:
	case !errors.Is(err, shmring.ErrVersion):
		return nil, err
	case config.Fallback:
		return shmAnswerPlain(conn, config, shmByVersion)
	default:
		return nil, errors.Join(err, shmRefuse(conn))
	}
	link := &shmLink{UnixConn: conn, peer: peer, busyPoll: config.busyPoll(), counts: config.Statistics}
	reason := shmByPeer
	if hello.Answer == shmring.Shared {
		err := link.answer(config, used)
		if err == nil {
			link.opened()
			return link, nil
		}
		reason = shmBySystem
		if errors.Is(err, errShmMemory) {
			reason = shmByLimit
		}
		peer.Free()
		if !config.Fallback {
			return nil, errors.Join(err, shmRefuse(conn))
		}
	} else if hello.Answer != shmring.Plain || !config.Fallback {
		return nil, errors.Join(errShmRefused, shmRefuse(conn))
	}
	return shmAnswerPlain(conn, config, reason)
}

// shmAnswerPlain chooses the socket, for that reason.
func shmAnswerPlain(conn *net.UnixConn, config *ShmConfig, reason shmReason) (net.Conn, error) {
	err := shmGreet(conn, shmring.Hello{Answer: shmring.Plain}, -1)
	if err == nil {
		config.Statistics.onSocket(reason)
	}
	return conn, err
}

// opened counts the connection until its region is freed.
func (l *shmLink) opened() {
	size, freed := l.own.Size(), l.freed
	l.counts.opened(size)
	l.freed = func() {
		l.counts.closed(size)
		if freed != nil {
			freed()
		}
	}
}

func shmRefuse(conn *net.UnixConn) error {
	return shmGreet(conn, shmring.Hello{Answer: shmring.Refused}, -1)
}

// answer creates the region of the server and sends it, if the limit allows one more.
func (l *shmLink) answer(config *ShmConfig, used *atomic.Int64) error {
	size := int64(config.ringSize())
	freed := func() { used.Add(-size) }
	defer func() {
		if l.own == nil {
			freed()
		}
	}()
	if total := used.Add(size); config.MaxMemory > 0 && total > config.MaxMemory {
		return errShmMemory
	}
	own, fd, err := shmring.Create(config.ringSize())
	if err != nil {
		return errors.Join(errShmSystem, err)
	}
	defer unix.Close(fd)
	if err := shmGreet(l.UnixConn, shmring.Hello{Answer: shmring.Shared, Ring: config.ringSize()}, fd); err != nil {
		own.Free()
		return err
	}
	l.own, l.freed = own, freed
	return nil
}

// shmCheckUser asks the system who the client is.
func shmCheckUser(conn *net.UnixConn, config *ShmConfig) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var who *unix.Ucred
	controlErr := raw.Control(func(fd uintptr) {
		who, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err := errors.Join(controlErr, err); err != nil {
		return err
	}
	if !config.allows(who.Uid) {
		return fmt.Errorf("%w: user %d: %w", errShmUser, who.Uid, syscall.EACCES)
	}
	return nil
}

// allows reports whether a user may connect.
func (c *ShmConfig) allows(uid uint32) bool {
	if c.AllowUser != nil {
		return c.AllowUser(uid)
	}
	return uid == 0 || int64(uid) == int64(os.Geteuid())
}

// shmSpeaksOther waits for the first bytes, leaves them where they are, and reports whether they are those of something
// else.
func shmSpeaksOther(conn *net.UnixConn) (other bool, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return false, err
	}
	var p [shmring.HelloSize]byte
	n := 0
	readErr := raw.Read(func(fd uintptr) bool {
		n, _, err = unix.Recvfrom(int(fd), p[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		return err != unix.EAGAIN
	})
	if err := errors.Join(readErr, os.NewSyscallError("recvfrom", err)); err != nil {
		return false, err
	}
	if n == 0 {
		return false, io.EOF
	}
	return !shmring.Begins(p[:n]), nil
}

// shmGreet sends a greeting, with a descriptor unless it is -1.
func shmGreet(conn *net.UnixConn, hello shmring.Hello, fd int) error {
	var rights []byte
	if fd >= 0 {
		rights = unix.UnixRights(fd)
	}
	n, _, err := conn.WriteMsgUnix(hello.Encode(), rights, nil)
	if err == nil && n != shmring.HelloSize {
		err = io.ErrShortWrite
	}
	return err
}

// shmGreeting receives a greeting, and the region that comes with it.
func shmGreeting(conn *net.UnixConn) (hello shmring.Hello, peer *shmring.Region, err error) {
	var p [shmring.HelloSize]byte
	oob := make([]byte, unix.CmsgLen(4)) // one descriptor; the system closes what does not fit
	fds := shmDescriptors{}
	defer fds.close()
	for n := 0; n < len(p); {
		k, oobn, flags, _, err := conn.ReadMsgUnix(p[n:], oob)
		if err != nil {
			return hello, nil, err
		}
		sock.EachDescriptor(oob[:oobn], func(fd int) { fds = append(fds, fd) })
		switch {
		case k == 0:
			return hello, nil, io.ErrUnexpectedEOF
		case flags&unix.MSG_CTRUNC != 0 && len(fds) == 0:
			return hello, nil, fmt.Errorf("no room for the descriptor of a region: %w", syscall.EMFILE)
		case flags&unix.MSG_CTRUNC != 0 || len(fds) > 1:
			return hello, nil, shmring.ErrRegion
		}
		n += k
	}
	if hello, err = shmring.Decode(p[:]); err != nil || hello.Answer != shmring.Shared {
		return hello, nil, err
	}
	if len(fds) != 1 {
		return hello, nil, shmring.ErrRegion
	}
	peer, err = shmring.Map(fds[0], hello.Ring)
	return hello, peer, err
}

// shmDescriptors are those that have come with a greeting.
type shmDescriptors []int

func (list *shmDescriptors) close() {
	for _, fd := range *list {
		sock.EndLinger(fd) // it may be any descriptor, such as a socket that lingers
		_ = unix.Close(fd)
	}
}
