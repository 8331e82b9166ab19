package caller

// This file holds the carriers of calls: a pool of connections, a few shared connections, and a new connection for
// each call.

import (
	"errors"
	"fmt"
	"sync"

	"github.com/cloudwego/netpoll/bench/internal/frame"
)

// pool gives each call a connection of its own. It takes the one that was used last, so with more connections than
// callers the rest stay idle.
type pool struct {
	t *frame.Template

	mu   sync.Mutex // guards free
	free []Conn
}

func newPool(cfg Config, lib Library, t *frame.Template) (*pool, error) {
	if cfg.Conns < cfg.Callers {
		return nil, fmt.Errorf("%d connections for %d callers", cfg.Conns, cfg.Callers)
	}
	p := &pool{t: t}
	for range cfg.Conns {
		c, err := lib.Dial(cfg.Addr)
		if err != nil {
			p.close()
			return nil, err
		}
		p.free = append(p.free, c)
	}
	return p, nil
}

func (p *pool) call(_ int, stamp uint64) error {
	p.mu.Lock()
	n := len(p.free) - 1
	c := p.free[n]
	p.free = p.free[:n]
	p.mu.Unlock()
	if !c.Alive() {
		return errors.New("the server has closed a connection")
	}
	if err := c.Call(p.t, stamp); err != nil {
		return err
	}
	p.mu.Lock()
	p.free = append(p.free, c)
	p.mu.Unlock()
	return nil
}

func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.free {
		_ = c.Close()
	}
}

// dialing makes a connection for each call.
type dialing struct {
	addr string
	lib  Library
	t    *frame.Template
}

func (d *dialing) call(_ int, stamp uint64) error {
	c, err := d.lib.Dial(d.addr)
	if err != nil {
		return err
	}
	return errors.Join(c.Call(d.t, stamp), c.Close())
}

func (d *dialing) close() {}

// shared carries all calls over a few connections. The upper half of a stamp is the number of the caller.
type shared struct {
	t     *frame.Template
	conns []Mux
	waits []waiter
}

// waiter is a caller that waits for a response. The caller writes want before it sends, so the goroutine that receives
// the response sees it.
type waiter struct {
	mu   sync.Mutex // guards want
	want uint64
	done chan error
}

func newShared(cfg Config, lib Library, t *frame.Template) (*shared, error) {
	s := &shared{t: t, waits: make([]waiter, cfg.Callers)}
	for i := range s.waits {
		s.waits[i].done = make(chan error, 1)
	}
	for range max(1, cfg.Conns) {
		c, err := lib.DialMux(cfg.Addr, s.received)
		if err != nil {
			s.close()
			return nil, err
		}
		s.conns = append(s.conns, c)
	}
	return s, nil
}

func (s *shared) call(caller int, stamp uint64) error {
	w := &s.waits[caller]
	w.mu.Lock()
	w.want = stamp
	w.mu.Unlock()
	if err := s.conns[caller%len(s.conns)].Send(s.t, stamp); err != nil {
		return err
	}
	return <-w.done
}

// received verifies a response and wakes its caller. An error wakes all callers.
func (s *shared) received(msg []byte, err error) {
	if err != nil {
		s.broken(err)
		return
	}
	stamp := frame.Stamp(msg)
	caller := stamp >> 32
	if caller >= uint64(len(s.waits)) {
		s.broken(fmt.Errorf("response with the stamp %#x, which nobody has sent", stamp))
		return
	}
	w := &s.waits[caller]
	w.mu.Lock()
	want := w.want
	w.mu.Unlock()
	w.finish(s.t.Verify(msg, want))
}

func (w *waiter) finish(err error) {
	select {
	case w.done <- err:
	default: // the caller has a result that it has not read yet
	}
}

// broken ends the call of every caller with err.
func (s *shared) broken(err error) {
	for i := range s.waits {
		s.waits[i].finish(err)
	}
}

func (s *shared) close() {
	for _, c := range s.conns {
		_ = c.Close()
	}
}
