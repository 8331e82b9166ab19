//go:build !unix && !windows

package sock

// SetBacklog fails: this system has no such call.
func SetBacklog(uintptr, int) error { return Unsupported("Backlog") }
