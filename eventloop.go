package netpoll

// This file holds what a user of the server sees: the EventLoop and the error of its shutdown. The callbacks
// are in connection_callbacks.go; how it works is in server.go.

import (
	"context"
	"fmt"
	"net"
)

// EventLoop is a server: it accepts connections and calls the handlers for their events. The callbacks of one
// connection come in this order, each at most once except OnRequest:
//
//	OnPrepare        accepted; nothing has been read yet
//	OnConnect        open
//	OnRequest        there is input; again and again, one at a time
//	OnDisconnect     the peer is gone; beside an OnRequest that is still running
//	CloseCallbacks   the connection is closed and no OnRequest runs any more; the last one added comes first
//
// Then the descriptor is closed. A connection is closed by Close, and by itself when the peer is gone, OnRequest has
// had the chance to read the input before that, and OnDisconnect has returned; see [WithAllowHalfOpen]. Without an
// OnRequest it belongs to the program, which must close it. OnDisconnect does not run for a connection that was closed
// on this side first.
//
// A panic in a callback is logged and closes that connection; the server goes on. A callback that ends its goroutine by
// [runtime.Goexit], as FailNow of package testing does, counts as one that panicked: its connection is closed.
type EventLoop interface {
	// Serve accepts connections from ln, which it owns from then on, and blocks. It returns nil when Shutdown begins,
	// or at once if Shutdown was called before. Connections may still be busy then, so a program that wants an orderly
	// end waits for Shutdown, not for Serve. It returns an error when ln can accept no more; if that is because the
	// program closed ln, the error Is [net.ErrClosed]. When Serve returns ln is closed, except for an error that Is
	// [ErrUnsupported]: then ln is of a kind that cannot be served, such as sockets of packets. A second Serve of a
	// listener that is being served returns an error, too, and does not close it.
	//
	// Serve may be called several times at once, with a listener each.
	//
	// A *net.TCPListener or *net.UnixListener goes through [ConvertListener] first: Serve goes on until Shutdown, even
	// if the program closes it. Any other listener that is not of this package, of TLS or in memory, is asked for new
	// connections by its Accept, in the goroutine of Serve. Each accepted net.Conn becomes a connection as by
	// [NewConnection]. An OnPrepare that ends that goroutine ends Serve with it, and ln is closed.
	Serve(ln net.Listener) error

	// Shutdown ends the server. It closes the listeners and makes every Serve return, closes the connections that are
	// idle, and waits for the others: each is closed as soon as its handlers have returned and nothing is left to read.
	// If ctx ends first Shutdown returns a [*ShutdownError] with the connections that are still busy. They go on as
	// before and close when they become idle; listeners and connections whose own Close takes longer go on closing.
	// Only the first call does all this; later ones return nil at once.
	Shutdown(ctx context.Context) error
}

// NewEventLoop makes an event loop that is ready to Serve. It starts nothing and returns no error. A nil onRequest
// leaves a connection to the program, which reads and closes it, or to a handler that OnConnect sets by SetOnRequest.
func NewEventLoop(onRequest OnRequest, ops ...Option) (EventLoop, error) {
	return newServer(newOptions(onRequest, ops)), nil
}

// ShutdownError says that the context of a Shutdown ended before the last connection did, or the last handler of a
// [PacketLoop].
type ShutdownError struct {
	// Err is the error of the context.
	Err error
	// Busy holds the connections that Shutdown could not close because they were in use, and those whose close
	// callbacks have not returned, in no particular order. A closed connection whose [net.Conn] takes long to close is
	// not busy.
	Busy []Connection
}

// Error gives the error of the context and the number of busy connections.
func (e *ShutdownError) Error() string {
	if len(e.Busy) == 0 { // a PacketLoop has no connections
		return fmt.Sprintf("netpoll: shutdown: %v", e.Err)
	}
	return fmt.Sprintf("netpoll: shutdown: %v (%d connections are busy)", e.Err, len(e.Busy))
}

// Unwrap returns Err.
func (e *ShutdownError) Unwrap() error { return e.Err }
