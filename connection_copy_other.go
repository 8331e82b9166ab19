//go:build !linux || netconn || kqsim

package netpoll

// This file holds copying where the bytes have to pass through the process.

import "io"

// oneShot: where nothing is spliced, nothing is reported once only.
type oneShot struct{}

func (*oneShot) Load() bool { return false }

// moveFrom moves nothing: done is false.
func (c *connection) moveFrom(io.Reader, int64) (n int64, done bool, err error) { return 0, false, nil }

// moveTo moves nothing: done is false.
func (c *connection) moveTo(io.Writer, int64) (n int64, done bool, err error) { return 0, false, nil }
