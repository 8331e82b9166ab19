package netpoll

// This file holds the context of a connection that ends with it. It is made by the first call that asks for it.

import (
	"context"
	"fmt"
)

type derivedContext struct {
	context.Context
	cancel context.CancelCauseFunc
}

type derivedKey struct{}

// Value also answers whether a context descends from this one.
func (d *derivedContext) Value(key any) any {
	if key == (derivedKey{}) {
		return d
	}
	return d.Context.Value(key)
}

func (c *connection) deriveContext() context.Context {
	if d := c.derived.Load(); d != nil {
		return d
	}
	base := context.Background()
	if b := c.calls.base.Load(); b != nil {
		base = *b
	}
	ctx, cancel := context.WithCancelCause(base)
	d := &derivedContext{ctx, cancel}
	if !c.derived.CompareAndSwap(nil, d) {
		cancel(nil) // another goroutine has stored its own first
		return c.derived.Load()
	}
	if c.life.load().phase() >= phasePeerDone { // the goroutine that ended it may not have seen this context
		c.cancelContext()
	}
	return d
}

// endingContext returns base, or a descendant of it, that ends with the connection.
func (c *connection) endingContext(base context.Context) context.Context {
	d := c.derived.Load()
	switch {
	case d == nil || base == nil:
		return c.deriveContext()
	case base.Value(derivedKey{}) == d:
		return base // OnPrepare has built on Context itself
	}
	ctx, cancel := context.WithCancelCause(base) // OnPrepare has only asked for it
	context.AfterFunc(d, func() { cancel(context.Cause(d)) })
	return ctx
}

// cancelContext cancels the context, if there is one, with the reason of the end. Only the first call counts.
func (c *connection) cancelContext() {
	d := c.derived.Load()
	if d == nil {
		return
	}
	d.cancel(fmt.Errorf("connection with %s ended: %w", c.peerName(), c.endReason()))
}

// endReason is why the connection has ended, on either side.
func (c *connection) endReason() error {
	switch b := c.life.load(); {
	case b.errno() != 0:
		return c.endError(b.errno(), "")
	case b.has(bitPeerClosed): // the peer's end came first, even if OnDisconnect has closed since
		return Exception(ErrEOF, "")
	}
	return c.closedError("")
}

// closedError is the error of a call that came after the connection was closed on this side. It says why that was.
func (c *connection) closedError(what string) error {
	closed := &exception{no: ErrConnClosed, suffix: what}
	switch b := c.life.load(); b.cause() {
	case causeServer:
		closed.reason = ErrShutdown
	case causeIdle:
		closed.reason = ErrIdleLimit
	case causePanic:
		closed.reason = ErrPanic
	case causePoller:
		closed.reason = ErrPollerFailed
	case causePeer:
		closed.reason = Exception(ErrEOF, "")
		if no := b.errno(); no != 0 {
			closed.reason = c.endError(no, "")
		}
	}
	return closed
}
