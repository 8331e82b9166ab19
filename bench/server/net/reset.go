package main

import "syscall"

// errReset is how clients of the benchmark end a connection: it leaves no port waiting.
const errReset = syscall.ECONNRESET
