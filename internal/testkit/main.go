package testkit

// This file holds TestMain of the packages whose tests make connections.

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// Main runs the tests and exits, with a failure if they left goroutines or sockets behind.
func Main(m *testing.M) {
	goleak.VerifyTestMain(m,
		// Pollers belong to the process, and stay for the next connection.
		goleak.IgnoreAnyFunction("github.com/cloudwego/netpoll.(*poller).run"),
		goleak.IgnoreAnyFunction("github.com/cloudwego/netpoll/internal/alarm.(*timerfd).run"), // of a poller's watchdog
		goleak.IgnoreAnyFunction("runtime.handleEvent"),                                        // of the Go runtime under JavaScript
		goleak.Cleanup(func(code int) {
			if left := socketsLeft(); code == 0 && left > 0 {
				fmt.Fprintf(os.Stderr, "the tests left %d sockets open\n", left)
				code = 1
			}
			os.Exit(code)
		}))
}

// socketsLeft waits until the process has no sockets left. If that takes too long, it returns how many there are.
func socketsLeft() (n int) {
	limit := time.Now().Add(Timeout / 4)
	for n = OpenSockets(); n > 0 && time.Now().Before(limit); n = OpenSockets() {
		runtime.GC() // so that finalizers of package net close sockets that a test has dropped on purpose
		<-time.After(10 * time.Millisecond)
	}
	return n
}

// OpenSockets returns how many sockets the process has. On systems without /dev/fd it is always 0.
func OpenSockets() (n int) {
	entries, _ := os.ReadDir("/dev/fd")
	for _, e := range entries {
		if info, err := os.Stat(filepath.Join("/dev/fd", e.Name())); err == nil && info.Mode()&os.ModeSocket != 0 {
			n++
		}
	}
	return n
}
