// Package fault is where tests make system calls fail. The callers of a system call ask [Check], [Transfer] or [Cut]
// first, and wrap a ring by [WrapRing]. With the build tag "faults" a [Hook] decides the result of each call. Without
// the tag [Enabled] is a constant false and the functions are inlined to nothing.
package fault

// Op is a system call whose caller has to be ready for it to fail.
type Op uint8

const (
	Recv Op = iota
	Send
	Sendv
	Accept
	Socket
	Connect
	EpollCreate
	EpollCtlAdd
	EpollCtlMod
	EpollWait
	Ring      // execution of a batch; its size is the number of operations, each of which is a Recv or Send too
	RingSetup // making a ring
	Setsockopt
	Shutdown // the call is made, and then fails: the kernel refuses it only if nothing is left to shut
	Dup
	Close // the descriptor is closed, and then the call fails, as in the kernel
	Listen
	Nonblock
	Stat
	Pipe // making a pipe
	SpliceIn
	SpliceOut
	Sendfile
	Timer       // the kernel's timer of an alarm
	RecvPackets // datagrams, one or many; their size is how many
	SendPackets // the same
	ops         // how many there are
)
