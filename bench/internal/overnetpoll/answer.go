// Package overnetpoll answers requests on connections of this library, or of the reference.
package overnetpoll

import (
	"github.com/cloudwego/netpoll"

	"github.com/cloudwego/netpoll/bench/internal/frame"
	"github.com/cloudwego/netpoll/bench/internal/serve"
)

// Answer answers the requests that have arrived, and sends all responses with one Flush. It waits until the first is
// complete.
func Answer(conn netpoll.Connection, work serve.Work) error {
	r, w := conn.Reader(), conn.Writer()
	for {
		header, err := r.Peek(frame.HeaderLen)
		if err != nil {
			return err
		}
		n := frame.HeaderLen + frame.PayloadLen(header)
		request, err := r.Next(n)
		if err != nil {
			return err
		}
		work.Do(request[frame.HeaderLen:])
		response, err := w.Malloc(n)
		if err != nil {
			return err
		}
		copy(response, request)
		if !another(r) {
			break
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return r.Release()
}

// another reports whether a whole request has arrived.
func another(r netpoll.Reader) bool {
	if r.Len() < frame.HeaderLen {
		return false
	}
	header, err := r.Peek(frame.HeaderLen)
	return err == nil && r.Len() >= frame.HeaderLen+frame.PayloadLen(header)
}
