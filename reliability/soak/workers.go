package main

// This file holds the workers of the load: sessions, short connections, panics, timeouts, idle connections. Calls over
// the mux are in calls.go.

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"syscall"
	"time"

	"github.com/cloudwego/netpoll"

	"github.com/cloudwego/netpoll/reliability/internal/good"
	"github.com/cloudwego/netpoll/reliability/internal/victim"
)

// patience is how long to wait for the server. It is more than a slow machine needs.
const patience = 30 * time.Second

// worker is a job that a number of goroutines do again and again.
type worker struct {
	name   string
	number int           // of goroutines
	rest   time.Duration // between two jobs, on average
	job    func(l *load, random *rand.Rand) error
}

var workers = []worker{
	{"pipelined sessions", 4, 5 * time.Millisecond, (*load).session},
	{"sessions of package net", 2, 5 * time.Millisecond, (*load).netSession},
	{"mux sessions", 2, 5 * time.Millisecond, (*load).muxSession},
	{"orderly ends", 2, 5 * time.Millisecond, func(l *load, r *rand.Rand) error { return l.visit(r, orderly) }},
	{"resets", 2, 5 * time.Millisecond, func(l *load, r *rand.Rand) error { return l.visit(r, reset) }},
	{"half-closes", 2, 5 * time.Millisecond, func(l *load, r *rand.Rand) error { return l.visit(r, halfClose) }},
	{"unread answers", 1, 5 * time.Millisecond, func(l *load, r *rand.Rand) error { return l.visit(r, unread) }},
	{"broken frames", 1, 5 * time.Millisecond, func(l *load, r *rand.Rand) error { return l.visit(r, broken) }},
	{"panics in handlers", 1, 50 * time.Millisecond, (*load).panics},
	{"read timeouts", 2, 5 * time.Millisecond, (*load).timeouts},
	{"refused dials", 1, 20 * time.Millisecond, (*load).refused},
	{"TLS sessions", 1, 5 * time.Millisecond, (*load).tlsSession},
	{"TLS visits", 2, 10 * time.Millisecond, (*load).tlsVisit},
	{"sessions over shared memory", 2, 5 * time.Millisecond, (*load).shmSession},
	{"visits over shared memory", 2, 10 * time.Millisecond, (*load).shmVisit},
}

// echo makes a body that asks for an echo. No two are alike.
func echo(random *rand.Rand, size int) []byte {
	body := make([]byte, max(size, 9))
	body[0] = 'e'
	word := random.Uint64()
	for i := 1; i+8 <= len(body); i += 8 {
		binary.LittleEndian.PutUint64(body[i:], word+uint64(i))
	}
	return body
}

// size draws a size: most are small, some large.
func size(random *rand.Rand) int { return 9 + random.IntN(1<<random.IntN(18)) }

// session is a dialed connection with rounds of pipelined requests.
func (l *load) session(random *rand.Rand) error {
	return l.sessionBy(new(netpoll.NetDialer).DialContext, "tcp", l.Addr, random)
}

// dialFunc dials a connection of the library.
type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// sessionBy is a session over what dial connects.
func (l *load) sessionBy(dial dialFunc, network, addr string, random *rand.Rand) error {
	conn, err := dial(l.ctx, network, addr)
	if l.ctx.Err() != nil {
		return nil
	} else if err != nil {
		return err
	}
	return l.rounds(conn.(netpoll.Connection), random)
}

// rounds are the rounds of a session.
func (l *load) rounds(conn netpoll.Connection, random *rand.Rand) error {
	defer conn.Close()
	if err := conn.SetReadTimeout(patience); err != nil {
		return err
	}
	for range random.IntN(50) {
		var bodies [][]byte
		total := 0
		for range 1 + random.IntN(16) {
			body := echo(random, size(random))
			if total += len(body); total > 400<<10 { // more may not fit into the buffers, and both sides would wait
				break
			}
			bodies = append(bodies, body)
		}
		if err := pipeline(conn, bodies); err != nil {
			return err
		}
		l.count("requests of pipelined sessions", int64(len(bodies)))
		l.rest(time.Duration(random.IntN(2000)) * time.Microsecond)
	}
	return nil
}

// pipeline sends all bodies and then receives the answers.
func pipeline(conn netpoll.Connection, bodies [][]byte) error {
	for _, body := range bodies {
		header, err := conn.Writer().Malloc(4)
		if err != nil {
			return err
		}
		binary.BigEndian.PutUint32(header, uint32(len(body)))
		if _, err := conn.Writer().WriteBinary(body); err != nil {
			return err
		}
	}
	if err := conn.Writer().Flush(); err != nil {
		return err
	}
	for _, body := range bodies {
		if err := expect(conn.Reader(), body); err != nil {
			return err
		}
	}
	return nil
}

// expect receives one answer and checks it.
func expect(r netpoll.Reader, body []byte) error {
	defer r.Release()
	header, err := r.Next(4)
	if err != nil {
		return err
	}
	if n := int(binary.BigEndian.Uint32(header)); n != len(body) {
		return fmt.Errorf("answer of %d bytes to %d", n, len(body))
	}
	got, err := r.Next(len(body))
	if err != nil {
		return err
	}
	if !bytes.Equal(got, body) {
		return errors.New("the answer is not that of the request")
	}
	return nil
}

