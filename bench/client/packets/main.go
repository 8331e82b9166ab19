// Command packets loads a server of datagrams: with peers that each have one datagram under way, or with as many datagrams
// as go out.
package main

import (
	"flag"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/cloudwego/netpoll"

	"github.com/cloudwego/netpoll/bench/internal/caller"
	"github.com/cloudwego/netpoll/bench/internal/datagram"
)

type config struct {
	addr           string
	mode           string
	conns, size    int
	warmup, window time.Duration
}

func main() {
	var cfg config
	flag.StringVar(&cfg.addr, "addr", "", "of the server")
	flag.StringVar(&cfg.mode, "mode", "echo", "echo, send, or segments: send what the system cuts into datagrams")
	flag.IntVar(&cfg.conns, "conns", 64, "peers")
	flag.IntVar(&cfg.size, "size", 64, "of a datagram, in bytes")
	flag.DurationVar(&cfg.warmup, "warmup", 200*time.Millisecond, "before the measurement")
	flag.DurationVar(&cfg.window, "window", time.Second, "of the measurement")
	flag.Parse()
	if err := run(cfg); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(cfg config) error {
	if cfg.size < datagram.MinSize {
		return fmt.Errorf("a datagram has %d bytes at least", datagram.MinSize)
	}
	load, err := open(cfg)
	if err != nil {
		return err
	}
	return caller.MainOf(load, cfg.warmup, cfg.window)
}

func open(cfg config) (caller.Loader, error) {
	switch cfg.mode {
	case "echo":
		return openPeers(cfg)
	case "send", "segments":
		return openSender(cfg)
	}
	return nil, fmt.Errorf("unknown mode %q", cfg.mode)
}

const (
	batch        = 64    // datagrams that the sender sends with a call
	maxSegmented = 65507 // bytes of what the system cuts into datagrams
)

// sender implements caller.Loader. It sends as much as goes out.
type sender struct {
	conn    *netpoll.UDPConn
	packets []netpoll.Packet
}

func openSender(cfg config) (*sender, error) {
	to, err := net.ResolveUDPAddr("udp4", cfg.addr)
	if err != nil {
		return nil, err
	}
	conn, err := netpoll.DialUDP("udp4", nil, to)
	if err != nil {
		return nil, err
	}
	s := &sender{conn: conn}
	if cfg.mode == "segments" {
		n := min(batch, maxSegmented/cfg.size)
		p := make([]byte, n*cfg.size)
		for i := range n {
			datagram.Put(p[i*cfg.size:], datagram.Drop, uint64(i))
		}
		s.packets = []netpoll.Packet{{Data: p, SegmentSize: cfg.size}}
		return s, nil
	}
	for i := range batch {
		p := make([]byte, cfg.size+i%2) // of two lengths in turn, so that they are not joined
		datagram.Put(p, datagram.Drop, uint64(i))
		s.packets = append(s.packets, netpoll.Packet{Data: p})
	}
	return s, nil
}

func (s *sender) Load(d time.Duration) (*caller.Result, error) {
	for until := time.Now().Add(d); time.Now().Before(until); {
		if _, err := s.conn.WriteBatch(s.packets); err != nil {
			return nil, err
		}
	}
	return new(caller.Result), nil
}

func (s *sender) Close() { s.conn.Close() }
