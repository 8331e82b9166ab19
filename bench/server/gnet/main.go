// Command gnet is the server over gnet v2: the handler runs in the event loop, as gnet wants it, unless its work would
// hold up the loop; then it runs on a goroutine and answers by AsyncWrite.
package main

import (
	"fmt"
	"net"
	"strconv"

	"github.com/panjf2000/gnet/v2"
	"github.com/panjf2000/gnet/v2/pkg/logging"
	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/bench/internal/frame"
	"github.com/cloudwego/netpoll/bench/internal/serve"
)

func main() {
	serve.Main(func(cfg serve.Config) (string, error) {
		h := &handler{work: cfg.Work, booted: make(chan gnet.Engine, 1)}
		failed := make(chan error, 1)
		go func() {
			failed <- gnet.Run(h, "tcp://127.0.0.1:0", gnet.WithNumEventLoop(cfg.Loops),
				gnet.WithTCPNoDelay(gnet.TCPNoDelay), gnet.WithLogLevel(logging.ErrorLevel))
		}()
		select {
		case err := <-failed:
			return "", fmt.Errorf("gnet: %w", err)
		case engine := <-h.booted:
			return address(engine)
		}
	})
}

// address asks the listening socket, since port 0 was asked for.
func address(engine gnet.Engine) (string, error) {
	fd, err := engine.Dup()
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return "", err
	}
	in4, ok := sa.(*unix.SockaddrInet4)
	if !ok {
		return "", fmt.Errorf("listening on an address of type %T", sa)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(in4.Port)), nil
}

type handler struct {
	gnet.BuiltinEventEngine
	work   serve.Work
	booted chan gnet.Engine
}

func (h *handler) OnBoot(engine gnet.Engine) gnet.Action {
	h.booted <- engine
	return gnet.None
}

func (h *handler) OnOpen(c gnet.Conn) ([]byte, gnet.Action) {
	c.SetContext(new([]byte)) // room for responses
	return nil, gnet.None
}

// OnTraffic answers all whole requests with one write. gnet calls it again when more has arrived.
func (h *handler) OnTraffic(c gnet.Conn) gnet.Action {
	in, err := c.Peek(-1)
	if err != nil {
		return gnet.Close
	}
	n := frame.Whole(in)
	if n == 0 {
		return gnet.None
	}
	if h.work.Heavy() {
		request := append([]byte(nil), in[:n]...)
		go h.later(c, request)
	} else {
		h.work.DoAll(in[:n])
		// gnet sends from this memory at once, or copies what the socket does not take. So the request itself could
		// be sent; a response has its own memory here, in a buffer that the connection keeps, as in the other servers.
		out := c.Context().(*[]byte)
		*out = append((*out)[:0], in[:n]...)
		if _, err := c.Write(*out); err != nil {
			return gnet.Close
		}
	}
	if _, err := c.Discard(n); err != nil {
		return gnet.Close
	}
	return gnet.None
}

// later answers from a goroutine of its own. Its connections have one request under way at a time.
func (h *handler) later(c gnet.Conn, request []byte) {
	h.work.DoAll(request)
	_ = c.AsyncWrite(request, nil) // fails when the connection has ended: then nobody waits for it
}
