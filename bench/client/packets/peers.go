package main

// This file holds peers that each have one datagram under way. They are sockets of one thread, so that they cost little.

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/bench/internal/caller"
	"github.com/cloudwego/netpoll/bench/internal/datagram"
	"github.com/cloudwego/netpoll/bench/internal/sock"
)

// patience is how long a peer waits for its answer. Then the datagram counts as lost, and it sends another one.
const patience = 200 * time.Millisecond

type peer struct {
	fd   int
	n    uint64 // of its datagram
	sent time.Time
}

// peers implements caller.Loader.
type peers struct {
	poll   *sock.Poll
	list   []peer
	events []unix.EpollEvent
	out    []byte
	in     []byte
}

func openPeers(cfg config) (_ *peers, err error) {
	to, err := netip.ParseAddrPort(cfg.addr)
	if err != nil {
		return nil, err
	}
	poll, err := sock.NewPoll()
	if err != nil {
		return nil, err
	}
	ps := &peers{poll: poll, events: make([]unix.EpollEvent, 256), out: make([]byte, cfg.size), in: make([]byte, cfg.size+1)}
	defer func() {
		if err != nil {
			ps.Close()
		}
	}()
	for i := range cfg.conns {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			return nil, fmt.Errorf("socket: %w", err)
		}
		ps.list = append(ps.list, peer{fd: fd})
		if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())}); err != nil {
			return nil, fmt.Errorf("connect: %w", err)
		}
		if err := ps.poll.Add(fd, unix.EPOLLIN, int32(i)); err != nil {
			return nil, err
		}
	}
	return ps, nil
}

func (ps *peers) Load(d time.Duration) (*caller.Result, error) {
	h := hdrhistogram.New(1, int64(time.Minute), 3)
	now := time.Now()
	until, checked, lost := now.Add(d), time.Time{}, 0
	for now.Before(until) {
		if now.Sub(checked) > patience/4 {
			n, err := ps.sendAgain(now)
			if err != nil {
				return nil, err
			}
			checked, lost = now, lost+n
		}
		n, err := ps.poll.Wait(ps.events, until.Sub(now))
		if err != nil {
			return nil, err
		}
		now = time.Now()
		for _, ev := range ps.events[:n] {
			if err := ps.answered(&ps.list[ev.Fd], now, h); err != nil {
				return nil, err
			}
		}
	}
	return caller.ResultOf(h, lost), nil
}

// answered takes an answer, and sends the next datagram. One that comes after the patience is nothing.
func (ps *peers) answered(p *peer, now time.Time, h *hdrhistogram.Histogram) error {
	n, errno := sock.Recv(p.fd, ps.in)
	switch {
	case errno == unix.EAGAIN:
		return nil
	case errno != 0:
		return fmt.Errorf("receive: %w", errno)
	case n != len(ps.out):
		return fmt.Errorf("an answer of %d bytes", n)
	case datagram.Number(ps.in) != p.n:
		return nil
	}
	_ = h.RecordValue(int64(now.Sub(p.sent)))
	return ps.send(p, now)
}

func (ps *peers) send(p *peer, now time.Time) error {
	p.n++
	p.sent = now
	datagram.Put(ps.out, datagram.Echo, p.n)
	if _, errno := sock.Send(p.fd, ps.out); errno != 0 && errno != unix.EAGAIN {
		return fmt.Errorf("send: %w", errno)
	}
	return nil
}

// sendAgain sends for the peers that have waited for too long, and returns how many have lost a datagram.
func (ps *peers) sendAgain(now time.Time) (lost int, err error) {
	for i := range ps.list {
		p := &ps.list[i]
		if now.Sub(p.sent) < patience {
			continue
		}
		if p.n > 0 {
			lost++
		}
		err = errors.Join(err, ps.send(p, now))
	}
	return lost, err
}

func (ps *peers) Close() {
	for _, p := range ps.list {
		_ = unix.Close(p.fd)
	}
	_ = ps.poll.Close()
}
