//go:build !netconn && !kqsim

package netpoll

import (
	"sync"

	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/internal/shmring"
)

// shmProbe tries out, once, whether the system gives memory to share.
var shmProbe = sync.OnceValue(func() error {
	r, fd, err := shmring.Create(shmring.MinRing)
	if err != nil {
		return err
	}
	_ = unix.Close(fd)
	r.Free()
	return nil
})
