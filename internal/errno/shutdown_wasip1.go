package errno

import "syscall"

// shutdown is the error of sending after this side has ended it, where that is not EPIPE.
const shutdown = syscall.EPIPE // there is no other
