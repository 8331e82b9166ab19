//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

import (
	"os"
	"syscall"
)

// fakeTransport is a transport whose steps a test writes. What it does not write the transport below does, and if there
// is none nothing happens. Fields are set before the connection starts, or while its poller is held.
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

func (f *fakeTransport) sendLater() bool {
	if f.onSendLater != nil {
		return f.onSendLater()
	}
	return f.below != nil && f.below.sendLater()
}

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
func (f *fakeTransport) file(string) (*os.File, error)     { return nil, ErrUnsupported }
func (f *fakeTransport) setKeepAlive(int) error            { return nil }
func (f *fakeTransport) explain(errno syscall.Errno) error { return errno }

// pollerReports makes the poller of c report ev, and the transport receive by receive.
func pollerReports(c *connection, ev pollEvent) {
	from, _ := c.transport.(receiver)
	deliver(from, c, ev, nil)
}
