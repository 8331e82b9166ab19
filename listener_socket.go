//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

// This file holds listeners on sockets that a poller watches: how they are made, their settings, and accepting.

import (
	"errors"
	"net"
	"os"
	"reflect"
	"strings"
	"syscall"
	"time"

	"github.com/cloudwego/netpoll/internal/sock"
)

// takeOver replaces original, which it closes unless it returns an error.
func (lc *ListenConfig) takeOver(original net.Listener) (*listener, error) {
	ln, err := duplicateListener(original, keepAliveOf(&lc.ListenConfig))
	if err != nil {
		return nil, err
	}
	if lc.Backlog > 0 {
		if err := sock.SetBacklog(uintptr(ln.sysfd), lc.Backlog); err != nil {
			_ = ln.file.Close()
			return nil, err
		}
	}
	if u, ok := original.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false) // the path goes with the new listener
		ln.path = pathToUnlink(ln.addr)
	}
	_ = original.Close()
	return ln, nil
}

// pathToUnlink is the file of a Unix socket; "" if it is in the abstract name space.
func pathToUnlink(addr net.Addr) string {
	u, ok := addr.(*net.UnixAddr)
	if !ok || strings.HasPrefix(u.Name, "@") {
		return ""
	}
	return u.Name
}

// convert makes a listener of l, with a descriptor of its own if l is of package net.
func convert(l net.Listener) (serverListener, error) {
	if !ofPackageNet(l) {
		ln := newNetListener(l)
		ln.converted = true
		return ln, nil
	}
	if network := l.Addr().Network(); network != "tcp" && network != "unix" {
		return nil, opError("listen", l.Addr(), unsupportedNetwork(network))
	}
	ln, err := duplicateListener(l, keepAliveOfListener(l))
	if err != nil {
		return nil, opError("listen", l.Addr(), err)
	}
	ln.original = l
	return asOfPackageNet(ln), nil
}

// listener is a listening stream socket. Its file is the reference-counted owner of the descriptor: the descriptor is
// closed when the file has been closed and the last call that uses it has returned.
type listener struct {
	file  *os.File
	raw   syscall.RawConn // of file
	sysfd int

	addr      net.Addr
	network   string              // "tcp" or "unix"
	keepAlive net.KeepAliveConfig // for accepted connections, if they are TCP
	original  net.Listener        // closed together with this one, if it was converted
	path      string              // of a Unix socket whose file is ours
	keepPath  bool                // Close does not remove it; guarded by the mu of serving

	listenerState
}

var (
	_ Listener       = (*listener)(nil)
	_ serverListener = (*listener)(nil)
)

// duplicateListener makes a listener with a descriptor of its own for the socket of l.
func duplicateListener(l net.Listener, keepAlive net.KeepAliveConfig) (*listener, error) {
	fd, err := duplicateOf(l)
	if err != nil {
		return nil, err
	}
	ln := &listener{sysfd: fd, addr: l.Addr(), network: "unix", keepAlive: keepAlive}
	if _, ok := ln.addr.(*net.TCPAddr); ok {
		ln.network = "tcp"
	}
	ln.file = os.NewFile(uintptr(fd), ln.network+":"+ln.addr.String())
	if err := ln.file.SetReadDeadline(time.Time{}); err != nil { // fails if Accept could not wait
		_ = ln.file.Close()
		return nil, err
	}
	if ln.raw, err = ln.file.SyscallConn(); err != nil {
		_ = ln.file.Close()
		return nil, err
	}
	return ln, nil
}

// Accept waits for a connection and returns it: a [Connection] without handlers, which belongs to the caller. Several
// goroutines may call it at once, also beside a server. Close and a deadline end it with an error that Is
// [net.ErrClosed] and [os.ErrDeadlineExceeded].
func (ln *listener) Accept() (net.Conn, error) {
	socket, err := ln.acceptWaiting()
	if err != nil {
		return nil, ln.opError("accept", err)
	}
	c := newSocketConnection(socket)
	if err := c.start(causePoller); err != nil {
		return nil, ln.opError("accept", err)
	}
	return c.self, nil
}

