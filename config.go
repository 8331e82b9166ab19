package netpoll

// This file holds the settings of the whole process: Configure, and the setters that came before it.

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/cloudwego/netpoll/internal/runner"
)

// Config holds settings for the whole process. The zero value of a field leaves that setting as it is.
type Config struct {
	// PollerNum is the number of pollers: the queues of the system in which descriptors become ready. A goroutine looks
	// into each, and more join it, up to the number of processors, when there is work for them. When it shrinks,
	// connections stay with their poller, which ends after the last of them.
	PollerNum int

	// BufferSize is how much a connection receives at once, in bytes, until it has learned what its peer sends. It
	// counts for connections made afterwards. The default is 4 KiB.
	BufferSize int

	// Runner runs OnConnect, OnRequest and OnDisconnect. It must call f exactly once, and not before returning: f may
	// block for as long as the user's callback does. The default is a pool of goroutines, and beside it the poll
	// goroutine itself for handlers that have been quick so far; see [OnRequest].
	Runner func(ctx context.Context, f func())

	// LoggerOutput is where messages go for which there is no caller to return an error to, such as a panic in a
	// callback. The default is os.Stderr.
	LoggerOutput io.Writer

	// Logger takes the same messages in place of LoggerOutput, at the level Error. Those of a callback that has panicked
	// have the attributes "callback", "conn" (its ID), "peer", "panic" and "stack". If both are set, Logger counts.
	Logger *slog.Logger

	// OnPanic is called when a callback of a connection has panicked, or has ended its goroutine, after the message about
	// it, on the goroutine of the callback, and before the connection is closed. It must not panic itself. It stays once it
	// is set, until another is.
	OnPanic func(PanicReport)

	// SlowHandler is how long a callback of a connection may take before OnSlowHandler is called: when it has returned, on
	// its goroutine. The two must be set together. While they are, each callback costs two readings of the clock.
	SlowHandler   time.Duration
	OnSlowHandler func(SlowReport)

	// LoadBalance says how new connections are spread over the pollers. [RoundRobin], which is the zero value, leaves
	// the setting as it is: to return to it use [SetLoadBalance].
	LoadBalance LoadBalance

	// ReadLimit limits the unread input of a connection, in bytes; see [WithReadLimit]. It counts for connections
	// dialed and event loops made afterwards. A negative value means no limit. The default is 1 MiB.
	ReadLimit int

	// IOUring says whether pollers may use io_uring. It counts at once. The environment variable NETPOLL_IOURING, with
	// the values auto, on, off and always, overrides it. [Features] tells whether io_uring is used. [IOUringAuto],
	// which is the zero value, leaves the setting as it is.
	IOUring IOUringMode

	// AIO says whether pollers may use Linux AIO where they do not use io_uring. It counts at once. The environment
	// variable NETPOLL_AIO, with the values auto, on, off and always, overrides it. [Features] tells whether AIO is
	// used. [AIOAuto], which is the zero value, leaves the setting as it is.
	AIO AIOMode

	// DirectFlush makes every Flush send by itself, as [WithDirectFlush] does for the connections of one server. It
	// counts for connections made afterwards, and stays once it is set.
	DirectFlush bool

	// Feature holds switches for behaviour that is not the default.
	Feature
}

// Feature holds switches for behaviour that is not the default.
type Feature struct {
	// AlwaysNoCopyRead has no effect. Next, Peek, Slice and Until never copy what lies in one block, and ReadBinary
	// and ReadString always copy, whatever it says.
	//
	// Deprecated: leave it out.
	AlwaysNoCopyRead bool
}

