package main

// This file holds the attacking process. It is a separate one, so that the cost of the attack is not counted as the
// server's, and does not disturb the measurements of the well-behaved client.

import (
	"fmt"
	"io"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cloudwego/netpoll/reliability/internal/child"
	"github.com/cloudwego/netpoll/reliability/internal/peer"
)

const attackerRole = "attacker"

// order has the settings of an attacker.
type order struct {
	Scenario string
	Addr     string
	Peers    int
}

// progress is a report of the attacker. It sends one with Ready when the whole attack has begun, and one at the end.
type progress struct {
	Ready  bool
	Counts map[string]int64
}

// attacker is the state of the attacking process.
type attacker struct {
	addr  netip.AddrPort
	peers int
	ends  bool          // the whole attack has begun once the server has closed the first connection
	over  atomic.Bool   // set when the attack has to end
	done  chan struct{} // closed at the same time
	ready func()

	mu     sync.Mutex // guards counts
	counts map[string]int64
}

// attack runs the attack of a scenario until a.ended returns true.
func attack(link *child.Link) error {
	var o order
	if err := link.Receive(&o); err != nil {
		return err
	}
	s, ok := find(o.Scenario)
	if !ok {
		return fmt.Errorf("no scenario %q", o.Scenario)
	}
	addr, err := netip.ParseAddrPort(o.Addr)
	if err != nil {
		return err
	}
	a := &attacker{addr: addr, peers: o.Peers, ends: s.ends, done: make(chan struct{}), counts: map[string]int64{}}
	a.ready = sync.OnceFunc(func() { _ = link.Send(progress{Ready: true}) })
	go func() {
		var nothing struct{}
		for link.Receive(&nothing) != io.EOF {
			continue
		}
		a.over.Store(true)
		close(a.done)
	}()
	s.attack(a)
	return link.Send(progress{Counts: a.counts})
}

func (a *attacker) ended() bool { return a.over.Load() }

// pause waits for d. It returns false when the attack is over.
func (a *attacker) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-a.done:
		return false
	case <-timer.C:
		return true
	}
}

func (a *attacker) count(what string, n int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.counts[what] += n
}

// crowd keeps all peers connected. In each round it calls act for each; it pauses for every between rounds.
func (a *attacker) crowd(options peer.Options, every time.Duration, act func(fd int, sent *int) error) {
	a.part(a.peers, options, every, act)
}

// part is crowd for n of the peers.
func (a *attacker) part(n int, options peer.Options, every time.Duration, act func(fd int, sent *int) error) {
	c := peer.NewCrowd(a.addr, n, options)
	defer c.Close()
	for {
		c.Fill(a.ended)
		c.Each(a.ended, act)
		if !a.ends || c.Ended > 0 {
			a.ready()
		}
		if !a.pause(every) {
			break
		}
	}
	a.count("dialed", c.Dialed)
	a.count("not connected", c.Failed)
	a.count("ended by the server", c.Ended)
	a.count("connected at the end", c.Count())
}
