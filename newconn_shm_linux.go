//go:build !netconn && !kqsim

package netpoll

// This file holds how connections over shared memory are made.

// session implements sessionMaker.
func (l *shmLink) session(side *tlsSide) (*connection, error) {
	fd, err := duplicateOf(l.UnixConn)
	if err != nil {
		return nil, err
	}
	c := newSession(networkShm, side)
	remote := l.RemoteAddr()
	c.remote.Store(&remote)
	c.transport = newShmTransport(fd, l, c)
	c.calls.polls = l.busyPoll > 0 && side == nil
	c.beginSession(side)
	_ = l.UnixConn.Close()
	return c, nil
}
