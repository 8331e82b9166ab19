package test

// UDPConn beside *net.UDPConn: each row runs on both, and what it has seen must be the same.

import (
	"errors"
	"net"
	"net/netip"
	"path/filepath"
	"reflect"
	"runtime"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/sock"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/stretchr/testify/require"
)

// sameAsNet are the rows.
var sameAsNet = map[string]func(s *transcript){
	"each way to send and receive": func(s *transcript) {
		for _, network := range []string{"udp", "udp4"} {
			a, b := s.listen(network, "127.0.0.1:0", "a"), s.listen(network, "127.0.0.1:0", "b")
			exchangePackets(s, a, b)
		}
		a, b := s.listen("udp6", "[::1]:0", "a6"), s.listen("udp6", "[::1]:0", "b6")
		exchangePackets(s, a, b)
	},
	"a socket of both families": func(s *transcript) {
		a, b := s.listen("udp", ":0", "a"), s.listen("udp4", "127.0.0.1:0", "b")
		port := a.LocalAddr().(*net.UDPAddr).Port
		n, err := b.WriteToUDP([]byte("four"), &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
		s.note("write", n, err)
		p := make([]byte, 100)
		n, from, err := a.ReadFromUDPAddrPort(p)
		s.note("read", p[:n], from, from.Addr().Is4In6(), err)
		n, err = a.WriteToUDPAddrPort([]byte("back"), from)
		s.note("mapped", n, err)
		n, err = a.WriteToUDPAddrPort([]byte("back"), netip.AddrPortFrom(from.Addr().Unmap(), from.Port()))
		s.note("unmapped", n, err)
		for range 2 {
			n, addr, err := b.ReadFrom(p)
			s.note("read", p[:n], addr, err)
		}
	},
	"what does not fit is lost": func(s *transcript) {
		a, b := s.listen("udp", "127.0.0.1:0", "a"), s.listen("udp", "127.0.0.1:0", "b")
		for _, text := range []string{"0123456789", "abcdefghij", "ABC", "xyz"} {
			_, err := a.WriteTo([]byte(text), b.LocalAddr())
			s.note("write", err)
		}
		p := make([]byte, 4)
		n, oobn, flags, from, err := b.ReadMsgUDP(p, nil)
		truncated, err := sock.Truncated(flags, err)
		s.note("msg", p[:n], oobn, truncated, from, err)
		n, err = b.Read(p)
		s.note("read", p[:n], err)
		n, _, flags, _, err = b.ReadMsgUDP(p, make([]byte, 100))
		s.note("msg", p[:n], flags, err)
		n, err = b.Read(p[:0])
		s.note("no room", n, err)
	},
	"datagrams without content": func(s *transcript) {
		a, b := s.listen("udp", "127.0.0.1:0", "a"), s.listen("udp", "127.0.0.1:0", "b")
		for range 3 {
			n, err := a.WriteTo(nil, b.LocalAddr())
			s.note("write", n, err)
		}
		p := make([]byte, 10)
		n, err := b.Read(p)
		s.note("read", n, err)
		n, from, err := b.ReadFromUDPAddrPort(p)
		s.note("from", n, from, err)
		n, oobn, flags, addr, err := b.ReadMsgUDP(p, p)
		s.note("msg", n, oobn, flags, addr, err)
		c := s.dial("udp", b.LocalAddr(), "c")
		n, err = c.Write([]byte{})
		s.note("write", n, err)
		n, addr, err = b.ReadFromUDP(p)
		s.note("read", n, addr, err)
	},
	"a connected socket": func(s *transcript) {
		server := s.listen("udp", "127.0.0.1:0", "server")
		c := s.dial("udp", server.LocalAddr(), "c")
		s.note("addresses", c.LocalAddr(), c.RemoteAddr(), server.RemoteAddr())
		n, err := c.Write([]byte("hello"))
		s.note("write", n, err)
		n, oobn, err := c.WriteMsgUDP([]byte("message"), nil, nil)
		s.note("msg", n, oobn, err)
		n, oobn, err = c.WriteMsgUDPAddrPort([]byte("port"), nil, netip.AddrPort{})
		s.note("msg", n, oobn, err)
		n, err = c.WriteTo([]byte("to"), server.LocalAddr())
		s.note("to", n, err)
		n, err = c.WriteToUDP([]byte("to"), server.LocalAddr().(*net.UDPAddr))
		s.note("to", n, err)
		n, err = c.WriteToUDPAddrPort([]byte("to"), server.LocalAddr().(*net.UDPAddr).AddrPort())
		s.note("to", n, err)
		n, oobn, err = c.WriteMsgUDP([]byte("to"), nil, server.LocalAddr().(*net.UDPAddr))
		s.note("to", n, oobn, err)
		p := make([]byte, 100)
		for range 3 {
			n, from, err := server.ReadFromUDPAddrPort(p)
			s.note("read", p[:n], from, err)
			n, err = server.WriteToUDPAddrPort(p[:n], from)
			s.note("reply", n, err)
		}
		n, err = c.Read(p)
		s.note("read", p[:n], err)
		n, from, err := c.ReadFrom(p)
		s.note("from", p[:n], from, err)
		n, oobn, flags, addr, err := c.ReadMsgUDPAddrPort(p, nil)
		s.note("msg", p[:n], oobn, flags, addr, err)
	},
	"a connected socket hears its peer alone": func(s *transcript) {
		server, other := s.listen("udp", "127.0.0.1:0", "server"), s.listen("udp", "127.0.0.1:0", "other")
		c := s.dial("udp", server.LocalAddr(), "c")
		_, err := other.WriteTo([]byte("stranger"), c.LocalAddr())
		s.note("stranger", err)
		_, err = server.WriteTo([]byte("peer"), c.LocalAddr())
		s.note("peer", err)
		p := make([]byte, 100)
		n, from, err := c.ReadFromUDP(p)
		s.note("read", p[:n], from, err)
	},
	"nobody there": func(s *transcript) {
		gone := s.listen("udp", "127.0.0.1:0", "gone")
		addr := gone.LocalAddr()
		require.NoError(s.t, gone.Close())
		c := s.dial("udp", addr, "c")
		n, err := c.Write([]byte("x"))
		s.note("write", n, err)
		n, err = c.Read(make([]byte, 10))
		s.note("read", n, err)
		n, err = c.Write([]byte("x"))
		s.note("again", n, err)
		n, from, err := c.ReadFromUDPAddrPort(make([]byte, 10))
		s.note("read", n, from, err)
		a := s.listen("udp", "127.0.0.1:0", "a")
		n, err = a.WriteTo([]byte("x"), addr)
		s.note("not connected", n, err)
	},
	"addresses that are none": func(s *transcript) {
		a := s.listen("udp4", "127.0.0.1:0", "a")
		n, err := a.Write([]byte("x"))
		s.note("write", n, err)
		n, err = a.WriteToUDP([]byte("x"), nil)
		s.note("nil", n, err)
		n, err = a.WriteTo([]byte("x"), &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1})
		s.note("tcp", n, err)
		n, err = a.WriteTo([]byte("x"), &net.UnixAddr{Name: "x"})
		s.note("unix", n, err)
		n, err = a.WriteToUDPAddrPort([]byte("x"), netip.AddrPort{})
		s.note("zero", n, err)
		n, err = a.WriteToUDPAddrPort([]byte("x"), netip.MustParseAddrPort("[::1]:1"))
		s.note("family", n, err)
		n, err = a.WriteToUDP([]byte("x"), &net.UDPAddr{IP: net.IPv6loopback, Port: 1})
		s.note("family", n, err)
		n, oobn, err := a.WriteMsgUDP([]byte("x"), nil, nil)
		s.note("msg", n, oobn, err)
		b := s.listen("udp6", "[::1]:0", "b")
		n, err = b.WriteToUDP([]byte("x"), &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1})
		s.note("six to four", n, err)
	},
	"too long": func(s *transcript) {
		a, b := s.listen("udp4", "127.0.0.1:0", "a"), s.listen("udp4", "127.0.0.1:0", "b")
		for _, size := range []int{65507, 65508, 70000} {
			n, err := a.WriteTo(make([]byte, size), b.LocalAddr())
			s.note("write", n, err)
		}
		n, err := b.Read(make([]byte, 70000))
		s.note("read", n, err)
	},
	"deadlines": func(s *transcript) {
		a := s.listen("udp", "127.0.0.1:0", "a")
		past := time.Now().Add(-time.Second)
		p := make([]byte, 10)
		_, err := a.WriteTo([]byte("there"), a.LocalAddr())
		s.note("write", err)
		s.note("set", a.SetReadDeadline(past))
		n, err := a.Read(p)
		s.note("read", n, err)
		_, _, err = a.ReadFromUDPAddrPort(p)
		s.note("from", err)
		s.note("set", a.SetWriteDeadline(past))
		n, err = a.WriteTo([]byte("x"), a.LocalAddr())
		s.note("write", n, err)
		s.note("clear", a.SetDeadline(time.Time{}))
		n, err = a.Read(p)
		s.note("read", p[:n], err)
		s.note("set", a.SetReadDeadline(time.Now().Add(testkit.Short)))
		n, err = a.Read(p)
		s.note("waited", n, err)
		s.note("set", a.SetReadDeadline(time.Time{}))
		s.whileReading(a, func() { s.note("wake", a.SetReadDeadline(past)) })
	},
	"close": func(s *transcript) {
		a, b := s.listen("udp", "127.0.0.1:0", "a"), s.listen("udp", "127.0.0.1:0", "b")
		s.whileReading(a, func() { s.note("close", a.Close()) })
		s.note("second", a.Close())
		p := make([]byte, 10)
		n, err := a.Read(p)
		s.note("read", n, err)
		n, addr, err := a.ReadFrom(p)
		s.note("from", n, addr, err)
		n, ap, err := a.ReadFromUDPAddrPort(p)
		s.note("from", n, ap, err)
		n, err = a.WriteTo(p, b.LocalAddr())
		s.note("write", n, err)
		n, err = a.Write(p)
		s.note("write", n, err)
		s.note("deadline", a.SetDeadline(time.Now()))
		s.note("buffer", a.SetReadBuffer(1000))
		_, err = a.File()
		s.note("file", err)
		raw, err := a.SyscallConn()
		s.note("raw", err)
		s.note("control", raw.Control(func(uintptr) {}))
		s.note("addresses", a.LocalAddr(), a.RemoteAddr())
	},
	"the descriptor": func(s *transcript) {
		a := s.listen("udp", "127.0.0.1:0", "a")
		raw, err := a.SyscallConn()
		s.note("raw", err)
		calls := 0
		err = raw.Control(func(uintptr) { calls++ })
		s.note("control", calls, err)
		s.note("set", a.SetReadDeadline(time.Now().Add(testkit.Short)))
		err = raw.Read(func(uintptr) bool { calls++; return false })
		s.note("read", calls, err)
		err = raw.Write(func(uintptr) bool { calls++; return true })
		s.note("write", calls, err)
		if runtime.GOOS == "windows" {
			return
		}
		f, err := a.File()
		s.note("file", err)
		defer f.Close()
		require.NoError(s.t, a.Close())
		again, err := net.FilePacketConn(f)
		s.note("again", err)
		defer again.Close()
		s.note("address", again.LocalAddr())
	},
	"sizes of buffers": func(s *transcript) {
		a := s.listen("udp", "127.0.0.1:0", "a")
		s.note("set", a.SetReadBuffer(20000), a.SetWriteBuffer(30000), a.SetReadBuffer(-1))
	},
	"sockets that cannot be": func(s *transcript) {
		local := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}
		for _, network := range []string{"", "tcp", "unixgram", "ip", "udp7"} {
			_, err := s.make.listen(network, local)
			s.note("listen "+network, err)
			_, err = s.make.dial(network, nil, local)
			s.note("dial "+network, err)
			_, err = s.make.multicast(network, nil, local)
			s.note("multicast "+network, err)
		}
		_, err := s.make.listen("udp4", &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1)})
		s.note("address of another", err)
		_, err = s.make.listen("udp4", &net.UDPAddr{IP: net.IPv6loopback})
		s.note("another family", err)
		_, err = s.make.dial("udp", nil, nil)
		s.note("dial nowhere", err)
		_, err = s.make.multicast("udp", nil, nil)
		s.note("no group", err)
		a := s.listen("udp4", "127.0.0.1:0", "a")
		_, err = s.make.listen("udp4", a.LocalAddr().(*net.UDPAddr))
		s.note("taken", err)
	},
	"listen with nothing said": func(s *transcript) {
		a := s.own("a", func() (udpConn, error) { return s.make.listen("udp4", nil) })
		s.note("address", a.LocalAddr(), a.LocalAddr().Network(), a.RemoteAddr())
	},
	"multicast": func(s *transcript) {
		group := &net.UDPAddr{IP: net.IPv4(239, 255, 77, 77), Port: freePort(s.t)}
		a, err := s.make.multicast("udp4", loopback(s.t), group)
		s.note("listen", errors.Unwrap(err))
		if err != nil {
			return // no group on the loopback interface of this system
		}
		s.t.Cleanup(func() { a.Close() })
		b := s.listen("udp4", "127.0.0.1:0", "b")
		n, err := b.WriteTo([]byte("x"), &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: group.Port})
		s.note("write", n, err)
	},
	"zones": func(s *transcript) {
		zone := loopback(s.t).Name
		a := s.listen("udp6", "[::1]:0", "a")
		port := a.LocalAddr().(*net.UDPAddr).Port
		n, err := a.WriteToUDP([]byte("x"), &net.UDPAddr{IP: net.IPv6loopback, Port: port, Zone: zone})
		s.note("write", n, err)
		n, err = a.WriteToUDPAddrPort([]byte("x"), netip.AddrPortFrom(netip.IPv6Loopback().WithZone(zone), uint16(port)))
		s.note("write", n, err)
		n, err = a.WriteToUDPAddrPort([]byte("x"), netip.AddrPortFrom(netip.IPv6Loopback().WithZone("none"), uint16(port)))
		s.note("no such zone", n, err)
		p := make([]byte, 10)
		n, from, err := a.ReadFromUDPAddrPort(p)
		s.note("read", n, from, err)
	},
	"names": func(s *transcript) {
		for _, c := range [][2]string{{"udp", "127.0.0.1:53"}, {"udp4", "127.0.0.1:domain"}, {"udp6", "[::1]:53"},
			{"udp", ":0"}, {"udp", "127.0.0.1"}, {"tcp", "127.0.0.1:1"}, {"udp", "[fe80::1%7]:1"}, {"udp4", "[::1]:1"},
			{"", "127.0.0.1:9"}, {"udp", "127.0.0.1:99999"}} {
			addr, err := s.make.resolve(c[0], c[1])
			s.note(c[0]+" "+c[1], addr, err)
		}
	},
	"ListenPacket": func(s *transcript) {
		for _, c := range [][2]string{{"udp", "127.0.0.1:0"}, {"udp4", "127.0.0.1:0"}, {"udp6", "[::1]:0"},
			{"tcp", "127.0.0.1:0"}, {"", "127.0.0.1:0"}, {"udp", "127.0.0.1"}} {
			conn, err := s.make.packet(c[0], c[1])
			s.note(c[0]+" "+c[1], err)
			if err == nil {
				s.note("address", conn.LocalAddr().Network(), conn.LocalAddr().(*net.UDPAddr).IP, conn.Close())
			}
		}
		unix, err := s.make.packet("unixgram", filepath.Join(s.t.TempDir(), "s"))
		s.note("unixgram", err)
		if err == nil {
			s.note("type", reflect.TypeOf(unix).String(), unix.Close())
		}
	},
}

