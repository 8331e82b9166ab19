//go:build !linux

package sock

// UsesMultipath is known on Linux only.
func UsesMultipath(int) bool { return false }
