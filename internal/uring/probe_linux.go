package uring

// This file holds the probe: whether io_uring can be used here. It is not enough that the system call exists; a
// kernel, a container or an emulation may have it, but without the behaviour that a batch relies on. So the probe uses
// a ring as the poller will, and compares every result with that of a plain system call.

import (
	"bytes"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

var probeOnce = sync.OnceValue(Probe)

// ProbeOnce is [Probe], done once for the life of the program. It may be called from many goroutines.
func ProbeOnce() error { return probeOnce() }

// Probe reports why no ring can be used here, or nil when one can. It makes a ring and sends and receives over a pair
// of sockets; nothing of it remains. The error wraps the errno of the refusal (ENOSYS, EPERM, ENOMEM, …), or
// [ErrMisbehaves] when an operation did not do what it should. It takes well under a millisecond, and waits only
// where a kernel keeps an operation it should have completed.
func Probe() error {
	ring, err := New(4)
	if err != nil {
		return fmt.Errorf("%s: %w", refusal(err), err)
	}
	if err = Exercise(ring, ErrMisbehaves); err != nil {
		err = fmt.Errorf("io_uring probe: %w", err)
	}
	return errors.Join(err, ring.Close())
}

// Exercise uses ring as a poller will, and compares every result with what plain system calls would have given. What is
// wrong wraps misbehaves, or is what Submit returned. The ring must be new, and have room for two operations. Package
// aio has its ring exercised, too.
func Exercise(ring executor, misbehaves error) error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socketpair: %w", err)
	}
	p := prober{ring: ring, misbehaves: misbehaves, fds: pair}
	return errors.Join(p.run(), p.closeEnds())
}

// executor is what a probe needs of a [Ring].
type executor interface {
	Recv(fd int, p []byte, tag uint64) bool
	Send(fd int, p []byte, tag uint64) bool
	Submit(done func(tag uint64, res int32)) error
}

// refusal says in words what the errno of a refused ring means.
func refusal(err error) string {
	switch {
	case errors.Is(err, unix.ENOSYS):
		return "the kernel has no io_uring"
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return "io_uring is forbidden here (seccomp or kernel.io_uring_disabled)"
	case errors.Is(err, unix.ENOMEM):
		return "no memory for io_uring (limit of locked memory)"
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE):
		return "no descriptor for io_uring"
	}
	return "io_uring cannot be set up"
}

// prober runs the steps of a probe over one pair of sockets.
type prober struct {
	ring       executor
	misbehaves error
	fds        [2]int // -1 when closed
}

func (p *prober) closeEnds() error {
	var errs []error
	for i, fd := range p.fds {
		if fd >= 0 {
			errs = append(errs, unix.Close(fd))
			p.fds[i] = -1
		}
	}
	return errors.Join(errs...)
}

// run takes the steps in order and stops at the first that fails.
func (p *prober) run() error {
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"receive with nothing to receive", p.empty},
		{"batch of sends and receives", p.exchange},
		{"send to a full socket", p.fill},
		{"end of stream", p.end},
	} {
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return nil
}

// batch submits what was queued and compares the results, in order, with want.
func (p *prober) batch(want ...int32) error {
	i, wrong := 0, error(nil)
	err := p.ring.Submit(func(tag uint64, res int32) {
		if wrong == nil && (i >= len(want) || tag != uint64(i) || res != want[i]) {
			wrong = fmt.Errorf("%w: operation %d gave %d, want %d", p.misbehaves, tag, res, want)
		}
		i++
	})
	if err == nil && wrong == nil && i != len(want) {
		wrong = fmt.Errorf("%w: %d results, want %d", p.misbehaves, i, len(want))
	}
	return errors.Join(err, wrong)
}

// empty receives from a socket without data: EAGAIN, at once.
func (p *prober) empty() error {
	p.ring.Recv(p.fds[0], make([]byte, 16), 0)
	return p.batch(-int32(unix.EAGAIN))
}

// exchange sends both ways in one batch, and receives in the next.
func (p *prober) exchange() error {
	there, back := []byte("there"), []byte("and back")
	p.ring.Send(p.fds[0], there, 0)
	p.ring.Send(p.fds[1], back, 1)
	if err := p.batch(int32(len(there)), int32(len(back))); err != nil {
		return err
	}
	got0, got1 := make([]byte, 16), make([]byte, 16)
	p.ring.Recv(p.fds[0], got0, 0)
	p.ring.Recv(p.fds[1], got1, 1)
	if err := p.batch(int32(len(back)), int32(len(there))); err != nil {
		return err
	}
	if !bytes.HasPrefix(got0, back) || !bytes.HasPrefix(got1, there) {
		return fmt.Errorf("%w: other bytes received than sent", p.misbehaves)
	}
	return nil
}

// fill sends more than the socket takes. The result must be the number of bytes that the peer gets, because a send
// reported short by mistake would be repeated; and a full socket must give EAGAIN.
func (p *prober) fill() error {
	if err := unix.SetsockoptInt(p.fds[0], unix.SOL_SOCKET, unix.SO_SNDBUF, 4096); err != nil {
		return fmt.Errorf("set SO_SNDBUF: %w", err)
	}
	data := bytes.Repeat([]byte("0123456789abcdef"), 4096)
	sent := int32(0)
	p.ring.Send(p.fds[0], data, 0)
	if err := p.ring.Submit(func(_ uint64, res int32) { sent = res }); err != nil {
		return err
	}
	if sent <= 0 || int(sent) >= len(data) {
		return fmt.Errorf("%w: send of %d bytes to a small socket gave %d", p.misbehaves, len(data), sent)
	}
	p.ring.Send(p.fds[0], data[sent:], 0)
	if err := p.batch(-int32(unix.EAGAIN)); err != nil {
		return err
	}
	got := make([]byte, len(data))
	n := 0
	for n < len(got) {
		m, err := unix.Read(p.fds[1], got[n:])
		if err == unix.EAGAIN {
			break
		}
		if err != nil {
			return fmt.Errorf("read back: %w", err)
		}
		n += m
	}
	if n != int(sent) || !bytes.Equal(got[:n], data[:n]) {
		return fmt.Errorf("%w: send said %d bytes, the peer got %d", p.misbehaves, sent, n)
	}
	return nil
}

// end closes one end: the other receives 0, and cannot send.
func (p *prober) end() error {
	err := unix.Close(p.fds[1])
	p.fds[1] = -1
	if err != nil {
		return fmt.Errorf("close: %w", err)
	}
	p.ring.Recv(p.fds[0], make([]byte, 16), 0)
	p.ring.Send(p.fds[0], []byte("late"), 1)
	return p.batch(0, -int32(unix.EPIPE))
}
