package test

// What happens to a socket, as text that is the same for package net and for this one: who makes the socket, and what
// is noted.

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"regexp"
	"syscall"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/stretchr/testify/require"
)

// udpConn are the methods of *net.UDPConn.
type udpConn interface {
	net.Conn
	net.PacketConn
	syscall.Conn
	File() (f *os.File, err error)
	ReadFromUDP(b []byte) (n int, addr *net.UDPAddr, err error)
	ReadFromUDPAddrPort(b []byte) (n int, addr netip.AddrPort, err error)
	ReadMsgUDP(b, oob []byte) (n, oobn, flags int, addr *net.UDPAddr, err error)
	ReadMsgUDPAddrPort(b, oob []byte) (n, oobn, flags int, addr netip.AddrPort, err error)
	WriteToUDP(b []byte, addr *net.UDPAddr) (int, error)
	WriteToUDPAddrPort(b []byte, addr netip.AddrPort) (int, error)
	WriteMsgUDP(b, oob []byte, addr *net.UDPAddr) (n, oobn int, err error)
	WriteMsgUDPAddrPort(b, oob []byte, addr netip.AddrPort) (n, oobn int, err error)
	SetReadBuffer(bytes int) error
	SetWriteBuffer(bytes int) error
}

// udpMaker makes sockets, by package net or by this one.
type udpMaker struct {
	name      string
	listen    func(network string, laddr *net.UDPAddr) (udpConn, error)
	dial      func(network string, laddr, raddr *net.UDPAddr) (udpConn, error)
	multicast func(network string, ifi *net.Interface, gaddr *net.UDPAddr) (udpConn, error)
	packet    func(network, address string) (net.PacketConn, error)
	resolve   func(network, address string) (*net.UDPAddr, error)
}

// as returns conn as an interface that is nil if there is an error.
func as[T udpConn](conn T, err error) (udpConn, error) {
	if err != nil {
		return nil, err
	}
	return conn, nil
}

var ofPackageNet = udpMaker{
	name:   "net",
	listen: func(n string, l *net.UDPAddr) (udpConn, error) { return as(net.ListenUDP(n, l)) },
	dial:   func(n string, l, r *net.UDPAddr) (udpConn, error) { return as(net.DialUDP(n, l, r)) },
	multicast: func(n string, i *net.Interface, g *net.UDPAddr) (udpConn, error) {
		return as(net.ListenMulticastUDP(n, i, g))
	},
	packet:  net.ListenPacket,
	resolve: net.ResolveUDPAddr,
}

var ofNetpoll = udpMaker{
	name:   "netpoll",
	listen: func(n string, l *net.UDPAddr) (udpConn, error) { return as(netpoll.ListenUDP(n, l)) },
	dial:   func(n string, l, r *net.UDPAddr) (udpConn, error) { return as(netpoll.DialUDP(n, l, r)) },
	multicast: func(n string, i *net.Interface, g *net.UDPAddr) (udpConn, error) {
		return as(netpoll.ListenMulticastUDP(n, i, g))
	},
	packet:  func(n, a string) (net.PacketConn, error) { return netpoll.ListenPacket(n, a) },
	resolve: netpoll.ResolveUDPAddr,
}

// converted makes the sockets of package net and converts them.
var converted = udpMaker{
	name: "converted",
	listen: func(n string, l *net.UDPAddr) (udpConn, error) {
		conn, err := net.ListenUDP(n, l)
		if err != nil {
			return nil, err
		}
		return as(netpoll.NewUDPConn(conn))
	},
	dial: func(n string, l, r *net.UDPAddr) (udpConn, error) {
		conn, err := net.DialUDP(n, l, r)
		if err != nil {
			return nil, err
		}
		return as(netpoll.NewUDPConn(conn))
	},
	multicast: ofNetpoll.multicast,
	packet:    ofNetpoll.packet,
	resolve:   ofNetpoll.resolve,
}

// transcript is what a row has seen, with names in place of ports.
type transcript struct {
	t     *testing.T
	make  udpMaker
	lines []string
	names map[string]string // by ports
}

var portInText = regexp.MustCompile(`:\d+`)

// note writes down values.
func (s *transcript) note(what string, values ...any) {
	line := what + ":"
	for _, v := range values {
		switch v := v.(type) {
		case error:
			line += " " + describe(v)
		case []byte:
			line += fmt.Sprintf(" %q", v)
		default:
			line += fmt.Sprintf(" %T %v", v, v)
		}
	}
	s.lines = append(s.lines, portInText.ReplaceAllStringFunc(line, func(port string) string {
		if name := s.names[port[1:]]; name != "" {
			return ":<" + name + ">"
		}
		return port
	}))
}

// describe gives all that programs look at in an error.
func describe(err error) string {
	if err == nil {
		return "ok"
	}
	text := fmt.Sprintf("%T %v", err, err)
	var op *net.OpError
	if errors.As(err, &op) {
		text += fmt.Sprintf(" op=%s net=%s inner=%T", op.Op, op.Net, op.Err)
	}
	for _, target := range []error{net.ErrClosed, os.ErrDeadlineExceeded, syscall.ECONNREFUSED, net.ErrWriteToConnected} {
		text += fmt.Sprintf(" %v", errors.Is(err, target))
	}
	var timeout net.Error
	if errors.As(err, &timeout) {
		text += fmt.Sprintf(" timeout=%v", timeout.Timeout())
	}
	return text
}

// listen makes a socket whose port the transcript calls by the name.
func (s *transcript) listen(network, address, name string) udpConn {
	s.t.Helper()
	addr, err := net.ResolveUDPAddr(network, address)
	require.NoError(s.t, err)
	return s.own(name, func() (udpConn, error) { return s.make.listen(network, addr) })
}

// dial makes a connected socket.
func (s *transcript) dial(network string, to net.Addr, name string) udpConn {
	s.t.Helper()
	return s.own(name, func() (udpConn, error) { return s.make.dial(network, nil, to.(*net.UDPAddr)) })
}

// own makes a socket with a port that no other of the transcript has: sockets of different families may have the same.
func (s *transcript) own(name string, open func() (udpConn, error)) udpConn {
	s.t.Helper()
	for {
		conn, err := open()
		require.NoError(s.t, err)
		s.t.Cleanup(func() { conn.Close() })
		if s.owns(conn, name) {
			return conn
		}
	}
}

// owns gives the port of conn the name, unless it has another one.
func (s *transcript) owns(conn udpConn, name string) bool {
	require.NoError(s.t, conn.SetDeadline(time.Now().Add(testkit.Timeout)))
	_, port, err := net.SplitHostPort(conn.LocalAddr().String())
	require.NoError(s.t, err)
	if s.names == nil {
		s.names = make(map[string]string)
	}
	if s.names[port] != "" {
		return false
	}
	s.names[port] = name
	return true
}
