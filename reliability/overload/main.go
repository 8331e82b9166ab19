// Command overload gives a server of this library more work than the machine can do, in three ways. It measures which
// requests are answered, what happens to the others, and whether the server is as before when the load has ended.
//
//	go run ./overload         # 10 s for each
//
// It checks that memory and descriptors stay within limits and that the server recovers, and reports that by its exit
// status. It only prints latencies.
package main

// This file holds the command.

import (
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/cloudwego/netpoll/reliability/internal/child"
	"github.com/cloudwego/netpoll/reliability/internal/victim"
)

var roles = map[string]child.Role{victim.RoleName: victim.Role}

// trials are the ways to overload the server.
var trials = []struct {
	name   string
	server victim.Config
	body   func(t *trial, d time.Duration) error
}{
	{"requests", victim.Config{ReadLimit: readLimit}, tooManyRequests},
	{"arrivals", victim.Config{ReadLimit: readLimit, MaxConns: places, Backlog: backlog}, tooManyArrivals},
	{"shutdown", victim.Config{ReadLimit: readLimit}, shutDown},
}

func main() {
	child.Main(roles)
	d := flag.Duration("d", 10*time.Second, "how long each overload lasts")
	only := flag.String("run", "", "only the trial of this name: requests, arrivals or shutdown")
	flag.Parse()
	failed, ran := false, false
	for _, one := range trials {
		if *only != "" && *only != one.name {
			continue
		}
		ran = true
		r, err := run(one.name, one.server, func(t *trial) error { return one.body(t, *d) })
		if err != nil {
			failed = true
			fmt.Fprintf(os.Stderr, "FAIL: %v\n", err)
		}
		r.report(os.Stdout)
	}
	if !ran {
		fmt.Fprintf(os.Stderr, "there is no trial %q\n", *only)
	}
	if failed || !ran {
		os.Exit(1)
	}
}

// report writes the result of a trial, in Markdown.
func (r *result) report(w io.Writer) {
	fmt.Fprintf(w, "**%s**: capacity %.0f requests/s, offered %.0f/s\n\n", r.Name, r.Capacity, r.Rate)
	for _, p := range []struct {
		name string
		phase
	}{{"normal load", r.Normal}, {"overload", r.Over}, {"normal load again", r.Recovered}} {
		if p.Offered > 0 {
			fmt.Fprintf(w, "- %s: %d offered, %d answered, %d held back at the sender (its socket was full);"+
				" p50 %s, p99 %s ms\n", p.name, p.Offered, p.Answered, p.Held, ms(p.P50), ms(p.P99))
		}
	}
	if r.Drained > 0 {
		fmt.Fprintf(w, "- the last answer came %s ms after the end of the overload\n", ms(r.Drained))
	}
	if r.Fates != nil {
		fmt.Fprintf(w, "- arrivals: %s; p99 of the served %s ms\n", counts(r.Fates), ms(r.FatesP99))
	}
	if r.Later != nil {
		fmt.Fprintf(w, "- arrivals at normal load again: %s; p99 %s ms\n", counts(r.Later), ms(r.LaterP99))
	}
	if r.Down.ShutdownTook > 0 {
		fmt.Fprintf(w, "- Shutdown took %s ms and returned %q; arrivals after it are refused: %v;"+
			" Serve returned nil: %v\n", ms(r.Down.ShutdownTook), r.Down.Shutdown, r.RefusedAfterDown, r.Down.Served)
	}
	fmt.Fprintf(w, "- server: heap %.1f → %.1f (bound %.0f) → %.1f MiB, resident %.0f → %.0f → %.0f MiB, descriptors"+
		" %d → %d → %d, goroutines %d → %d → %d\n\n",
		mebi(r.Before.Inside.Live), mebi(r.Heap), mebi(r.Bound), mebi(r.After.Inside.Live),
		mebi(r.Before.RSS), mebi(r.RSS), mebi(r.After.RSS),
		r.Before.Descriptors, r.Descriptors, r.After.Descriptors,
		r.Before.Inside.Goroutines, r.Goroutines, r.After.Inside.Goroutines)
}

func mebi(n int64) float64 { return float64(n) / (1 << 20) }

func ms(d time.Duration) string { return fmt.Sprintf("%.1f", d.Seconds()*1000) }

func counts(m map[string]int) string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		list = append(list, fmt.Sprintf("%d %s", m[name], name))
	}
	return strings.Join(list, ", ")
}
