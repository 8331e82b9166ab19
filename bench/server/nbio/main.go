// Command nbio is the server over nbio: the handler runs on the poller's goroutine, as nbio calls it, unless its work
// would hold up the poller; then it runs on a goroutine.
package main

import (
	"net"

	"github.com/lesismal/nbio"
	"github.com/lesismal/nbio/logging"

	"github.com/cloudwego/netpoll/bench/internal/frame"
	"github.com/cloudwego/netpoll/bench/internal/serve"
)

// state is what a connection keeps between two calls.
type state struct {
	rest []byte // an incomplete request
	out  []byte // room for responses
}

func main() {
	logging.SetLevel(logging.LevelError)
	serve.Main(func(cfg serve.Config) (string, error) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return "", err
		}
		engine := nbio.NewEngine(nbio.Config{
			Network: "tcp",
			Addrs:   []string{ln.Addr().String()},
			NPoller: cfg.Loops,
			Listen:  func(string, string) (net.Listener, error) { return ln, nil },
		})
		engine.OnOpen(func(c *nbio.Conn) { c.SetSession(new(state)) })
		engine.OnData(func(c *nbio.Conn, data []byte) { answer(c, data, cfg.Work) })
		if err := engine.Start(); err != nil {
			return "", err
		}
		return ln.Addr().String(), nil
	})
}

// answer answers all whole requests with one write. data is nbio's and must not be kept.
func answer(c *nbio.Conn, data []byte, work serve.Work) {
	s := c.Session().(*state)
	if len(s.rest) > 0 {
		s.rest = append(s.rest, data...)
		data = s.rest
	}
	n := frame.Whole(data)
	if work.Heavy() {
		later(c, append([]byte(nil), data[:n]...), work)
	} else if n > 0 {
		work.DoAll(data[:n])
		s.out = append(s.out[:0], data[:n]...)
		_, _ = c.Write(s.out) // nbio keeps what the socket does not take, and closes the connection when that fails
	}
	s.rest = append(s.rest[:0], data[n:]...)
}

// later answers from a goroutine of its own. Its connections have one request under way at a time.
func later(c *nbio.Conn, request []byte, work serve.Work) {
	go func() {
		for rest := request; len(rest) > 0; {
			n := frame.HeaderLen + frame.PayloadLen(rest)
			work.Do(rest[frame.HeaderLen:n])
			rest = rest[n:]
		}
		_, _ = c.Write(request) // fails when the connection has ended: then nobody waits for it
	}()
}
