package netpoll

// This file holds dialing. Package net does it: names, several addresses, timeouts, socket options. The connected
// socket is then taken from it.

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/cloudwego/netpoll/internal/errno"
	"github.com/cloudwego/netpoll/internal/fault"
)

// Dialer makes connections to servers. [NetDialer] is the implementation of this package.
type Dialer interface {
	// DialConnection connects to an address on a network: "tcp", "tcp4", "tcp6" or "unix". It gives up after timeout;
	// 0 or less means that only the limits of the system apply.
	//
	// On the networks of datagrams, "udp", "udp4", "udp6" and "unixgram", the connection carries these: each Flush and each
	// Write sends one, Reader has one at a time, and OnRequest is called once for each. When nothing is left of it, or
	// after Release, which drops the rest, the next method of Reader waits for another one, except in a connection with an
	// OnRequest. A method that needs more than is left gives an error that Is [ErrNotEnoughData]. There is no end of the
	// input. Nobody may be at the other end: some systems report that, and a later call then returns the error.
	DialConnection(network, address string, timeout time.Duration) (connection Connection, err error)

	// DialTimeout is DialConnection. The value it returns is a [Connection].
	DialTimeout(network, address string, timeout time.Duration) (conn net.Conn, err error)
}

// NetDialer dials with the options of a [net.Dialer], which all have their effect: Timeout, LocalAddr, KeepAlive,
// Resolver, Control and so on. The zero value is ready to use, and several goroutines may dial at once.
//
// The methods of net.Dialer itself, DialTCP and the like, return what package net returns.
//
// Its errors are *[net.OpError], as in package net, except that an unknown network gives a bare
// [net.UnknownNetworkError]. A network without connections, such as "ip", gives an error that Is [ErrUnsupported]. A dial
// that took too long Is [ErrDialTimeout] and [os.ErrDeadlineExceeded].
type NetDialer struct{ net.Dialer }

var _ Dialer = (*NetDialer)(nil)

// defaultDialer is what the package functions use; it is never changed.
var defaultDialer = new(NetDialer)

// NewDialer returns a *[NetDialer] without options.
func NewDialer() Dialer { return new(NetDialer) }

// DialConnection connects to an address; see [Dialer].
func DialConnection(network, address string, timeout time.Duration) (connection Connection, err error) {
	return defaultDialer.DialConnection(network, address, timeout)
}

// DialContext is DialConnection that gives up when ctx ends. ctx has no effect on a connection once it is connected.
func DialContext(ctx context.Context, network, address string) (Connection, error) {
	return defaultDialer.dial(ctx, network, address)
}

// DialConnection implements Dialer.
func (d *NetDialer) DialConnection(network, address string, timeout time.Duration) (connection Connection, err error) {
	ctx, cancel := contextFor(timeout)
	defer cancel()
	return d.dial(ctx, network, address)
}

// contextFor returns the context of a dial that may take that long; 0 or less means no limit.
func contextFor(timeout time.Duration) (context.Context, context.CancelFunc) {
	if timeout > 0 {
		return context.WithTimeout(context.Background(), timeout)
	}
	return context.Background(), func() {}
}

// limited returns ctx with the limits of d, for a dial of which connecting is only a part.
func limited(ctx context.Context, d *net.Dialer) (context.Context, context.CancelFunc) {
	deadline := d.Deadline
	if d.Timeout > 0 {
		if until := time.Now().Add(d.Timeout); deadline.IsZero() || until.Before(deadline) {
			deadline = until
		}
	}
	if deadline.IsZero() {
		return ctx, func() {}
	}
	return context.WithDeadline(ctx, deadline)
}

// DialTimeout implements Dialer.
func (d *NetDialer) DialTimeout(network, address string, timeout time.Duration) (conn net.Conn, err error) {
	return d.DialConnection(network, address, timeout) // nil becomes nil: one interface from another
}

// DialContext has the signature that an http.Transport asks for. It returns a [Connection].
func (d *NetDialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return d.dial(ctx, network, address)
}

