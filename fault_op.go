package netpoll

// This file holds the names of the system calls that tests can make fail; see fault.go.

// sysOp is a system call of this package, as far as its caller has to be ready for it to fail.
type sysOp uint8

const (
	opRecv sysOp = iota
	opSend
	opSendv
	opAccept
	opSocket
	opConnect
	opEpollCreate
	opEpollCtlAdd
	opEpollCtlMod
	opEpollWait
	opRing      // execution of a batch; its size is the number of operations, each of which is an opRecv or opSend too
	opRingSetup // making a ring
	opSetsockopt
	opShutdown // fails after it was made: the kernel refuses it only if there is nothing left to shut
	opDup
	opCloseFd // fails after the descriptor was closed, as the kernel's does
	opListen
	opNonblock
	opStat
	opPipe // making a pipe
	opSpliceIn
	opSpliceOut
	opSendfile
	opTimer // the kernel's timer of a watchdog
	sysOps  // how many there are
)
