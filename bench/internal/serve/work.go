package serve

// This file holds what a handler does beside moving bytes. It is the same amount of work in every server.

import (
	"crypto/sha256"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/cloudwego/netpoll/bench/internal/frame"
)

// Work is what a handler does for each request. The zero value does nothing. It is a flag.Value.
type Work struct {
	sleep time.Duration
	hash  int           // KiB to hash: work of a fixed amount, not of a fixed time, so that a slow moment costs everyone alike
	cpu   time.Duration // the processor time that the hashing takes on this machine, if that is how it was asked for
}

// Waits reports whether the work blocks, so that a server must not do it on a goroutine that serves others.
func (w Work) Waits() bool { return w.sleep > 0 }

// Heavy reports whether a server with event loops would hand the work to another goroutine. Work that is given as a time is
// done in the loop, to compare servers by how they share work of that length.
func (w Work) Heavy() bool { return w.sleep > 0 || w.hash > 0 && w.cpu == 0 }

// Do does it, for a request whose payload is p.
func (w Work) Do(p []byte) {
	if w.sleep > 0 {
		time.Sleep(w.sleep)
	}
	if w.hash == 0 {
		return
	}
	var block [1 << 10]byte
	copy(block[:], p)
	for range w.hash {
		sum := sha256.Sum256(block[:])
		copy(block[:], sum[:])
	}
}

// DoAll does it for each of whole requests.
func (w Work) DoAll(requests []byte) {
	for rest := requests; len(rest) > 0 && (w.sleep > 0 || w.hash > 0); {
		n := frame.HeaderLen + frame.PayloadLen(rest)
		w.Do(rest[frame.HeaderLen:n])
		rest = rest[n:]
	}
}

// String returns the form that Set takes.
func (w *Work) String() string {
	switch {
	case w == nil:
		return ""
	case w.sleep > 0:
		return "sleep=" + w.sleep.String()
	case w.cpu > 0:
		return "cpu=" + w.cpu.String()
	case w.hash > 0:
		return "hash=" + strconv.Itoa(w.hash)
	}
	return ""
}

// Set takes "", "sleep=<duration>", "hash=<KiB>" or "cpu=<duration>".
func (w *Work) Set(s string) (err error) {
	*w = Work{}
	name, value, _ := strings.Cut(s, "=")
	switch name {
	case "":
		return nil
	case "sleep":
		w.sleep, err = time.ParseDuration(value)
	case "hash":
		w.hash, err = strconv.Atoi(value)
	case "cpu":
		if w.cpu, err = time.ParseDuration(value); err == nil && w.cpu > 0 {
			w.hash = max(1, int(w.cpu/oneHash()))
		}
	default:
		return fmt.Errorf("unknown work %q", s)
	}
	if err == nil && w.sleep <= 0 && w.hash <= 0 {
		err = fmt.Errorf("work %q is not positive", s)
	}
	return err
}

// oneHash returns how long this machine takes to hash 1 KiB, when nothing disturbs it.
func oneHash() time.Duration {
	const blocks = 200
	w, best := Work{hash: blocks}, time.Hour
	for range 50 {
		start := time.Now()
		w.Do(nil)
		best = min(best, time.Since(start))
	}
	return max(best/blocks, 1)
}
