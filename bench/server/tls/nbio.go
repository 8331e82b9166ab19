package main

// This file holds the server over nbio. As in nbio's own examples the session decrypts into a buffer of the poller, and the
// handler runs on its goroutine.

import (
	"net"

	"github.com/lesismal/llib/std/crypto/tls"
	"github.com/lesismal/nbio"
	nbiotls "github.com/lesismal/nbio/extension/tls"
	"github.com/lesismal/nbio/logging"

	"github.com/cloudwego/netpoll/bench/internal/frame"
	"github.com/cloudwego/netpoll/bench/internal/secure"
	"github.com/cloudwego/netpoll/bench/internal/serve"
)

func overNbio(cfg serve.Config) (string, error) {
	logging.SetLevel(logging.LevelError)
	cert, key, err := secure.Certificate()
	if err != nil {
		return "", err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return "", err
	}
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
	buffer := make([]byte, 64<<10) // one poller, so one handler at a time
	rest := make(map[*nbiotls.Conn][]byte)
	config := &tls.Config{Certificates: []tls.Certificate{pair}}
	engine.OnOpen(nbiotls.WrapOpen(config, false, nil))
	engine.OnClose(nbiotls.WrapClose(func(_ *nbio.Conn, c *nbiotls.Conn, _ error) {
		_ = c.Close()
	}))
	engine.OnData(nbiotls.WrapData(func(_ *nbio.Conn, c *nbiotls.Conn, data []byte) {
		if old := rest[c]; len(old) > 0 {
			data = append(old, data...)
		}
		n := frame.Whole(data)
		if n > 0 {
			cfg.Work.DoAll(data[:n])
			_, _ = c.Write(data[:n])
		}
		if n == len(data) {
			delete(rest, c)
		} else {
			rest[c] = append([]byte(nil), data[n:]...)
		}
	}, func() []byte { return buffer }))
	if err := engine.Start(); err != nil {
		return "", err
	}
	return ln.Addr().String(), nil
}
