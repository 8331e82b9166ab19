package main

// This file holds the room and its members. Flush waits for a member that does not read, so no handler calls it for
// others: lines are queued for each member, and a goroutine sends them while there are some.

import (
	"bytes"
	"context"
	"errors"
	"sync"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/framing"
)

// maxWaiting is how many bytes may wait for a member.
const maxWaiting = 1 << 20

// lines limits what a member may say.
var lines = framing.Line{Limit: 4 << 10}

type room struct {
	mu      sync.Mutex // guards members
	members map[netpoll.Connection]*member
}

func newRoom() *room { return &room{members: make(map[netpoll.Connection]*member)} }

// join is OnConnect: the first line that a new member gets says that it is in.
func (r *room) join(ctx context.Context, conn netpoll.Connection) context.Context {
	m := &member{conn: conn}
	r.mu.Lock()
	r.members[conn] = m
	r.mu.Unlock()
	_ = conn.AddCloseCallback(r.leave) // the error is always nil
	m.send([]byte("welcome"))
	return ctx
}

// leave is the CloseCallback of a member.
func (r *room) leave(conn netpoll.Connection) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.members, conn)
	return nil
}

// onRequest passes on the lines that have arrived.
func (r *room) onRequest(_ context.Context, conn netpoll.Connection) error {
	reader := conn.Reader()
	defer reader.Release()
	for {
		line, ok, err := framing.TryNext(reader, lines)
		if err != nil {
			return errors.Join(err, conn.Close())
		}
		if !ok {
			return nil
		}
		r.say(conn, bytes.Clone(line)) // members have it for longer than this handler runs
	}
}

// say queues a line for all members but the one that said it, and turns out those for whom too much waits.
func (r *room) say(from netpoll.Connection, line []byte) {
	var slow []netpoll.Connection
	r.mu.Lock()
	for conn, m := range r.members {
		if conn != from && !m.send(line) {
			slow = append(slow, conn)
		}
	}
	r.mu.Unlock()
	for _, conn := range slow {
		conn.Close() // calls leave
	}
}

// member is a connection with what waits for it.
type member struct {
	conn netpoll.Connection

	mu      sync.Mutex // guards the fields below
	queue   [][]byte
	waiting int  // bytes in queue, and of the batch that is being sent
	sending bool // a goroutine sends
}

// send queues a line. It does not wait. It returns false if too much waits already.
func (m *member) send(line []byte) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.waiting+len(line) > maxWaiting {
		return false
	}
	m.queue = append(m.queue, line)
	m.waiting += len(line)
	if !m.sending {
		m.sending = true
		go m.sendQueued()
	}
	return true
}

// sendQueued sends until nothing is queued, all lines that have come meanwhile by one Flush.
func (m *member) sendQueued() {
	for batch := m.take(0); len(batch) > 0; {
		size := 0
		var err error
		for _, line := range batch {
			size += len(line)
			err = errors.Join(err, lines.Write(m.conn.Writer(), line))
		}
		if err := errors.Join(err, m.conn.Writer().Flush()); err != nil {
			m.conn.Close() // also if it was turned out; then sending stays true, and nothing is sent any more
			return
		}
		batch = m.take(size)
	}
}

// take returns what is queued, after sent bytes have been sent. If nothing is, sending ends.
func (m *member) take(sent int) (batch [][]byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	batch, m.queue = m.queue, nil
	m.waiting -= sent
	m.sending = len(batch) > 0
	return batch
}
