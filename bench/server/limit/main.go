// Command limit shows the limit of this machine, which no library can exceed by much. Its servers make system calls and
// nothing else: one thread for each loop, no goroutines, buffers for users, timeouts or other services. -mode epoll
// makes a system call for each receive and each send. -mode ring makes one for all receives of a batch, and one for all
// its sends.
package main

import (
	"fmt"
	"runtime"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/bench/internal/serve"
	"github.com/cloudwego/netpoll/bench/internal/sock"
	"github.com/cloudwego/netpoll/internal/iobatch"
	"github.com/cloudwego/netpoll/internal/uring"
)

const (
	batch    = 128      // events that are handled together
	recvSize = 16 << 10 // receive size, unless the rest of a longer request is known to come
	maxConns = 1 << 16
)

func main() {
	serve.Main(func(cfg serve.Config) (string, error) {
		if cfg.Work.Waits() {
			return "", fmt.Errorf("handlers that wait would stop the loop")
		}
		runtime.GOMAXPROCS(cfg.Loops + 1) // one P for the control pipe: see package sock
		listener, addr, err := sock.Listen()
		if err != nil {
			return "", err
		}
		loops := make([]*loop, cfg.Loops)
		for i := range loops {
			if loops[i], err = newLoop(cfg); err != nil {
				return "", err
			}
		}
		loops[0].listener = listener
		loops[0].peers = loops
		if err := loops[0].poll.Add(listener, unix.EPOLLIN, int32(listener)); err != nil {
			return "", err
		}
		for _, l := range loops {
			go l.run()
		}
		return addr.String(), nil
	})
}

// conn is one connection. It belongs to its loop.
type conn struct {
	fd      int
	rest    []byte // an incomplete request
	inPlace bool   // the receive under way appends to rest
	out     []byte // responses, of which sent bytes are sent
	sent    int
	blocked bool // waits for room to send, and does not receive until it has sent
}

// loop is one thread with its connections.
type loop struct {
	poll  *sock.Poll
	work  serve.Work
	conns [maxConns]atomic.Pointer[conn] // by descriptor; written before the descriptor is polled

	listener int     // -1 except in the loop that accepts
	peers    []*loop // in the loop that accepts: all loops
	accepted int

	ring  *uring.Ring   // nil for plain system calls
	slots [batch][]byte // receive memory; without a ring only the first is used
	rooms [batch][]byte // what the ring receives into: a slot, or the end of a long request
	ready [batch]*conn  // connections of the batch that have something to send
	n     int           // how many of ready are used
}

func newLoop(cfg serve.Config) (l *loop, err error) {
	l = &loop{work: cfg.Work, listener: -1}
	slots := 1
	switch cfg.Mode {
	case "epoll":
	case "ring":
		slots = batch
		if l.ring, err = uring.New(batch); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("unknown mode %q: epoll or ring", cfg.Mode)
	}
	for i := range slots {
		l.slots[i] = make([]byte, recvSize)
	}
	l.poll, err = sock.NewPoll()
	return l, err
}

// run serves until the process exits.
func (l *loop) run() {
	runtime.LockOSThread()
	var events [batch]unix.EpollEvent
	for {
		n, err := l.poll.Wait(events[:], sock.MaxWait)
		if err != nil {
			panic(err)
		}
		l.n = 0
		l.receive(events[:n])
		l.send()
	}
}

// receive receives from the ready connections, and lists those that have something to send.
func (l *loop) receive(events []unix.EpollEvent) {
	for i, ev := range events {
		fd := int(ev.Fd)
		if fd == l.listener {
			l.accept()
			continue
		}
		c := l.conns[fd].Load()
		switch {
		case c.blocked:
			l.list(c)
		case l.ring == nil:
			buf := c.room(l.slots[0])
			n, errno := sock.Recv(fd, buf)
			l.received(c, buf, n, errno)
		default:
			l.rooms[i] = c.room(l.slots[i])
			l.ring.Recv(fd, l.rooms[i], uint64(i)<<32|uint64(fd))
		}
	}
	if l.ring != nil {
		l.submit(func(tag uint64, n int, errno unix.Errno) {
			l.received(l.conns[uint32(tag)].Load(), l.rooms[tag>>32], n, errno)
		})
	}
}

// submit executes the operations queued in the ring.
func (l *loop) submit(done func(tag uint64, n int, errno unix.Errno)) {
	if l.ring.Len() == 0 {
		return
	}
	err := l.ring.Submit(func(tag uint64, res int32) {
		switch {
		case res == iobatch.NotExecuted:
			done(tag, 0, unix.EAGAIN) // reported again by the next wait
		case res < 0:
			done(tag, 0, unix.Errno(-res))
		default:
			done(tag, int(res), 0)
		}
	})
	if err != nil {
		panic(err)
	}
}

func (l *loop) accept() {
	for {
		fd, err := sock.Accept(l.listener)
		if err == unix.EAGAIN {
			return
		}
		if err != nil || fd >= maxConns {
			panic(fmt.Sprint("accept: ", fd, err))
		}
		to := l.peers[l.accepted%len(l.peers)]
		l.accepted++
		to.conns[fd].Store(&conn{fd: fd})
		if err := to.poll.Add(fd, unix.EPOLLIN, int32(fd)); err != nil {
			panic(err)
		}
	}
}

func (l *loop) list(c *conn) {
	l.ready[l.n] = c
	l.n++
}

// received handles the result of a receive into buf.
func (l *loop) received(c *conn, buf []byte, n int, errno unix.Errno) {
	switch {
	case errno == unix.EAGAIN:
		return
	case errno != 0 || n == 0:
		unix.Close(c.fd)
		return
	}
	if l.answer(c, buf[:n]) {
		l.list(c)
	}
}
