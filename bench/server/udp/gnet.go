package main

// This file holds the server over gnet, which receives one datagram at a time in its event loop.

import (
	"fmt"
	"net"

	"github.com/panjf2000/gnet/v2"
	"github.com/panjf2000/gnet/v2/pkg/logging"

	"github.com/cloudwego/netpoll/bench/internal/datagram"
)

type handler struct {
	gnet.BuiltinEventEngine
	booted chan struct{}
}

func overGnet(loops int) (string, error) {
	free, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}) // gnet does not tell which port it has
	if err != nil {
		return "", err
	}
	addr := free.LocalAddr().String()
	if err := free.Close(); err != nil {
		return "", err
	}
	h := &handler{booted: make(chan struct{})}
	failed := make(chan error, 1)
	go func() {
		failed <- gnet.Run(h, "udp://"+addr, gnet.WithNumEventLoop(loops), gnet.WithLogLevel(logging.ErrorLevel),
			gnet.WithSocketRecvBuffer(datagram.Buffer))
	}()
	select {
	case err := <-failed:
		return "", fmt.Errorf("gnet: %w", err)
	case <-h.booted:
		return addr, nil
	}
}

func (h *handler) OnBoot(gnet.Engine) gnet.Action {
	close(h.booted)
	return gnet.None
}

func (h *handler) OnTraffic(c gnet.Conn) gnet.Action {
	p, err := c.Next(-1)
	if err != nil {
		return gnet.None
	}
	if out := answer(p); out != nil {
		_, _ = c.Write(out)
	}
	return gnet.None
}
