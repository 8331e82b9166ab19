// Command local is the client on the same machine as its server: over this library with shared memory and with a Unix
// socket, and over package net with a Unix socket.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/cloudwego/netpoll/bench/internal/caller"
	"github.com/cloudwego/netpoll/bench/internal/local"
)

type config struct {
	addr, over, mode   string
	conns, size, batch int
	warmup, window     time.Duration
}

func main() {
	var cfg config
	flag.StringVar(&cfg.addr, "addr", "", "of the server")
	flag.StringVar(&cfg.over, "over", "shm", "shm, shm-4m, shm-busy, unix, or net")
	flag.StringVar(&cfg.mode, "mode", "ping", "ping: one message there and back; oneway: as many as go out; idle: none, until the input ends")
	flag.IntVar(&cfg.conns, "conns", 1, "connections; those that are idle have echoed one message")
	flag.IntVar(&cfg.size, "size", 64, "of a message, in bytes")
	flag.IntVar(&cfg.batch, "batch", 1, "messages that are sent together")
	flag.DurationVar(&cfg.warmup, "warmup", 200*time.Millisecond, "before the measurement")
	flag.DurationVar(&cfg.window, "window", time.Second, "of the measurement")
	flag.Parse()
	if err := run(cfg); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(cfg config) error {
	if cfg.size < local.MinSize || cfg.size > local.MaxSize || cfg.batch < 1 || cfg.conns < 1 {
		return fmt.Errorf("messages of %d bytes, %d together, over %d connections", cfg.size, cfg.batch, cfg.conns)
	}
	l := &loader{cfg: cfg}
	for i := range cfg.conns {
		c, err := dial(cfg)
		if err == nil {
			l.conns = append(l.conns, c)
			err = l.echo(c)
		}
		if err != nil {
			l.Close()
			return fmt.Errorf("connection %d: %w", i, err)
		}
	}
	if cfg.mode == "idle" {
		defer l.Close()
		fmt.Println("ready")
		_, err := io.Copy(io.Discard, os.Stdin)
		return err
	}
	return caller.MainOf(l, cfg.warmup, cfg.window)
}

// conn is a connection for one goroutine.
type conn interface {
	// send sends n messages, with numbers from first on.
	send(kind local.Kind, size, n int, first uint64) error
	// receive waits for a message of that size, and returns its number.
	receive(size int) (number uint64, err error)
	close() error
}

func dial(cfg config) (conn, error) {
	if cfg.over == "net" {
		return dialNet(cfg)
	}
	return dialNetpoll(cfg)
}

// loader implements caller.Loader.
type loader struct {
	cfg    config
	conns  []conn
	number uint64
}

// echo sends a message there and back.
func (l *loader) echo(c conn) error {
	l.number++
	if err := c.send(local.Echo, l.cfg.size, 1, l.number); err != nil {
		return err
	}
	got, err := c.receive(l.cfg.size)
	if err == nil && got != l.number {
		err = fmt.Errorf("the answer to %d has the number %d", l.number, got)
	}
	return err
}

// Load implements caller.Loader.
func (l *loader) Load(d time.Duration) (*caller.Result, error) {
	h := hdrhistogram.New(1, int64(time.Minute), 3)
	now := time.Now()
	for until := now.Add(d); now.Before(until); {
		var err error
		if l.cfg.mode == "ping" {
			err = l.echo(l.conns[0])
		} else {
			err = l.conns[0].send(local.Count, l.cfg.size, l.cfg.batch, l.number)
			l.number += uint64(l.cfg.batch)
		}
		if err != nil {
			return nil, err
		}
		began := now
		now = time.Now()
		_ = h.RecordValue(int64(now.Sub(began)))
	}
	res := caller.ResultOf(h, 0)
	res.Requests *= l.cfg.batch
	return res, nil
}

// Close implements caller.Loader.
func (l *loader) Close() {
	for _, c := range l.conns {
		_ = c.close()
	}
}
