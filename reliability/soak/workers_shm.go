package main

// This file holds the workers over shared memory: dialed sessions, and visits that end in various ways.

import (
	"math/rand/v2"
	"net"
	"time"

	"github.com/cloudwego/netpoll"

	"github.com/cloudwego/netpoll/reliability/internal/good"
	"github.com/cloudwego/netpoll/reliability/internal/victim"
)

// shmDialer has small rings, so that both sides often wait for room.
var shmDialer = &netpoll.ShmDialer{Config: netpoll.ShmConfig{RingSize: 16 << 10}}

// shmSession is a session over shared memory.
func (l *load) shmSession(random *rand.Rand) error {
	return l.sessionBy(shmDialer.DialContext, "shm", l.ShmAddr, random)
}

// shmVisit is an exchange and an end: in order, at once, or with an answer that nobody reads; or a client that says nothing,
// or the wrong thing.
func (l *load) shmVisit(random *rand.Rand) error {
	if random.IntN(8) == 0 {
		raw, err := net.DialTimeout("unix", l.ShmAddr, patience)
		if err != nil {
			return err
		}
		_, err = raw.Write([]byte("netpollshm and more")[:random.IntN(19)])
		_ = raw.Close()
		return err
	}
	conn, err := shmDialer.DialTimeout("shm", l.ShmAddr, patience)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if err := good.Exchange(conn, echo(random, size(random)), patience); err != nil {
		return err
	}
	switch random.IntN(3) {
	case 0:
		return nil
	case 1:
		_, err := conn.Write(victim.Ask('b', 64<<10, 0))
		return err
	default:
		return conn.(netpoll.HalfCloser).CloseWrite()
	}
}
