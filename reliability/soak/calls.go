package main

// This file holds calls over the mux: many goroutines send on one connection through a ShardQueue, and a handler
// receives the answers.

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/mux"
)

const (
	muxCallers = 8
	muxCalls   = 50 // of each caller in one session
)

// calls has the calls that wait for an answer on one connection.
type calls struct {
	ended chan struct{} // closed with the connection

	mu      sync.Mutex               // guards waiting
	waiting map[uint64]chan struct{} // by number of the call; closed when its answer arrives
}

// muxSession makes many calls at once over one connection.
func (l *load) muxSession(random *rand.Rand) error {
	conn, err := netpoll.DialConnection("tcp", l.Addr, patience)
	if err != nil {
		return err
	}
	c := &calls{ended: make(chan struct{}), waiting: map[uint64]chan struct{}{}}
	defer func() {
		_ = conn.Close()
		<-c.ended
	}()
	err = conn.AddCloseCallback(func(netpoll.Connection) error {
		close(c.ended)
		return nil
	})
	if err != nil {
		return err
	}
	if err := conn.SetOnRequest(c.onAnswers); err != nil {
		return err
	}
	queue := mux.NewShardQueue(0, conn)
	failures := make(chan error, muxCallers)
	for caller := range uint64(muxCallers) {
		seed := random.Uint64()
		go func() { failures <- c.callAll(queue, caller, rand.New(rand.NewPCG(seed, caller))) }()
	}
	for range muxCallers {
		err = errors.Join(err, <-failures)
	}
	l.count("calls over the mux", muxCallers*muxCalls)
	return errors.Join(err, queue.Close())
}

// callAll makes the calls of one caller, one after the other.
func (c *calls) callAll(queue *mux.ShardQueue, caller uint64, random *rand.Rand) error {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for n := range uint64(muxCalls) {
		number := caller<<32 | n
		answered := c.expect(number)
		buf, err := callFrame(number, random.IntN(4<<10))
		if err != nil {
			return err
		}
		queue.Add(func() (netpoll.Writer, bool) { return buf, false })
		select {
		case <-answered:
		case <-c.ended:
			return errors.New("the connection ended")
		case <-timer.C:
			return fmt.Errorf("no answer to call %d of caller %d", n, caller)
		}
	}
	return nil
}

func (c *calls) expect(number uint64) chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	answered := make(chan struct{})
	c.waiting[number] = answered
	return answered
}

// callFrame makes a frame that asks for an echo of a number and of padding bytes.
func callFrame(number uint64, padding int) (*netpoll.LinkBuffer, error) {
	const head = 4 + 1 + 8
	buf := netpoll.NewLinkBuffer(head + padding)
	p, err := buf.Malloc(head + padding)
	if err != nil {
		return nil, err
	}
	binary.BigEndian.PutUint32(p, uint32(len(p)-4))
	p[4] = 'e'
	binary.BigEndian.PutUint64(p[5:], number)
	return buf, nil
}

// onAnswers is the handler of the connection.
func (c *calls) onAnswers(_ context.Context, conn netpoll.Connection) error {
	r := conn.Reader()
	defer r.Release()
	for r.Len() >= 4 {
		header, err := r.Peek(4)
		if err != nil {
			return err
		}
		n := int(binary.BigEndian.Uint32(header))
		if n < 9 {
			return conn.Close()
		}
		if r.Len() < 4+n {
			return nil
		}
		if err := r.Skip(4); err != nil {
			return err
		}
		body, err := r.Next(n)
		if err != nil {
			return err
		}
		c.answered(binary.BigEndian.Uint64(body[1:]))
	}
	return nil
}

func (c *calls) answered(number uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if answered, ok := c.waiting[number]; ok {
		delete(c.waiting, number)
		close(answered)
	}
}
