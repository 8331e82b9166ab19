// Command dnsecho runs a DNS server on a PacketLoop and asks it: whatever the name, the answer is the address of the one
// who asks. It shows how a server reads datagrams, answers a batch with one call, and replies from the address that was
// asked.
package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/netip"
	"os"

	"github.com/cloudwego/netpoll"
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// run serves on a free port until the client has its answers.
func run(ctx context.Context, w io.Writer) error {
	conn, err := netpoll.ListenUDP("udp4", nil, netpoll.WithPacketInfo()) // all addresses of this host
	if err != nil {
		return err
	}
	loop, err := netpoll.NewPacketLoop(answer, netpoll.WithPacketSize(4096))
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	served := make(chan error, 1)
	go func() { served <- loop.Serve(conn) }() // Serve blocks until Shutdown

	port := conn.LocalAddr().(*net.UDPAddr).Port
	err = ask(ctx, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(port)), w)
	return errors.Join(err, loop.Shutdown(ctx), <-served)
}

// ask is the client: the resolver of the standard library.
func ask(ctx context.Context, server netip.AddrPort, w io.Writer) error {
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", server.String())
	}}
	for _, name := range []string{"who.am.i.", "where.am.i."} {
		addrs, err := resolver.LookupNetIP(ctx, "ip4", name)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%s %v\n", name, addrs[0])
	}
	return nil
}

// answer is the handler. The packets that it sends are those that it got, with other Data: they go back to where they
// came from, and leave from the address that was asked.
func answer(_ context.Context, conn *netpoll.UDPConn, packets []netpoll.Packet) error {
	replies := packets[:0]
	for _, p := range packets {
		if reply, ok := replyTo(p.Data, p.Addr.Addr().Unmap()); ok && !p.Truncated {
			p.Data = reply
			replies = append(replies, p)
		}
	}
	for len(replies) > 0 {
		n, err := conn.WriteBatch(replies)
		if err == nil {
			return nil
		}
		log.Print(err) // of one reply: the others are sent nevertheless
		replies = replies[n+1:]
	}
	return nil
}

// The parts of a message that this server knows; see RFC 1035.
const (
	headerSize = 12

	isResponse       = 1 << 15
	opcode           = 0xf << 11
	authoritative    = 1 << 10
	recursionDesired = 1 << 8
	formatError      = 1
	notImplemented   = 4

	typeA, typeAAAA, typeAny = 1, 28, 255
	classIN                  = 1
)

// replyTo makes the reply to a query from an address. What is no query gets none: two servers would answer each other for
// ever. The reply may be in the memory of the query.
func replyTo(query []byte, from netip.Addr) (reply []byte, ok bool) {
	if len(query) < headerSize {
		return nil, false
	}
	flags := binary.BigEndian.Uint16(query[2:])
	if flags&isResponse != 0 {
		return nil, false
	}
	end, kind, class := question(query)
	switch {
	case flags&opcode != 0:
		return header(query[:headerSize], flags, notImplemented, 0, 0), true
	case end == 0:
		return header(query[:headerSize], flags, formatError, 0, 0), true
	}
	reply = query[:end]
	answers := uint16(0)
	if address, kindOf := from.AsSlice(), addressType(from); class == classIN && (kind == kindOf || kind == typeAny) {
		reply = append(reply, 0xc0, headerSize) // the name: that of the question
		reply = binary.BigEndian.AppendUint16(reply, kindOf)
		reply = binary.BigEndian.AppendUint16(reply, classIN)
		reply = binary.BigEndian.AppendUint32(reply, 0) // the time to live: it is another one's next time
		reply = binary.BigEndian.AppendUint16(reply, uint16(len(address)))
		reply = append(reply, address...)
		answers = 1
	}
	return header(reply, flags, 0, 1, answers), true
}

// header makes the header of a query that of a reply.
func header(reply []byte, flags, code, questions, answers uint16) []byte {
	binary.BigEndian.PutUint16(reply[2:], isResponse|flags&(opcode|recursionDesired)|authoritative|code)
	binary.BigEndian.PutUint16(reply[4:], questions)
	binary.BigEndian.PutUint16(reply[6:], answers)
	binary.BigEndian.PutUint32(reply[8:], 0) // nothing else
	return reply
}

func addressType(a netip.Addr) uint16 {
	if a.Is4() {
		return typeA
	}
	return typeAAAA
}

// question reads the only question of a query and returns where it ends, 0 if there is not one or it is malformed.
func question(query []byte) (end int, kind, class uint16) {
	if binary.BigEndian.Uint16(query[4:]) != 1 {
		return 0, 0, 0
	}
	at := headerSize
	for at < len(query) && query[at] != 0 {
		if query[at] > 63 || at-headerSize > 254 {
			return 0, 0, 0
		}
		at += 1 + int(query[at])
	}
	if end = at + 5; end > len(query) {
		return 0, 0, 0
	}
	return end, binary.BigEndian.Uint16(query[at+1:]), binary.BigEndian.Uint16(query[at+3:])
}
