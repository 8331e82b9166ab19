//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

import (
	"os"
	"syscall"
)

// fakeTransport is a transport whose steps a test writes. The transport below makes the other steps, and if there is
// none nothing happens. Fields are set before the connection starts, or while its poller is held.
type fakeTransport struct {
	below          transport
	onSend         func(v *vector) (int, error)
	onReceive      func(p []byte) (n int, full bool, err error)
	onUpdate       func() // before what below does
	onSendLater    func() bool
	dropsInterests bool // updateInterest does not reach below
}

var _ transport = (*fakeTransport)(nil)

func (f *fakeTransport) start() error {
	if f.below == nil {
		return nil
	}
	return f.below.start()
}

func (f *fakeTransport) updateInterest() error {
	if f.onUpdate != nil {
		f.onUpdate()
	}
	if f.below == nil || f.dropsInterests {
		return nil
	}
	return f.below.updateInterest()
}

func (f *fakeTransport) stop(keep bool) error {
	if f.below == nil {
		return nil
	}
	return f.below.stop(keep)
}

func (f *fakeTransport) receive(p []byte) (n int, full bool, err error) { return f.onReceive(p) }

func (f *fakeTransport) send(v *vector, start int64) (n int, err error) {
	if f.onSend != nil {
		return f.onSend(v)
	}
	return f.below.send(v, start)
}

// sendLater makes the poller send by onSend, if there is one: the socket below, in the poller's queue, would not.
func (f *fakeTransport) sendLater() bool {
	var s *socket
	switch below := f.below.(type) {
	case *socket:
		s = below
	case *unixSocket:
		s = below.socket
	}
	switch {
	case f.onSendLater != nil:
		return f.onSendLater()
	case s == nil:
		return false
	case f.onSend == nil:
		return s.sendLater()
	}
	p := s.watch.p.Load()
	return p != nil && p.leader.sends.add(plainSender{s.up})
}

// plainSender is a sender that sends by itself, also when its turn in a batch has come.
type plainSender struct{ upperLayer }

func (s plainSender) beginSend() (fd int, p []byte, ok bool) {
	s.sendPending()
	return 0, nil, false
}

func (s plainSender) endSend(int32) {}

func (f *fakeTransport) closeWrite() error {
	if f.below == nil {
		return nil
	}
	return f.below.closeWrite()
}

func (f *fakeTransport) release(keep bool) error {
	if f.below == nil {
		return nil
	}
	return f.below.release(keep)
}

func (f *fakeTransport) abort() {
	if f.below != nil {
		f.below.abort()
	}
}

func (f *fakeTransport) fd() int {
	if f.below == nil {
		return -1
	}
	return f.below.fd()
}

func (f *fakeTransport) blocks() bool                      { return f.below != nil && f.below.blocks() }
func (f *fakeTransport) deadlineChanged()                  {}
func (f *fakeTransport) canCloseWrite() bool               { return true }
func (f *fakeTransport) setKeepAlive(int) error            { return nil }
func (f *fakeTransport) explain(errno syscall.Errno) error { return errno }

// pollerReports makes the poller of c report ev, and the transport receive by receive.
func pollerReports(c *connection, ev pollEvent) {
	from, _ := c.transport.(receiver)
	deliver(from, c, ev, nil)
}

func (f *fakeTransport) file(name string) (*os.File, error) {
	if f.below == nil {
		return nil, ErrUnsupported
	}
	return f.below.file(name)
}