// netSession is a session of a client over package net.
func (l *load) netSession(random *rand.Rand) error {
	conn, err := net.DialTimeout("tcp", l.Addr, patience)
	if err != nil {
		return err
	}
	defer conn.Close()
	for range random.IntN(50) {
		if err := good.Exchange(conn, echo(random, size(random)), patience); err != nil {
			return err
		}
	}
	return nil
}

// end is how a visit ends.
type end int

const (
	orderly end = iota
	reset
	halfClose
	unread
	broken
)

// visit is a short connection, which ends in the way how.
func (l *load) visit(random *rand.Rand, how end) error {
	dialed, err := net.DialTimeout("tcp", l.Addr, patience)
	if err != nil {
		return err
	}
	conn := dialed.(*net.TCPConn)
	defer conn.Close()
	for range random.IntN(4) {
		if err := good.Exchange(conn, echo(random, size(random)>>4), patience); err != nil {
			return err
		}
	}
	switch how {
	case reset:
		_, err = conn.Write(victim.Frame(echo(random, 100))[:random.IntN(104)])
		return errors.Join(err, conn.SetLinger(0))
	case halfClose:
		return lastAnswer(conn, echo(random, 100))
	case unread:
		_, err = conn.Write(victim.Ask('b', random.IntN(64<<10), 0))
	case broken:
		_, err = conn.Write(victim.Frame(echo(random, 100))[:1+random.IntN(103)])
	}
	return err
}

// lastAnswer sends a request, half-closes, and requires the answer and the end of the stream.
func lastAnswer(conn *net.TCPConn, body []byte) error {
	frame := victim.Frame(body)
	if _, err := conn.Write(frame); err != nil {
		return err
	}
	if err := conn.CloseWrite(); err != nil {
		return err
	}
	return expectEnd(conn, frame)
}

// expectEnd reads to the end of the stream and requires that it has read want.
func expectEnd(conn net.Conn, want []byte) error {
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	var got bytes.Buffer
	if _, err := got.ReadFrom(conn); err != nil {
		return err
	}
	if !bytes.Equal(got.Bytes(), want) {
		return fmt.Errorf("%d bytes before the end, not the %d of the answer", got.Len(), len(want))
	}
	return nil
}

// panics makes a handler panic. The server has to close that connection.
func (l *load) panics(*rand.Rand) error {
	conn, err := net.DialTimeout("tcp", l.Addr, patience)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.Write(victim.Frame([]byte("p"))); err != nil {
		return err
	}
	return expectEnd(conn, nil)
}

// timeouts lets timeouts and deadlines of reads expire. The connection must still work afterwards.
func (l *load) timeouts(random *rand.Rand) error {
	conn, err := netpoll.DialConnection("tcp", l.Addr, patience)
	if err != nil {
		return err
	}
	defer conn.Close()
	for range 1 + random.IntN(3) {
		if _, err := conn.Write(victim.Frame([]byte("silence"))); err != nil {
			return err
		}
		short := time.Duration(1+random.IntN(20)) * time.Millisecond
		if random.IntN(2) == 0 {
			err = conn.SetReadTimeout(short)
		} else {
			err = conn.SetReadDeadline(time.Now().Add(short))
		}
		if err != nil {
			return err
		}
		if _, err := conn.Reader().Next(1); !errors.Is(err, netpoll.ErrReadTimeout) {
			return fmt.Errorf("a read that nobody answers: %w", err)
		}
		if err := conn.SetReadTimeout(patience); err != nil {
			return err
		}
		if err := pipeline(conn, [][]byte{echo(random, 100)}); err != nil {
			return err
		}
	}
	return nil
}

// refused dials a port on which nobody listens.
func (l *load) refused(*rand.Rand) error {
	ln, err := net.Listen("tcp", "127.0.0.2:0") // not the server's address: a dialer of that could get this port as its own
	if err != nil {
		return err
	}
	addr := ln.Addr().String()
	if err := ln.Close(); err != nil {
		return err
	}
	conn, err := netpoll.DialConnection("tcp", addr, patience)
	if err == nil {
		return conn.Close() // another listener has got the port
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return err
	}
	return nil
}

// keepIdle keeps idle connections. Now and then it replaces one, and checks that the old one still works.
func (l *load) keepIdle(random *rand.Rand) {
	idle := make([]netpoll.Connection, l.Idle)
	defer func() {
		for _, conn := range idle {
			if conn != nil {
				_ = conn.Close()
			}
		}
	}()
	for n := 0; l.ctx.Err() == nil && len(idle) > 0; n++ {
		i := n
		if n >= len(idle) {
			i = random.IntN(len(idle))
			l.rest(5 * time.Millisecond)
		}
		if err := replace(&idle[i], l.Addr, random); err != nil {
			l.fail("idle connection", err)
		}
		l.count("idle connections replaced", 1)
	}
}

// replace makes a last request on *conn, if it is not nil, and then puts a new connection there.
func replace(conn *netpoll.Connection, addr string, random *rand.Rand) (err error) {
	if old := *conn; old != nil {
		*conn = nil
		err = errors.Join(pipeline(old, [][]byte{echo(random, 100)}), old.Close())
	}
	fresh, dialErr := netpoll.DialConnection("tcp", addr, patience)
	if dialErr != nil {
		return errors.Join(err, dialErr)
	}
	*conn = fresh
	return errors.Join(err, fresh.SetReadTimeout(patience))
}
