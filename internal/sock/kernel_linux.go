package sock

import "golang.org/x/sys/unix"

// KernelRelease is the release of the kernel, such as "6.18.2-generic", or "" if it does not tell.
func KernelRelease() string {
	var name unix.Utsname
	if unix.Uname(&name) != nil {
		return ""
	}
	return unix.ByteSliceToString(name.Release[:])
}
