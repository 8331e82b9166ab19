package netpoll

// This file holds the settings of shared memory.

import (
	"fmt"
	"net"
	"syscall"
	"time"

	"github.com/cloudwego/netpoll/internal/shmring"
)

// networkShm is the network of connections over shared memory.
const networkShm = "shm"

// ShmConfig has the settings of shared memory. The zero value is ready to use. It must not be changed while it is in use.
type ShmConfig struct {
	// RingSize is how many bytes of what this side has sent may wait in memory until the peer receives them: a power of two
	// from 4 KiB to 64 MiB; any other number gives an error. 0 means 256 KiB. Each connection takes that much memory from its
	// beginning to its end. The peer has its own ring, of the size that it has chosen, and pays for it. Large messages are
	// fast where a whole one has room, and a stream of them where four have: the guide has figures.
	RingSize int

	// MaxMemory limits the rings of all connections of a listener together, in bytes; those of the clients do not count. A
	// client that keeps the memory of a connection that has ended is not noticed, so this is a limit for honest ones.
	// A client that comes when it is reached is refused, or served over the socket, as Fallback says. 0 or less means no
	// limit.
	MaxMemory int64

	// AllowUser says which users may connect to a listener, by their number. Nil means the user of this process, and root.
	// What the file of the socket allows counts, too; a name in the abstract name space has no such file. It must return
	// soon, and not panic. On systems without shared memory it is not asked, so a listener that has it is refused there.
	AllowUser func(uid uint32) bool

	// Fallback lets a connection use the Unix socket itself where a system gives no memory, or MaxMemory is reached. Both
	// sides must allow it. A listener also serves clients that know nothing of shared memory then: those whose first bytes
	// are no greeting. Such connections are *[UnixConnection].
	Fallback bool

	// BusyPoll makes a goroutine that waits for input look at the memory again and again for so long before it sleeps, and
	// the goroutine of an OnRequest for the next request. What comes meanwhile costs neither side a system call, so a
	// round trip of a small message takes a few microseconds instead of many; but a waiting goroutine takes a processor
	// all the time, and a deadline or a Close may be noticed later by so much. It is for few connections, and where there
	// are processors to spare; with one processor it is not done. It adapts: when the last waits have taken longer only
	// each 16th tries again. Pollers never do it: the handlers of such a connection run in goroutines of their own, and
	// with another Runner they do not poll. Connections with TLS by this package do not either. It should be longer than
	// a wake-up takes, 50 microseconds or more; 0 or less means none, and more than 1 millisecond means that.
	BusyPoll time.Duration

	// Statistics counts what becomes of the connections, and what they do. Several listeners and dialers may have the same
	// one. Nil counts nothing.
	Statistics *ShmStatistics

	// SetupTimeout is how long a listener gives a client to agree on the memory. 0 or less means 5 seconds. A dialer has
	// the timeout of the dial.
	SetupTimeout time.Duration
}

const (
	defaultRing     = 256 << 10
	defaultShmSetup = 5 * time.Second
)

// check returns an error for settings that cannot be.
func (c *ShmConfig) check() error {
	if !shmring.ValidRing(c.ringSize()) {
		return fmt.Errorf("netpoll: shared memory: a ring of %d bytes: its size is a power of two from %d to %d",
			c.RingSize, shmring.MinRing, shmring.MaxRing)
	}
	return nil
}

func (c *ShmConfig) ringSize() int {
	if c.RingSize == 0 {
		return defaultRing
	}
	return c.RingSize
}

func (c *ShmConfig) setupTimeout() time.Duration {
	if c.SetupTimeout <= 0 {
		return defaultShmSetup
	}
	return c.SetupTimeout
}

var errShmRefused = fmt.Errorf("the server has refused shared memory: %w", syscall.ECONNREFUSED)

// shmAddr is a Unix address under the name of shared memory.
func shmAddr(addr net.Addr) net.Addr {
	name := ""
	if addr != nil {
		name = addr.String()
	}
	return &net.UnixAddr{Name: name, Net: networkShm}
}
