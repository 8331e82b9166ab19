package netpoll

// This file holds the logger. It is for events that no caller can get as an error, such as a panic in a callback.
// Nothing is written in normal operation, and nothing for each connection.

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"sync/atomic"

	"github.com/cloudwego/netpoll/internal/runner"
)

// processLog may be used and redirected by many goroutines at once.
var processLog = log.New(os.Stderr, "", log.LstdFlags)

// structuredLog takes its place while it is not nil. Stored by setLogOutput and setLogger.
var structuredLog atomic.Pointer[slog.Logger]

func logger() *log.Logger {
	if l := structuredLog.Load(); l != nil {
		return slog.NewLogLogger(l.Handler(), slog.LevelError)
	}
	return processLog
}

// logPanic logs a failure that has a text for lines, and attributes for a structured logger.
func logPanic(text string, attributes ...any) {
	if l := structuredLog.Load(); l != nil {
		l.Error("netpoll: a callback failed", attributes...)
		return
	}
	processLog.Printf("netpoll: %s", text)
}

// setLogOutput sets where messages go; nil drops them. Those of the runner go there, too.
func setLogOutput(w io.Writer) {
	if w == nil {
		w = io.Discard
	}
	processLog.SetOutput(w)
	structuredLog.Store(nil)
	takePanics()
}

// setLogger makes messages go to l.
func setLogger(l *slog.Logger) {
	structuredLog.Store(l)
	takePanics()
}

// takePanics makes panics in the runner, of no connection, go where messages go.
func takePanics() {
	runner.OnPanic(func(_ context.Context, v any, stack []byte) {
		logPanic(fmt.Sprintf("panic in a callback: %v\n%s", v, stack), "panic", v, "stack", string(stack))
	})
}
