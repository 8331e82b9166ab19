// Command soak runs a server and its clients for a long time under mixed load: pipelined requests of all sizes, calls
// over the mux, short connections that end in every way, idle ones, timeouts, panics in handlers. It samples memory,
// descriptors, goroutines and threads of both processes, and fits a line to each. It fails if one of them grows, if
// anything is left at the end, or if a client got an error.
//
//	go run ./soak -o report            # an hour
//	go run ./soak -d 2m -o report
//
// The report is report/report.md; the charts are in the same folder. -leak makes the server leak, to check that the soak
// fails.
package main

// This file holds the command.

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/cloudwego/netpoll/reliability/internal/child"
	"github.com/cloudwego/netpoll/reliability/internal/victim"
)

var roles = map[string]child.Role{victim.RoleName: victim.Role, loadRole: playLoad}

func main() {
	child.Main(roles)
	set := settings{wait: patience}
	flag.DurationVar(&set.d, "d", time.Hour, "how long")
	flag.IntVar(&set.idle, "idle", 200, "number of idle connections")
	flag.Uint64Var(&set.seed, "seed", 1, "of the random numbers of the clients")
	flag.StringVar(&set.leak, "leak", "", "what the server leaks: heap, descriptors or goroutines")
	dir := flag.String("o", "", "directory for the report; a temporary one if empty")
	flag.Parse()
	ok, err := command(set, *dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

func command(set settings, dir string) (ok bool, err error) {
	if dir == "" {
		if dir, err = os.MkdirTemp("", "soak"); err != nil {
			return false, err
		}
	}
	o, err := run(set)
	if err != nil {
		return false, err
	}
	if err := o.report(dir); err != nil {
		return false, err
	}
	fmt.Print(o.markdown())
	fmt.Println("report:", filepath.Join(dir, "report.md"))
	return o.ok(), nil
}
