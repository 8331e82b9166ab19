//go:build !netconn && !kqsim

package netpoll

// This file holds what is counted where there is shared memory.

// opened counts a connection that shares memory, with a region of so many bytes here. s may be nil, here and below.
func (s *ShmStatistics) opened(size int) {
	if s != nil {
		s.shared.Add(1)
		s.open.Add(1)
		s.memory.Add(int64(size))
	}
}

// closed undoes opened, but for Shared.
func (s *ShmStatistics) closed(size int) {
	if s != nil {
		s.open.Add(-1)
		s.memory.Add(-int64(size))
	}
}

// moved counts bytes.
func (s *ShmStatistics) moved(sent, received int) {
	if s == nil {
		return
	}
	if sent > 0 {
		s.sent.Add(int64(sent))
	}
	if received > 0 {
		s.received.Add(int64(received))
	}
}

// woke counts a wake-up.
func (s *ShmStatistics) woke() {
	if s != nil {
		s.wakeUps.Add(1)
	}
}
