// Package happens shows the memory model, and so the race detector, an order that the kernel guarantees anyway: sending
// bytes happens before receiving them. System calls that the Go runtime does not know do not show it by themselves. There
// is one order for all of them, because bytes that one kind of call sends may be received by another.
package happens

import "sync/atomic"

var order atomic.Uint32

// BeforeSend is to be called before bytes are sent.
func BeforeSend() { order.Add(1) }

// AfterReceive is to be called after bytes were received.
func AfterReceive() { order.Load() }