// Configure changes the settings that are set in config and no others. If one of them is not valid it returns an error
// and changes none. It may be called at any time, from any goroutine, with connections open.
func Configure(config Config) (err error) {
	switch {
	case config.PollerNum < 0:
		return fmt.Errorf("netpoll: configure: number of pollers is %d", config.PollerNum)
	case config.BufferSize < 0:
		return fmt.Errorf("netpoll: configure: buffer size is %d", config.BufferSize)
	case config.SlowHandler < 0 || (config.SlowHandler > 0) != (config.OnSlowHandler != nil):
		return fmt.Errorf("netpoll: configure: slow handler is %v, and what to call is set: %v", config.SlowHandler,
			config.OnSlowHandler != nil)
	case config.LoadBalance != RoundRobin && config.LoadBalance != Random:
		return fmt.Errorf("netpoll: configure: unknown load balance %d", int(config.LoadBalance))
	case config.IOUring < IOUringAuto || config.IOUring > IOUringAlways:
		return fmt.Errorf("netpoll: configure: unknown io_uring mode %d", int(config.IOUring))
	case config.AIO < AIOAuto || config.AIO > AIOAlways:
		return fmt.Errorf("netpoll: configure: unknown aio mode %d", int(config.AIO))
	}
	if err := defaultExecutors.ring.possible(executorMode(config.IOUring)); err != nil {
		return fmt.Errorf("netpoll: configure io_uring: %w", err)
	}
	if err := defaultExecutors.aio.possible(executorMode(config.AIO)); err != nil {
		return fmt.Errorf("netpoll: configure linux aio: %w", err)
	}
	if config.PollerNum > 0 { // first, because it is the one that can fail
		if err := SetNumLoops(config.PollerNum); err != nil {
			return err
		}
	}
	if config.LoadBalance != RoundRobin {
		if err := SetLoadBalance(config.LoadBalance); err != nil {
			return err
		}
	}
	if config.BufferSize > 0 {
		bufferSize.Store(int64(config.BufferSize))
	}
	if config.ReadLimit != 0 {
		readLimit.Store(int64(config.ReadLimit))
	}
	if config.IOUring != IOUringAuto {
		defaultExecutors.ring.set(executorMode(config.IOUring))
	}
	if config.AIO != AIOAuto {
		defaultExecutors.aio.set(executorMode(config.AIO))
	}
	if config.DirectFlush {
		directFlush.Store(true)
	}
	if config.Runner != nil {
		SetRunner(config.Runner)
	}
	if config.LoggerOutput != nil {
		SetLoggerOutput(config.LoggerOutput)
	}
	if config.Logger != nil {
		setLogger(config.Logger)
	}
	if config.OnPanic != nil {
		panicHook.Store(&config.OnPanic)
	}
	if config.OnSlowHandler != nil {
		slowHook.Store(&slowHandlers{limit: config.SlowHandler, report: config.OnSlowHandler})
	}
	return nil
}

// Initialize starts the pollers now; without it they start with the first connection or listener. It may be called any
// number of times. If they cannot be started, the next call that needs them tries again and returns the error.
func Initialize() {
	_ = pollers.init()
}

// SetNumLoops sets the number of pollers, at least 1; see [Config].PollerNum.
//
// Deprecated: use [Configure].
func SetNumLoops(numLoops int) error {
	return pollers.resize(numLoops)
}

// SetLoadBalance sets how new connections are spread over the pollers.
//
// Deprecated: use [Configure], except for returning to [RoundRobin].
func SetLoadBalance(lb LoadBalance) error {
	return pollers.setBalance(lb)
}

// SetRunner sets what runs the callbacks; see [Config].Runner. A nil f restores the default.
//
// Deprecated: use [Configure].
func SetRunner(f func(ctx context.Context, f func())) {
	runner.Set(f)
}

// DisableGopool runs every callback in a goroutine of its own instead of one from a pool. It returns nil.
//
// Deprecated: use [Configure] with a Runner.
func DisableGopool() error {
	runner.UseGoroutines()
	return nil
}

// SetLoggerOutput sets where messages go; see [Config].LoggerOutput. A nil w drops them.
//
// Deprecated: use [Configure].
func SetLoggerOutput(w io.Writer) { setLogOutput(w) }
