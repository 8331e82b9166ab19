//go:build !linux

package sock

// KernelRelease is not needed on this system.
func KernelRelease() string { return "" }
