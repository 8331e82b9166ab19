package main

// This file holds the attacks.

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/reliability/internal/peer"
	"github.com/cloudwego/netpoll/reliability/internal/victim"
)

const (
	slowRound = 200 * time.Millisecond // between two rounds of slow attacks
	fastRound = time.Millisecond       // between two rounds of fast attacks
)

// stream returns an act that sends p again and again, at most most bytes in a round. *sent says how much of p is sent,
// so the stream of frames stays intact when the socket takes only a part.
func stream(p []byte, most int) func(fd int, sent *int) error {
	return func(fd int, sent *int) error {
		for left := most; left > 0; {
			at := *sent % len(p)
			n, err := peer.Send(fd, p[at:min(len(p), at+left)])
			if err != nil {
				return err
			}
			if n == 0 {
				return nil
			}
			*sent += n
			left -= n
		}
		return nil
	}
}

// once returns an act that sends p once. Then it only checks whether the server has closed the connection.
func once(p []byte) func(fd int, sent *int) error {
	return func(fd int, sent *int) error {
		if *sent == len(p) {
			var one [1]byte
			_, err := peer.Receive(fd, one[:])
			return err
		}
		n, err := peer.Send(fd, p[*sent:])
		*sent += n
		return err
	}
}

// swallow returns an act that calls act and then reads at most most bytes.
func swallow(most int, act func(fd int, sent *int) error) func(fd int, sent *int) error {
	buf := make([]byte, most)
	return func(fd int, sent *int) error {
		if err := act(fd, sent); err != nil {
			return err
		}
		_, err := peer.Receive(fd, buf)
		return err
	}
}

func slowloris(a *attacker) {
	frame := victim.Frame(make([]byte, 60<<10)) // takes hours at a byte per round
	a.crowd(peer.Options{}, slowRound, stream(frame, 1))
}

func silence(a *attacker) { a.crowd(peer.Options{}, slowRound, once(nil)) }

func neverReads(a *attacker) {
	a.crowd(peer.Options{}, fastRound, stream(victim.Ask('b', 256<<10, 0), 4<<10))
}

func sendsForEver(a *attacker) {
	body := make([]byte, 16<<10)
	body[0] = 'e'
	a.crowd(peer.Options{}, fastRound, stream(victim.Frame(body), 256<<10))
}

func sendsAndStays(a *attacker) {
	body := make([]byte, 64<<10)
	body[0] = 'e'
	a.crowd(peer.Options{}, fastRound, swallow(128<<10, once(victim.Frame(body))))
}

func tinyWindow(a *attacker) {
	a.crowd(peer.Options{ReceiveBuffer: 1}, slowRound, swallow(16, stream(victim.Ask('b', 64<<10, 0), 64)))
}

func oneByteSegments(a *attacker) {
	body := make([]byte, 60)
	body[0] = 'e'
	a.crowd(peer.Options{}, fastRound, swallow(4<<10, stream(victim.Frame(body), 1)))
}

func giantFrame(a *attacker) {
	frame := append(victim.Announce(1<<30), 'e', 'e', 'e') // the rest is never sent
	a.crowd(peer.Options{}, slowRound, func(fd int, sent *int) error {
		most := 1
		if *sent == 0 {
			most = 4
		}
		return once(frame[:min(len(frame), *sent+most)])(fd, sent)
	})
}

func halfClose(a *attacker) {
	part := []byte{0, 0}
	a.crowd(peer.Options{}, slowRound, func(fd int, sent *int) error {
		if *sent == 0 {
			*sent, _ = peer.Send(fd, part)
			return unix.Shutdown(fd, unix.SHUT_WR)
		}
		var one [1]byte
		_, err := peer.Receive(fd, one[:]) // returns an error when the server has closed, too
		return err
	})
}

// pendingConnects does not wait until its connections are established.
func pendingConnects(a *attacker) {
	a.crowd(peer.Options{Nowait: true}, slowRound, func(fd int, _ *int) error {
		var one [1]byte
		_, err := peer.Receive(fd, one[:])
		if err == unix.ENOTCONN || err == unix.EINPROGRESS {
			return nil
		}
		return err
	})
}

// comesBack connects again as soon as the server has closed its connection.
func comesBack(a *attacker) { a.crowd(peer.Options{}, 10*time.Millisecond, once(nil)) }

// resetStorm resets connections as fast as it can: before a request, within one, or after one.
func resetStorm(a *attacker) {
	var storm sync.WaitGroup
	for range a.peers {
		storm.Go(func() {
			frame := victim.Ask('b', 64<<10, 0)
			for n := byte(0); !a.ended(); n++ {
				fd, err := peer.Dial(a.addr, peer.Options{From: n%200 + 2})
				if err != nil {
					a.count("not connected", 1)
					continue
				}
				_, _ = peer.Send(fd, frame[:int(n)%(len(frame)+1)])
				unix.Close(fd) // a reset
				a.count("resets", 1)
				a.ready()
			}
		})
	}
	storm.Wait()
}
