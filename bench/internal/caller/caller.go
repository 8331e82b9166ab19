// Package caller is what measured clients have in common: many callers, each with one call under way, as in a program
// that makes remote calls. A library supplies the connections; this package makes the calls and measures them.
package caller

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cloudwego/netpoll/bench/internal/frame"
	"github.com/cloudwego/netpoll/bench/internal/stat"
)

// Config has the settings of a client.
type Config struct {
	Addr    string
	Callers int
	Conns   int    // pool: how many connections are opened; mux: how many are shared
	Mode    string // pool, mux or dial: a new connection for each call
	Size    int    // payload, in bytes
	Warmup  time.Duration
	Window  time.Duration
}

// Conn is a connection that carries one call at a time.
type Conn interface {
	// Call sends the request with that stamp, waits for the response, and verifies it.
	Call(t *frame.Template, stamp uint64) error
	// Alive reports whether the connection is open, as well as the library can tell without reading.
	Alive() bool
	Close() error
}

// Mux is a connection that carries many calls at once.
type Mux interface {
	// Send sends the request with that stamp. It may queue the request and return before it is sent.
	Send(t *frame.Template, stamp uint64) error
	Close() error
}

// Library makes connections.
type Library interface {
	Dial(addr string) (Conn, error)
	// DialMux calls received with each message, which is valid until received returns, and with an error when the
	// connection ends.
	DialMux(addr string, received func(msg []byte, err error)) (Mux, error)
}

// Result is what a client prints when it is done.
type Result struct {
	Requests      int
	Elapsed       time.Duration
	P50, P90, P99 time.Duration
	P999, Max     time.Duration
	Lost          int          // of datagrams: how many were not answered
	Before, After stat.Reading // at the beginning and the end of the window
	Settled       stat.Reading // after the window and a garbage collection, connections still open
}

// Main runs a client program: it prints "ready" when it is connected, starts at a line on its standard input, prints a
// Result, and exits at the end of its input.
func Main(lib Library) {
	var cfg Config
	flag.StringVar(&cfg.Addr, "addr", "", "of the server")
	flag.IntVar(&cfg.Callers, "callers", 100, "callers, each with one call under way")
	flag.IntVar(&cfg.Conns, "conns", 100, "connections")
	flag.StringVar(&cfg.Mode, "mode", "pool", "pool, mux or dial")
	flag.IntVar(&cfg.Size, "size", 1024, "payload in bytes")
	flag.DurationVar(&cfg.Warmup, "warmup", 200*time.Millisecond, "before the measurement")
	flag.DurationVar(&cfg.Window, "window", time.Second, "of the measurement")
	flag.Parse()
	if err := run(cfg, lib, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(cfg Config, lib Library, in io.Reader, out io.Writer) error {
	t, err := frame.NewTemplate(cfg.Size)
	if err != nil {
		return err
	}
	c, err := connect(cfg, lib, t)
	if err != nil {
		return err
	}
	defer c.close()
	fmt.Fprintln(out, "ready")
	lines := bufio.NewScanner(in)
	if !lines.Scan() {
		return errors.Join(errors.New("not started"), lines.Err())
	}
	res, err := measure(cfg, c)
	if err != nil {
		return err
	}
	if err := json.NewEncoder(out).Encode(res); err != nil {
		return err
	}
	for lines.Scan() { // until the end of the input
	}
	return lines.Err()
}

// carrier makes calls in one of the modes.
type carrier interface {
	// call makes one call for the caller of that number. A caller makes one call at a time.
	call(caller int, stamp uint64) error
	close()
}

func connect(cfg Config, lib Library, t *frame.Template) (carrier, error) {
	switch cfg.Mode {
	case "pool":
		return newPool(cfg, lib, t)
	case "mux":
		return newShared(cfg, lib, t)
	case "dial":
		return &dialing{cfg.Addr, lib, t}, nil
	}
	return nil, fmt.Errorf("unknown mode %q", cfg.Mode)
}

// measure runs all callers until the end of the window.
func measure(cfg Config, c carrier) (*Result, error) {
	var (
		running sync.WaitGroup
		stop    atomic.Bool
		failed  = make(chan error, cfg.Callers)
		rec     recorder
	)
	for i := range cfg.Callers {
		running.Go(func() {
			for n := uint64(0); !stop.Load(); n++ {
				began := time.Now()
				if err := c.call(i, uint64(i)<<32|n); err != nil {
					failed <- fmt.Errorf("caller %d: %w", i, err)
					return
				}
				rec.add(i, time.Since(began))
			}
		})
	}
	defer stop.Store(true)
	wait := func(d time.Duration) error {
		select {
		case err := <-failed:
			return err
		case <-time.After(d):
			return nil
		}
	}
	if err := wait(cfg.Warmup); err != nil {
		return nil, err
	}
	res := new(Result)
	source := stat.NewSource()
	rec.reset()
	began := time.Now()
	before, err1 := source.Read()
	err2 := wait(cfg.Window)
	after, err3 := source.Read()
	res.Elapsed = time.Since(began)
	rec.result(res)
	stop.Store(true)
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, err
	}
	running.Wait()
	if len(failed) > 0 {
		return nil, <-failed
	}
	res.Before, res.After = before, after
	settled, err := source.Collect()
	res.Settled = settled
	return res, err
}
