// Package serve is what every measured process has in common, so that servers differ in their library only: flags,
// the handler's work, and the control pipe over which it is asked for its own figures and told to end.
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
	Mode  string // which of the servers in one program
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
	signal.Ignore(unix.SIGINT) // an interrupt at the terminal reaches the whole group; the end of the input ends this one
	addr, err := start(cfg)
	if err != nil {
		return fmt.Errorf("start the server: %w", err)
	}
	fmt.Println(addr)
	return Control(os.Stdin, os.Stdout)
}

// raiseFileLimit allows as many descriptors as the system lets this process have. Without it large scenarios fail with
// an error that says so, hence none here.
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
