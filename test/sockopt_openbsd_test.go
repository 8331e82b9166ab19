package test

// The names of the keepalive times: there are none.
const (
	tcpKeepIdle     = noOption
	tcpKeepInterval = noOption
	tcpKeepCount    = noOption
)
