package serve

// This file holds what a handler does beside moving bytes. It is the same amount of work in every server.

import (
	"crypto/sha256"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Work is what a handler does for each request. The zero value does nothing. It is a flag.Value.
type Work struct {
	sleep time.Duration
	hash  int // KiB to hash: work of a fixed amount, not of a fixed time, so that a slow moment costs everyone alike
}

// Waits reports whether the work blocks, so that a server must not do it on a goroutine that serves others.
func (w Work) Waits() bool { return w.sleep > 0 }

// Heavy reports whether a server with event loops would hand the work to another goroutine.
func (w Work) Heavy() bool { return w.sleep > 0 || w.hash > 0 }

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

// String returns the form that Set takes.
func (w *Work) String() string {
	switch {
	case w == nil:
		return ""
	case w.sleep > 0:
		return "sleep=" + w.sleep.String()
	case w.hash > 0:
		return "hash=" + strconv.Itoa(w.hash)
	}
	return ""
}

// Set takes "", "sleep=<duration>" or "hash=<KiB>".
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
	default:
		return fmt.Errorf("unknown work %q", s)
	}
	if err == nil && w.sleep <= 0 && w.hash <= 0 {
		err = fmt.Errorf("work %q is not positive", s)
	}
	return err
}