// exchangePackets sends from a to b and back in each way there is.
func exchangePackets(s *transcript, a, b udpConn) {
	to := b.LocalAddr().(*net.UDPAddr)
	p, oob := make([]byte, 100), make([]byte, 100)
	n, err := a.WriteTo([]byte("WriteTo"), to)
	s.note("write", n, err)
	n, addr, err := b.ReadFrom(p)
	s.note("read", p[:n], addr, err)
	n, err = b.WriteTo([]byte("back"), addr)
	s.note("write", n, err)
	n, err = a.Read(p)
	s.note("read", p[:n], err)

	n, err = a.WriteToUDP([]byte("WriteToUDP"), to)
	s.note("write", n, err)
	n, udp, err := b.ReadFromUDP(p)
	s.note("read", p[:n], udp, err)

	n, err = a.WriteToUDPAddrPort([]byte("WriteToUDPAddrPort"), to.AddrPort())
	s.note("write", n, err)
	n, ap, err := b.ReadFromUDPAddrPort(p)
	s.note("read", p[:n], ap, err)

	n, oobn, err := a.WriteMsgUDP([]byte("WriteMsgUDP"), nil, to)
	s.note("write", n, oobn, err)
	n, oobn, flags, udp, err := b.ReadMsgUDP(p, oob)
	s.note("read", p[:n], oobn, flags, udp, err)

	n, oobn, err = a.WriteMsgUDPAddrPort([]byte("WriteMsgUDPAddrPort"), nil, to.AddrPort())
	s.note("write", n, oobn, err)
	n, oobn, flags, ap, err = b.ReadMsgUDPAddrPort(p, oob)
	s.note("read", p[:n], oobn, flags, ap, err)
	s.note("addresses", a.LocalAddr(), a.LocalAddr().Network(), a.RemoteAddr())
}

