package victim

// This file holds the server as seen by its parent, the process that has started it.

import (
	"encoding/binary"
	"runtime"

	"github.com/cloudwego/netpoll/reliability/internal/child"
	"github.com/cloudwego/netpoll/reliability/internal/gauge"
)

// Process is a running victim. One goroutine at a time may use it.
type Process struct {
	*child.Process
	Addr    string
	TLSAddr string // empty: there is none
	ShmAddr string // likewise
}

// State is a reading of a victim from both sides.
type State struct {
	Answer
	gauge.Outside
}

// Start starts a victim.
func Start(config Config) (*Process, error) {
	p, err := child.Start(RoleName, config)
	if err != nil {
		return nil, err
	}
	var a Answer
	if err := p.Receive(&a); err != nil {
		_ = p.Stop()
		return nil, err
	}
	return &Process{p, a.Addr, a.TLSAddr, a.ShmAddr}, nil
}

// Read takes a reading, after a garbage collection if collect is set.
func (p *Process) Read(collect bool) (s State, err error) {
	if err := p.Ask(Question{Collect: collect}, &s.Answer); err != nil {
		return s, err
	}
	s.Outside, err = gauge.Look(p.PID())
	return s, err
}

// LazyDescriptors is how many descriptors the library may open on first use, and keep: for each poller the ring of the
// worker that is left, where this worker has slept, and the timer that has ended the others. There is a poller for every
// four processors.
func LazyDescriptors() int64 { return 3 * (int64(runtime.GOMAXPROCS(0)+3) / 4) }

// Frame makes a frame of a body.
func Frame(body []byte) []byte {
	frame := make([]byte, headerSize, headerSize+len(body))
	binary.BigEndian.PutUint32(frame, uint32(len(body)))
	return append(frame, body...)
}

// Ask makes a frame that asks for n bytes with kind 'b', or n rounds of work with 'w'. It is padded to size bytes.
func Ask(kind byte, n, size int) []byte {
	body := binary.BigEndian.AppendUint32([]byte{kind}, uint32(n))
	return Frame(append(body, make([]byte, max(0, size-headerSize-len(body)))...))
}

// Announce makes only the header of a frame whose body has size bytes.
func Announce(size int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(size)) }
