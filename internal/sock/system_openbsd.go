package sock

// This file holds what sockets of OpenBSD lack: times of TCP keepalive, which are the system's, and a way to say that
// writing shall cause no signal.

// What setting the keepalive times takes: there are no such options.
const (
	keepAliveIdle     = 0
	keepAliveInterval = 0
	keepAliveCount    = 0
)

// NoSigpipe has nothing to do: the Go runtime makes an error of the signal.
func NoSigpipe(int) {}
