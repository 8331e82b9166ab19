//go:build !(linux || darwin || dragonfly || freebsd || netbsd || openbsd)

package sock

import "net"

// sysVector is what package net, which sends on this system, takes.
type sysVector struct{ list net.Buffers }
