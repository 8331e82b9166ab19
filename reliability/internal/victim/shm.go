package victim

// This file holds what the server has for shared memory: a third listener.

import (
	"fmt"
	"net"
	"os"

	"github.com/cloudwego/netpoll"
)

// listenShm returns that listener. The name of its socket is abstract, so no file is left of a server that was killed.
func listenShm() (net.Listener, error) {
	inner, err := net.ListenUnix("unix", &net.UnixAddr{Name: fmt.Sprintf("@netpoll-victim-%d", os.Getpid()), Net: "unix"})
	if err != nil {
		return nil, err
	}
	ln, err := netpoll.NewShmListener(inner, netpoll.ShmConfig{RingSize: 32 << 10})
	if err != nil {
		_ = inner.Close()
		return nil, err
	}
	return ln, nil
}