// Dial is DialContext without a context.
func (d *NetDialer) Dial(network, address string) (net.Conn, error) {
	return d.dial(context.Background(), network, address)
}

// dial returns a nil interface with an error.
func (d *NetDialer) dial(ctx context.Context, network, address string) (Connection, error) {
	switch {
	case isUDP(network), network == "unixgram":
		return d.dialPackets(ctx, network, address)
	case network == networkShm:
		return (&ShmDialer{NetDialer: *d}).dial(ctx, network, address)
	}
	if err := dialable(network); err != nil {
		return nil, err
	}
	c, err := dialNet(ctx, &d.Dialer, network, address)
	if err != nil {
		return nil, err
	}
	return c.self, nil
}

// dialable returns the error of dialing on a network that has no streams, or is not known.
func dialable(network string) error {
	err := checkNetwork(network)
	if unsupported, ok := err.(unsupportedNetwork); ok {
		return dialError(network, nil, nil, unsupported)
	}
	return err
}

// dialPackets is dial for networks of datagrams.
func (d *NetDialer) dialPackets(ctx context.Context, network, address string) (Connection, error) {
	conn, err := connect(ctx, &d.Dialer, network, address)
	if err != nil {
		return nil, err
	}
	c, err := udpConnOf(conn, network)
	if err != nil {
		_ = conn.Close()
		return nil, dialError(network, conn.LocalAddr(), conn.RemoteAddr(), err)
	}
	return newPacketConnection(c), nil
}

// udpConnOf makes a UDPConn of a connected socket of datagrams.
func udpConnOf(conn net.Conn, network string) (*UDPConn, error) {
	if udp, ok := conn.(*net.UDPConn); ok {
		return newUDPConn(udp, network)
	}
	return newUDPConn(&packetAdapter{PacketConn: conn.(net.PacketConn)}, network)
}

// DialTCP connects to raddr from laddr, which may be nil. The network is "tcp", "tcp4" or "tcp6". A raddr without an IP
// is the local system. It gives up when ctx ends; a nil ctx means never.
func DialTCP(ctx context.Context, network string, laddr, raddr *TCPAddr) (*TCPConnection, error) {
	if err := checkType(network, network != "unix"); err != nil {
		return nil, dialError(network, laddr.netAddr(), raddr.netAddr(), err)
	}
	if raddr == nil {
		return nil, dialError(network, laddr.netAddr(), nil, errMissingAddress)
	}
	if ctx == nil {
		ctx = context.Background()
	}
	c, err := dialNet(ctx, &net.Dialer{LocalAddr: laddr.netAddr()}, network, raddr.String())
	if err != nil {
		return nil, err
	}
	return c.self.(*TCPConnection), nil
}

// DialUnix connects to raddr from laddr, which may be nil. The network is "unix".
func DialUnix(network string, laddr, raddr *UnixAddr) (*UnixConnection, error) {
	if err := checkType(network, network == "unix"); err != nil {
		return nil, dialError(network, laddr.netAddr(), raddr.netAddr(), err)
	}
	if raddr == nil {
		return nil, dialError(network, laddr.netAddr(), nil, errMissingAddress)
	}
	c, err := dialNet(context.Background(), &net.Dialer{LocalAddr: laddr.netAddr()}, network, raddr.Name)
	if err != nil {
		return nil, err
	}
	return c.self.(*UnixConnection), nil
}

// checkType is checkNetwork for a function that has networks of its own.
func checkType(network string, own bool) error {
	if err := checkNetwork(network); err != nil || own {
		return err
	}
	return net.UnknownNetworkError(network)
}

var errMissingAddress = errors.New("missing address")

// dialNet dials and starts the connection.
func dialNet(ctx context.Context, d *net.Dialer, network, address string) (*connection, error) {
	return dialSession(ctx, d, network, address, nil)
}