// whileReading calls f while a goroutine waits in Read, and notes what that returned.
func (s *transcript) whileReading(conn udpConn, f func()) {
	s.t.Helper()
	done := make(chan error, 1)
	go func() {
		_, err := conn.Read(make([]byte, 10))
		done <- err
	}()
	testkit.Silent(s.t, testkit.Short, done, "Read returned")
	f()
	s.note("woken", testkit.Receive(s.t, done))
}

func loopback(t *testing.T) *net.Interface {
	t.Helper()
	list, err := net.Interfaces()
	require.NoError(t, err)
	for i := range list {
		if list[i].Flags&net.FlagLoopback != 0 {
			return &list[i]
		}
	}
	t.Fatal("no loopback interface")
	return nil
}

// freePort returns a port that no socket had a moment ago.
func freePort(t *testing.T) int {
	t.Helper()
	conn, err := net.ListenUDP("udp4", nil)
	require.NoError(t, err)
	defer conn.Close()
	return conn.LocalAddr().(*net.UDPAddr).Port
}

func TestUDPConnBehavesAsThatOfPackageNet(t *testing.T) {
	for name, row := range sameAsNet {
		t.Run(name, func(t *testing.T) {
			want := &transcript{t: t, make: ofPackageNet}
			row(want)
			require.NotEmpty(t, want.lines)
			for _, kind := range []udpMaker{ofNetpoll, converted} {
				got := &transcript{t: t, make: kind}
				row(got)
				require.Equal(t, want.lines, got.lines, kind.name)
			}
		})
	}
}

// TestUDPConnHasTheMethodsOfPackageNet holds the method set to that of *net.UDPConn: each with the same type.
func TestUDPConnHasTheMethodsOfPackageNet(t *testing.T) {
	original, own := reflect.TypeFor[*net.UDPConn](), reflect.TypeFor[*netpoll.UDPConn]()
	require.Greater(t, original.NumMethod(), 20)
	for i := range original.NumMethod() {
		m := original.Method(i)
		mine, ok := own.MethodByName(m.Name)
		if !ok {
			t.Errorf("%s is missing", m.Name)
			continue
		}
		require.Equal(t, signature(m), signature(mine), m.Name)
	}
	extra := map[string]bool{"ReadBatch": true, "WriteBatch": true, "Stats": true}
	for i := range own.NumMethod() {
		name := own.Method(i).Name
		if _, ok := original.MethodByName(name); !ok && !extra[name] {
			t.Errorf("%s is more than package net has", name)
		}
	}
}
