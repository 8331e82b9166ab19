package netpoll

// This file holds the logger. It is for events that no caller can get as an error, such as a panic in a callback.
// Nothing is written in normal operation, and nothing for each connection.

import (
	"context"
	"io"
	"log"
	"os"

	"github.com/cloudwego/netpoll/internal/runner"
)

// processLog may be used and redirected by many goroutines at once.
var processLog = log.New(os.Stderr, "", log.LstdFlags)

func logger() *log.Logger { return processLog }

// setLogOutput sets where messages go; nil drops them. Those of the runner go there, too.
func setLogOutput(w io.Writer) {
	if w == nil {
		w = io.Discard
	}
	processLog.SetOutput(w)
	runner.OnPanic(func(_ context.Context, v any, stack []byte) {
		processLog.Printf("netpoll: panic in a callback: %v\n%s", v, stack)
	})
}