// dialSession is dialNet of a connection with TLS, whose handshake has not begun, unless side is nil.
func dialSession(ctx context.Context, d *net.Dialer, network, address string, side *tlsSide) (*connection, error) {
	conn, err := connect(ctx, d, network, address)
	if err != nil {
		return nil, err
	}
	c, err := startSession(conn, side)
	if err != nil {
		return nil, dialError(network, conn.LocalAddr(), conn.RemoteAddr(), err)
	}
	return c, nil
}

// startSession is sessionOf for a conn that was dialed, which it closes after an error, and starts the connection.
func startSession(conn net.Conn, side *tlsSide) (*connection, error) {
	c, err := sessionOf(conn, side)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	c.closeOriginal(conn)
	return c, c.start(causePoller)
}

// connect dials by package net.
func connect(ctx context.Context, d *net.Dialer, network, address string) (net.Conn, error) {
	if errno := fault.Check(fault.Connect); errno != 0 {
		return nil, nameErrno(dialError(network, nil, nil, os.NewSyscallError("connect", errno)))
	}
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, nameErrno(nameTimeout(err))
	}
	return conn, nil
}

func dialError(network string, local, remote net.Addr, err error) error {
	return &net.OpError{Op: "dial", Net: network, Source: local, Addr: remote, Err: err}
}

// nameTimeout makes err, if it is a timeout, answer to the names of one.
func nameTimeout(err error) error {
	var op *net.OpError
	if !errors.As(err, &op) || !op.Timeout() {
		return err
	}
	if errno := asErrno(err); errno != 0 && errno != syscall.ETIMEDOUT {
		return err // EAGAIN calls itself a timeout, but from connect it is a full backlog
	}
	named := *op
	named.Err = &dialTimeout{op.Err}
	return &named
}

// nameErrno makes err answer to the name that its errno has on every system.
func nameErrno(err error) error {
	var op *net.OpError
	var no syscall.Errno
	if !errors.As(err, &op) || !errors.As(err, &no) || errno.Common(no) == no {
		return err
	}
	named := *op
	named.Err = errors.Join(errno.Common(no), op.Err)
	return &named
}

// dialTimeout is an error of package net that says that a dial took too long.
type dialTimeout struct{ err error }

var _ net.Error = (*dialTimeout)(nil)

func (e *dialTimeout) Error() string { return e.err.Error() }

func (e *dialTimeout) Unwrap() error { return e.err }

// Is reports whether target is a name of a dial timeout. Package net gives either of the last two, by chance.
func (e *dialTimeout) Is(target error) bool {
	return target == ErrDialTimeout || target == os.ErrDeadlineExceeded || target == context.DeadlineExceeded
}

// Timeout implements [net.Error].
func (e *dialTimeout) Timeout() bool { return true }

// Temporary implements [net.Error].
//
// Deprecated: as in package net, "temporary" is not well defined.
func (e *dialTimeout) Temporary() bool { return true }

// TCPAddr is a [net.TCPAddr].
type TCPAddr struct{ net.TCPAddr }

// UnixAddr is a [net.UnixAddr].
type UnixAddr struct{ net.UnixAddr }

// ResolveTCPAddr is [net.ResolveTCPAddr].
func ResolveTCPAddr(network, address string) (*TCPAddr, error) {
	addr, err := net.ResolveTCPAddr(network, address)
	if err != nil {
		return nil, err
	}
	return &TCPAddr{*addr}, nil
}

// ResolveUnixAddr is [net.ResolveUnixAddr].
func ResolveUnixAddr(network, address string) (*UnixAddr, error) {
	addr, err := net.ResolveUnixAddr(network, address)
	if err != nil {
		return nil, err
	}
	return &UnixAddr{*addr}, nil
}

// netAddr returns a as a net.Addr that is nil if a is.
func (a *TCPAddr) netAddr() net.Addr {
	if a == nil {
		return nil
	}
	return &a.TCPAddr
}

// netAddr returns a as a net.Addr that is nil if a is.
func (a *UnixAddr) netAddr() net.Addr {
	if a == nil {
		return nil
	}
	return &net.UnixAddr{Name: a.Name, Net: "unix"}
}
