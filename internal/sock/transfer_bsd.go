//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package sock

// This file holds receiving and sending one piece.

import "golang.org/x/sys/unix"

func readNow(fd int, p []byte) (int, error)  { return unix.Read(fd, p) }
func writeNow(fd int, p []byte) (int, error) { return unix.Write(fd, p) }
