//go:build !(linux || darwin || dragonfly || freebsd || netbsd || openbsd)

package sock

import "net"

// sysVector is the list for package net, which sends on this system.
type sysVector struct{ list net.Buffers }
