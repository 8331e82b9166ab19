package netpoll

// This file holds the context of a connection that ends with it. It is made when somebody asks for it.

import (
	"context"
)

type derivedContext struct {
	context.Context
	cancel context.CancelCauseFunc
}

func (c *connection) deriveContext() context.Context {
	if d := c.derived.Load(); d != nil {
		return d
	}
	base := c.calls.base
	if base == nil {
		base = context.Background()
	}
	ctx, cancel := context.WithCancelCause(base)
	d := &derivedContext{ctx, cancel}
	if !c.derived.CompareAndSwap(nil, d) {
		cancel(nil) // another goroutine was faster
		return c.derived.Load()
	}
	if c.life.load().phase() >= phasePeerDone { // the end may not have seen it
		c.cancelContext()
	}
	return d
}

// cancelContext cancels the context, if there is one, with the reason of the end. Only the first call counts.
func (c *connection) cancelContext() {
	d := c.derived.Load()
	if d == nil {
		return
	}
	b := c.life.load()
	switch {
	case b.errno() != 0:
		d.cancel(c.endError(b.errno(), "connection with "+c.peerName()))
	case b.phase() == phasePeerDone || b.cause() == causePeer:
		d.cancel(Exception(ErrEOF, "connection with "+c.peerName()))
	default:
		d.cancel(Exception(ErrConnClosed, "connection with "+c.peerName()))
	}
}
