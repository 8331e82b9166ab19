// Command packets loads a server of datagrams: with peers that each have one datagram under way, or with as many datagrams
// as go out.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/cloudwego/netpoll"

	"github.com/cloudwego/netpoll/bench/internal/caller"
	"github.com/cloudwego/netpoll/bench/internal/datagram"
	"github.com/cloudwego/netpoll/bench/internal/stat"
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
	defer load.close()
	fmt.Println("ready")
	lines := bufio.NewScanner(os.Stdin)
	if !lines.Scan() {
		return errors.Join(errors.New("not started"), lines.Err())
	}
	if _, err := load.run(cfg.warmup); err != nil {
		return err
	}
	source := stat.NewSource()
	before, err := source.Read()
	if err != nil {
		return err
	}
	began := time.Now()
	res, err := load.run(cfg.window)
	if err != nil {
		return err
	}
	res.Elapsed = time.Since(began)
	res.Before = before
	if res.After, err = source.Read(); err != nil {
		return err
	}
	if err := json.NewEncoder(os.Stdout).Encode(res); err != nil {
		return err
	}
	for lines.Scan() { // until the end of the input
	}
	return lines.Err()
}

// loader loads the server for a while. What is under way at its end is so at the beginning of the next call.
type loader interface {
	run(d time.Duration) (*caller.Result, error)
	close()
}

func open(cfg config) (loader, error) {
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

// sender sends as much as goes out.
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

func (s *sender) run(d time.Duration) (*caller.Result, error) {
	for until := time.Now().Add(d); time.Now().Before(until); {
		if _, err := s.conn.WriteBatch(s.packets); err != nil {
			return nil, err
		}
	}
	return new(caller.Result), nil
}

func (s *sender) close() { s.conn.Close() }

// result puts latencies into a result.
func result(h *hdrhistogram.Histogram, lost int) *caller.Result {
	q := func(p float64) time.Duration { return time.Duration(h.ValueAtQuantile(p)) }
	return &caller.Result{Requests: int(h.TotalCount()), P50: q(50), P90: q(90), P99: q(99), P999: q(99.9),
		Max: time.Duration(h.Max()), Lost: lost}
}
