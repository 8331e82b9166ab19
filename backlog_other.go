//go:build !unix && !windows

package netpoll

// setBacklog fails: there are no sockets to tell it to.
func setBacklog(uintptr, int) error { return Exception(ErrUnsupported, "Backlog") }
