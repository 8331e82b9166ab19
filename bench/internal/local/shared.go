package local

import (
	"fmt"
	"net"
	"time"

	"github.com/cloudwego/netpoll"
)

// shared has the settings of the variants of shared memory, which both sides use. A larger ring has room for large messages,
// and busy polling saves the wake-ups.
var shared = map[string]netpoll.ShmConfig{
	"shm":      {},
	"shm-4m":   {RingSize: 4 << 20},
	"shm-busy": {RingSize: 1 << 20, BusyPoll: 100 * time.Microsecond},
}

// Listen listens for a variant of shared memory, or for "unix".
func Listen(variant, addr string) (netpoll.Listener, error) {
	if variant == "unix" {
		return netpoll.CreateListener(variant, addr)
	}
	config, ok := shared[variant]
	if !ok {
		return nil, fmt.Errorf("unknown mode %q", variant)
	}
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: addr, Net: "unix"})
	if err != nil {
		return nil, err
	}
	return netpoll.NewShmListener(ln, config)
}

// Dial is the other side of Listen.
func Dial(variant, addr string, timeout time.Duration) (netpoll.Connection, error) {
	if variant == "unix" {
		return netpoll.DialConnection(variant, addr, timeout)
	}
	config, ok := shared[variant]
	if !ok {
		return nil, fmt.Errorf("unknown mode %q", variant)
	}
	return (&netpoll.ShmDialer{Config: config}).DialConnection("shm", addr, timeout)
}
