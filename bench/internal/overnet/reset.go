package overnet

import "syscall"

// errReset is the normal end of a connection: clients of the benchmark reset it, so that no port stays in TIME_WAIT.
const errReset = syscall.ECONNRESET
