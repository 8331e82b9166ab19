package caller

// This file holds programs that load a server in a way of their own.

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/cloudwego/netpoll/bench/internal/stat"
)

// Loader loads a server.
type Loader interface {
	// Load loads the server for a while. What is under way at its end is so at the beginning of the next call.
	Load(d time.Duration) (*Result, error)
	Close()
}

// MainOf runs a program that has connected to its server: it prints "ready", starts at a line on its standard input, prints a
// [Result], and returns at the end of its input.
func MainOf(load Loader, warmup, window time.Duration) error {
	defer load.Close()
	fmt.Println("ready")
	lines := bufio.NewScanner(os.Stdin)
	if !lines.Scan() {
		return errors.Join(errors.New("not started"), lines.Err())
	}
	if _, err := load.Load(warmup); err != nil {
		return err
	}
	source := stat.NewSource()
	before, err := source.Read()
	if err != nil {
		return err
	}
	began := time.Now()
	res, err := load.Load(window)
	if err != nil {
		return err
	}
	res.Elapsed = time.Since(began)
	res.Before = before
	if res.After, err = source.Read(); err != nil {
		return err
	}
	if err := json.NewEncoder(os.Stdout).Encode(res); err != nil {
		return err
	}
	for lines.Scan() { // until the end of the input
	}
	return lines.Err()
}

// ResultOf puts latencies, in nanoseconds, into a result.
func ResultOf(h *hdrhistogram.Histogram, lost int) *Result {
	q := func(p float64) time.Duration { return time.Duration(h.ValueAtQuantile(p)) }
	return &Result{Requests: int(h.TotalCount()), P50: q(50), P90: q(90), P99: q(99), P999: q(99.9),
		Max: time.Duration(h.Max()), Lost: lost}
}
