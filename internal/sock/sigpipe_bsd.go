//go:build darwin || dragonfly || freebsd || netbsd

package sock

import "golang.org/x/sys/unix"

// NoSigpipe makes writing to a socket whose peer is gone an error, and no signal, also in programs where the Go runtime
// does not do that (a C main program, or os/signal.Notify for SIGPIPE). The option belongs to the socket, so duplicates
// have it too. It fails if fd is no socket, and on macOS for one that both sides have shut already.
func NoSigpipe(fd int) { _ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_NOSIGPIPE, 1) }
