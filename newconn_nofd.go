//go:build !unix

package netpoll

// This file stands in for descriptors on systems where they cannot be connections.

// NewFDConnection gives an error that Is [ErrUnsupported] on this system.
func NewFDConnection(fd int) (Connection, error) {
	return nil, Exception(ErrUnsupported, "connections of descriptors")
}

// GetSysFdPairs returns -1 twice on this system.
func GetSysFdPairs() (r, w int) { return -1, -1 }
