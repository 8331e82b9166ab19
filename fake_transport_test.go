//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

import (
	"net"
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
	onCloseWrite   func()
	dropsInterests bool       // updateInterest does not reach below
	up             upperLayer // if it is below a layer
}

var _ transport = (*fakeTransport)(nil)

func (f *fakeTransport) reportTo(up upperLayer) { f.up = up }

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
	w := s.watch.by.Load()
	return w != nil && w.sends.add(plainSender{s.up})
}

// plainSender is a sender that sends by itself, also when its turn in a batch has come.
type plainSender struct{ upperLayer }

func (s plainSender) beginSend() (fd int, p []byte, ok bool) {
	s.sendPending()
	return 0, nil, false
}

func (s plainSender) endSend(int32) {}

func (f *fakeTransport) closeWrite() (ended bool, err error) {
	if f.onCloseWrite != nil {
		f.onCloseWrite()
	}
	if f.below == nil {
		return true, nil
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

func (f *fakeTransport) blocks() bool                      { return f.below != nil && f.below.blocks() }
func (f *fakeTransport) deadlineChanged()                  {}
func (f *fakeTransport) canCloseWrite() bool               { return true }
func (f *fakeTransport) holdInput(int64) error             { return nil }
func (f *fakeTransport) letInput()                         {}
func (f *fakeTransport) explain(errno syscall.Errno) error { return errno }

// bottom is the endpoint of the transport below, if there is one.
func (f *fakeTransport) bottom() endpoint {
	if f.below == nil {
		return nowhere{}
	}
	return f.below
}

func (f *fakeTransport) fd() int                            { return f.bottom().fd() }
func (f *fakeTransport) netConn() net.Conn                  { return f.bottom().netConn() }
func (f *fakeTransport) rawConn() (syscall.RawConn, error)  { return f.bottom().rawConn() }
func (f *fakeTransport) file(name string) (*os.File, error) { return f.bottom().file(name) }
func (f *fakeTransport) localAddr() net.Addr                { return f.bottom().localAddr() }
func (f *fakeTransport) remoteAddr() net.Addr               { return f.bottom().remoteAddr() }
func (f *fakeTransport) answersAtOnce() bool                { return f.bottom().answersAtOnce() }
func (f *fakeTransport) options() any                       { return f.bottom().options() }
func (f *fakeTransport) setKeepAlive(int) error             { return nil }

// nowhere is an endpoint where there is nothing.
type nowhere struct{}

func (nowhere) fd() int                           { return -1 }
func (nowhere) netConn() net.Conn                 { return nil }
func (nowhere) rawConn() (syscall.RawConn, error) { return nil, ErrUnsupported }
func (nowhere) file(string) (*os.File, error)     { return nil, ErrUnsupported }
func (nowhere) localAddr() net.Addr               { return nil }
func (nowhere) remoteAddr() net.Addr              { return nil }
func (nowhere) answersAtOnce() bool               { return true }
func (nowhere) options() any                      { return nil }
func (nowhere) setKeepAlive(int) error            { return nil }

// pollerReports makes the poller of c report ev, and the transport receive by receive.
func pollerReports(c *connection, ev pollEvent) {
	from, _ := c.transport.(receiver)
	deliver(from, c, ev, nil)
}
