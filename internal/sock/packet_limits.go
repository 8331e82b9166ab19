package sock

// This file holds the limits of batches of datagrams. They are the same on every system.

const (
	// MaxBatch is how many datagrams one call of a Batch moves at most.
	MaxBatch = 64
	// MaxSegments is how many datagrams the system takes as one at most.
	MaxSegments = 64
	// MaxSegmented is how many bytes they have together at most: what one datagram of IPv4 can have.
	MaxSegmented = 65507
)
