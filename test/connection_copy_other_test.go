//go:build linux && (netconn || kqsim)

package test

// sendsFiles says that the bytes of a copy pass through the process.
const sendsFiles = false