// acceptWaiting waits for the next socket that is ready to be used.
func (ln *listener) acceptWaiting() (socket socketInfo, err error) {
	for {
		rawErr := ln.raw.Read(func(uintptr) (done bool) {
			socket, err = ln.acceptNow()
			return err != error(syscall.EAGAIN)
		})
		switch {
		case rawErr != nil:
			return socket, ln.fileError(rawErr)
		case err == nil:
			return socket, nil
		case err != error(syscall.ECONNABORTED):
			return socket, os.NewSyscallError("accept4", err)
		}
	}
}

// accept takes a socket that is waiting. If there is none the error Is EAGAIN.
func (ln *listener) accept() (socket socketInfo, err error) {
	err = ln.hold(func(int) (err error) {
		socket, err = ln.acceptNow()
		return os.NewSyscallError("accept4", err)
	})
	return socket, err
}

// acceptNow is accept for a caller that holds the descriptor open. Its errors are bare errnos.
func (ln *listener) acceptNow() (socket socketInfo, err error) {
	fd, peer, err := sock.Accept(ln.sysfd)
	if err != nil {
		return socket, err
	}
	socket = socketInfo{fd: fd, network: ln.network, local: ln.addr}
	if ln.network != "tcp" {
		socket.remote = peer.Unix()
		return socket, nil
	}
	socket.remoteAP = peer.TCP
	// It need not be the listener's address: that may be a wildcard, or a rule of the kernel may redirect connections
	// here.
	if local := sock.LocalAddr(fd); local != nil {
		socket.local = local
	}
	_ = sock.SetNoDelay(fd, true) // fails if the peer is gone already
	sock.StartKeepAlive(fd, ln.keepAlive)
	return socket, nil
}

// unblock makes sure that accepting does not wait in the kernel. All duplicates of the descriptor share the mode, in
// other processes too, and package os changes it when a file of package net is given to a program.
func (ln *listener) unblock() error {
	return ln.hold(sock.Unblock)
}

// fileError gives an error of ln.file the name it has in package net.
func (ln *listener) fileError(err error) error {
	if ln.isClosed() {
		return net.ErrClosed
	}
	return err
}

func (ln *listener) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: ln.network, Addr: ln.addr, Err: err}
}

func (ln *listener) closedError(op string) error { return ln.opError(op, net.ErrClosed) }

// Close ends the listening and wakes those that wait in Accept. A Serve that accepts from it ends with an error, unless
// the listener came from [ConvertListener]. The file of a Unix socket is removed. A second Close returns an error that
// Is [net.ErrClosed] and has no effect.
func (ln *listener) Close() error {
	a, first := ln.shut()
	if !first {
		return ln.closedError("close")
	}
	if a != nil {
		a.listenerClosed(ln.original != nil) // the descriptor must not be watched when it is closed
	}
	if ln.path != "" && !ln.keepsPath() {
		_ = syscall.Unlink(ln.path) // may be gone already; package net ignores the error, too
	}
	err := ln.file.Close()
	if ln.original != nil {
		if e := ln.original.Close(); e != nil && !errors.Is(e, net.ErrClosed) {
			err = errors.Join(err, e)
		}
	}
	return err
}

// hold calls f while the descriptor cannot be closed.
func (ln *listener) hold(f func(fd int) error) (err error) {
	if rawErr := ln.raw.Control(func(fd uintptr) { err = f(int(fd)) }); rawErr != nil {
		return ln.fileError(rawErr)
	}
	return err
}

// Addr returns the address that is listened on.
func (ln *listener) Addr() net.Addr { return ln.addr }

// Fd implements Listener.
func (ln *listener) Fd() (fd int) {
	if ln.isClosed() {
		return -1
	}
	return ln.sysfd
}

// SetDeadline limits calls of Accept, also those that are waiting. The zero time means no limit.
func (ln *listener) SetDeadline(t time.Time) error {
	if err := ln.file.SetReadDeadline(t); err != nil {
		return ln.opError("set", ln.fileError(err))
	}
	return nil
}

// File returns a duplicate of the descriptor. Closing either leaves the other open, but both are the same socket.
func (ln *listener) File() (f *os.File, err error) {
	fd, err := duplicate(ln.raw)
	if err != nil {
		return nil, ln.opError("file", ln.fileError(err))
	}
	return os.NewFile(uintptr(fd), ln.file.Name()), nil
}

