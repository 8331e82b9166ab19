// Package serve is what all measured servers have in common, so that they differ in their library only: flags, the
// handler's work, and the control pipe. Over the pipe the benchmark asks a server for its figures and makes it exit.
package serve

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/pprof"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/bench/internal/stat"
)

// Config has the settings of a server.
type Config struct {
	Mode  string // which of the servers in the program
	Loops int    // event loops, for libraries that have them
	Work  Work   // what the handler does for each request
}

// Start starts a server on a free port of 127.0.0.1 and returns its address once it listens. The server runs until the
// process ends.
type Start func(Config) (addr string, err error)

// Main runs a server program until its standard input ends.
func Main(start Start) {
	var cfg Config
	flag.StringVar(&cfg.Mode, "mode", "", "which of the servers in this program")
	flag.IntVar(&cfg.Loops, "loops", 1, "event loops")
	flag.Var(&cfg.Work, "work", "what the handler does: nothing, sleep=1ms or hash=32 (KiB)")
	flag.Parse()
	if err := run(cfg, start); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(cfg Config, start Start) error {
	raiseFileLimit()
	signal.Ignore(unix.SIGINT) // the terminal interrupts the whole group; this process exits at the end of its input
	addr, err := start(cfg)
	if err != nil {
		return fmt.Errorf("start the server: %w", err)
	}
	fmt.Println(addr)
	return Control(os.Stdin, os.Stdout)
}

// raiseFileLimit raises the soft limit for descriptors to the hard limit. It returns no error: if the limit stays too
// low, a large scenario fails with an error that says so.
func raiseFileLimit() {
	var lim unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &lim) == nil {
		lim.Cur = lim.Max
		_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &lim)
	}
}

// Control answers the commands of package stat until in ends.
func Control(in io.Reader, out io.Writer) error {
	source := stat.NewSource()
	enc := json.NewEncoder(out)
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		var failure string
		read := source.Read
		fields := strings.Fields(lines.Text())
		switch {
		case len(fields) == 1 && fields[0] == stat.Read:
		case len(fields) == 1 && fields[0] == stat.Collect:
			read = source.Collect
		case len(fields) == 3 && fields[0] == stat.Profile:
			if err := profile(fields[1], fields[2]); err != nil {
				failure = err.Error()
			}
		default:
			return fmt.Errorf("unknown command %q", lines.Text())
		}
		r, err := read()
		if err != nil {
			return err
		}
		r.ProfileError = failure
		if err := enc.Encode(r); err != nil {
			return fmt.Errorf("answer: %w", err)
		}
	}
	return lines.Err()
}

// profile writes a CPU profile of the next seconds to a file.
func profile(path, seconds string) error {
	s, err := strconv.ParseFloat(seconds, 64)
	if err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		f.Close()
		return err
	}
	<-time.After(time.Duration(s * float64(time.Second)))
	pprof.StopCPUProfile()
	return f.Close()
}
