//go:build !linux || netconn || kqsim

package netpoll

// shmProbe returns why there is no memory to share.
func shmProbe() error { return Exception(ErrUnsupported, "shared memory on this system") }