var _ socketListener = (*listener)(nil)

// closesSlowly implements serverListener.
func (ln *listener) closesSlowly() bool { return false }

// SyscallConn gives access to the descriptor, for Control; there is nothing to read or write.
func (ln *listener) SyscallConn() (syscall.RawConn, error) { return rawListener{ln}, nil }

// rawListener implements syscall.RawConn.
type rawListener struct{ ln *listener }

// Control implements syscall.RawConn.
func (r rawListener) Control(f func(fd uintptr)) error {
	err := r.ln.hold(func(fd int) error {
		f(uintptr(fd))
		return nil
	})
	if err != nil {
		return r.ln.opError("raw-control", err)
	}
	return nil
}

// Read returns an error, as it does in package net.
func (rawListener) Read(func(uintptr) bool) error { return syscall.EINVAL }

// Write returns an error, as it does in package net.
func (rawListener) Write(func(uintptr) bool) error { return syscall.EINVAL }

// acceptNet implements socketListener.
func (ln *listener) acceptNet() (net.Conn, error) {
	socket, err := ln.acceptWaiting()
	if err != nil {
		return nil, ln.opError("accept", err)
	}
	conn, err := netConnOf(socket)
	if err != nil {
		return nil, ln.opError("accept", err)
	}
	return conn, nil
}

// netConnOf makes a connection of package net, which has a descriptor of its own and the options of the socket.
func netConnOf(socket socketInfo) (net.Conn, error) {
	file := os.NewFile(uintptr(socket.fd), socket.network)
	defer file.Close()
	keepAlive := net.KeepAliveConfig{}
	if socket.network == "tcp" {
		keepAlive = sock.KeepAlive(socket.fd)
	}
	conn, err := net.FileConn(file)
	if tcp, ok := conn.(*net.TCPConn); ok && err == nil {
		_ = tcp.SetKeepAliveConfig(keepAlive) // can only mean that the peer is gone already
	}
	return conn, err
}

// setUnlinkOnClose implements socketListener. The file of a listener that was converted is the original's.
func (ln *listener) setUnlinkOnClose(unlink bool) {
	if u, ok := ln.original.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(unlink)
	}
	ln.mu.Lock()
	defer ln.mu.Unlock()
	ln.keepPath = !unlink
}

func (ln *listener) keepsPath() bool {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	return ln.keepPath
}

// keepAliveOf returns what the connections of a listener made with lc get in package net.
func keepAliveOf(lc *net.ListenConfig) net.KeepAliveConfig {
	if lc.KeepAliveConfig.Enable || lc.KeepAlive < 0 {
		return lc.KeepAliveConfig
	}
	return net.KeepAliveConfig{Enable: true, Idle: lc.KeepAlive}
}

// keepAliveOfListener is keepAliveOf for a listener of package net that the program has made, with its own settings. If
// they cannot be seen, accepted connections are left as they are.
func keepAliveOfListener(l net.Listener) net.KeepAliveConfig {
	lc, ok := listenConfigOf(l)
	if !ok {
		return net.KeepAliveConfig{}
	}
	return keepAliveOf(&lc)
}

// listenConfigOf returns the keepalive settings of a *net.TCPListener. Package net keeps them in a field that is not
// exported, applies them to each connection it accepts, and has no method that returns them.
func listenConfigOf(l any) (lc net.ListenConfig, ok bool) {
	v := reflect.ValueOf(l)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return lc, false
	}
	field := v.Elem().FieldByName("lc")
	if !field.IsValid() || field.Type() != reflect.TypeFor[net.ListenConfig]() {
		return lc, false
	}
	config := field.FieldByName("KeepAliveConfig")
	lc.KeepAlive = time.Duration(field.FieldByName("KeepAlive").Int())
	lc.KeepAliveConfig = net.KeepAliveConfig{
		Enable:   config.FieldByName("Enable").Bool(),
		Idle:     time.Duration(config.FieldByName("Idle").Int()),
		Interval: time.Duration(config.FieldByName("Interval").Int()),
		Count:    int(config.FieldByName("Count").Int()),
	}
	return lc, true
}
