//go:build !netconn && !kqsim

package netpoll_test

// sendsFiles says that the kernel moves the bytes of a copy.
const sendsFiles = true
