// Command udp is the server of datagrams: over a PacketLoop of this library, over package net with a goroutine that receives
// one at a time, over gnet, and over the socket of wireguard-go, which receives in batches.
//
// The first byte of a datagram says what becomes of it: see package datagram.
package main

import (
	"context"
	"fmt"
	"net"

	"github.com/cloudwego/netpoll"

	"github.com/cloudwego/netpoll/bench/internal/datagram"
	"github.com/cloudwego/netpoll/bench/internal/serve"
	"github.com/cloudwego/netpoll/bench/internal/stat"
)

func main() {
	serve.Main(func(cfg serve.Config) (string, error) {
		switch cfg.Mode {
		case "netpoll":
			return overNetpoll()
		case "netpoll-segments":
			return overNetpoll(netpoll.WithPacketSegments())
		case "net":
			return overNet()
		case "gnet":
			return overGnet(cfg.Loops)
		case "wireguard":
			return overWireguard()
		case "limit":
			return overLimit()
		}
		return "", fmt.Errorf("unknown mode %q", cfg.Mode)
	})
}

func overNetpoll(ops ...netpoll.PacketOption) (string, error) {
	ops = append(ops, netpoll.WithPacketReadBuffer(datagram.Buffer))
	loop, err := netpoll.NewPacketLoop(answerBatch, ops...)
	if err != nil {
		return "", err
	}
	conn, err := netpoll.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return "", err
	}
	go func() { panic(fmt.Sprint("serve: ", loop.Serve(conn))) }()
	return conn.LocalAddr().String(), nil
}

func answerBatch(_ context.Context, conn *netpoll.UDPConn, packets []netpoll.Packet) error {
	answers := packets[:0]
	dropped := 0
	for _, p := range packets {
		if datagram.KindOf(p.Data) == datagram.Echo {
			answers = append(answers, p)
		} else {
			dropped += segments(p)
		}
	}
	if dropped > 0 {
		stat.Counted.Add(int64(dropped))
	}
	if len(answers) == 0 {
		return nil
	}
	_, err := conn.WriteBatch(answers)
	return err
}

// segments is how many datagrams p is.
func segments(p netpoll.Packet) int {
	if p.SegmentSize == 0 {
		return 1
	}
	return (len(p.Data) + p.SegmentSize - 1) / p.SegmentSize
}

func overNet() (string, error) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return "", err
	}
	_ = conn.SetReadBuffer(datagram.Buffer)
	go func() {
		p := make([]byte, 64<<10)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(p)
			if err != nil {
				panic(fmt.Sprint("read: ", err))
			}
			if out := answer(p[:n]); out != nil {
				_, _ = conn.WriteToUDPAddrPort(out, from)
			}
		}
	}()
	return conn.LocalAddr().String(), nil
}

// answer returns what to send back, or nil.
func answer(p []byte) []byte {
	if datagram.KindOf(p) == datagram.Echo {
		return p
	}
	stat.Counted.Add(1)
	return nil
}
