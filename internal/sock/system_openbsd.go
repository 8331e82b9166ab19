package sock

// This file stands in for options that sockets of OpenBSD lack: times of TCP keepalive, which are the system's, and the
// option that writing causes no signal.

// OpenBSD has no options that set the keepalive times.
const (
	keepAliveIdle     = 0
	keepAliveInterval = 0
	keepAliveCount    = 0
)

// NoSigpipe has nothing to do: the Go runtime makes an error of the signal.
func NoSigpipe(int) {}
