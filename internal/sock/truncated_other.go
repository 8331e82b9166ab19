//go:build !unix && !windows

package sock

// Truncated cannot report it on these systems.
func Truncated(_ int, err error) (truncated bool, other error) { return false, err }
