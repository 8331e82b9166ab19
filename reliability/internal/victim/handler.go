package victim

// This file holds the handlers, and the leaks for checks that a leak is found.

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"
	"sync"

	"github.com/cloudwego/netpoll"
)

const headerSize = 4

// maxAnswer is the largest answer that a peer can ask for with 'b', in bytes.
const maxAnswer = 1 << 20

// maxWork is how many rounds a peer can ask for with 'w' at most.
const maxWork = 1 << 20

// onRequest answers the frames that have arrived. After an error it closes the connection, because the start of the next
// frame is unknown.
func (s *server) onRequest(_ context.Context, conn netpoll.Connection) (err error) {
	defer func() {
		if err != nil {
			_ = conn.Close()
		}
	}()
	for {
		size, ok, err := s.next(conn.Reader())
		if !ok || err != nil {
			return err
		}
		if err := s.serve(conn, size); err != nil {
			return err
		}
	}
}

// next returns the size of the next frame. ok is false if the handler has to return and wait until more has arrived.
func (s *server) next(r netpoll.Reader) (size int, ok bool, err error) {
	if r.Len() < headerSize && (!s.config.Waiting || r.Len() == 0) {
		return 0, false, nil
	}
	header, err := r.Peek(headerSize)
	if err != nil {
		return 0, false, err
	}
	size = int(binary.BigEndian.Uint32(header))
	if size == 0 || size > s.config.MaxFrame {
		return 0, false, fmt.Errorf("frame of %d bytes: 1 to %d are allowed", size, s.config.MaxFrame)
	}
	return size, s.config.Waiting || r.Len() >= headerSize+size, nil
}

// serve reads one frame and answers it. It releases the input after each frame, because the handler of a peer that never
// stops sending never returns.
func (s *server) serve(conn netpoll.Connection, size int) error {
	r := conn.Reader()
	defer r.Release()
	if err := r.Skip(headerSize); err != nil {
		return err
	}
	body, err := r.Next(size)
	if err != nil {
		return err
	}
	if s.config.Leak != "" {
		s.leaked.leak(s.config.Leak)
	}
	if err := s.reply(conn.Writer(), body); err != nil {
		return err
	}
	s.requests.Add(1)
	return nil
}

// reply does what a body asks for, and writes the answer.
func (s *server) reply(w netpoll.Writer, body []byte) error {
	answer, err := s.answerTo(body)
	if err != nil || answer == nil {
		return err
	}
	return send(w, answer)
}

// answerTo does what a body asks for, and returns the answer, or nil if there is none.
func (s *server) answerTo(body []byte) (answer []byte, err error) {
	n := 0
	if len(body) >= 5 {
		n = int(binary.BigEndian.Uint32(body[1:]))
	}
	switch body[0] {
	case 'e':
	case 'b':
		return make([]byte, min(n, maxAnswer)), nil
	case 'w':
		work(min(n, maxWork))
	case 's':
		return nil, nil
	case 'p':
		panic("asked for by a peer")
	default:
		return nil, fmt.Errorf("request %q", body[0])
	}
	return body, nil
}

func send(w netpoll.Writer, body []byte) error {
	header, err := w.Malloc(headerSize)
	if err != nil {
		return err
	}
	binary.BigEndian.PutUint32(header, uint32(len(body)))
	if _, err := w.WriteBinary(body); err != nil {
		return err
	}
	return w.Flush()
}

// work uses the processor.
func work(rounds int) {
	var sum [sha256.Size]byte
	for range rounds {
		sum = sha256.Sum256(sum[:])
	}
}

// leaks has what a server leaks on purpose.
type leaks struct {
	mu    sync.Mutex // guards the fields below
	count int
	bytes [][]byte
	files []*os.File
	never chan struct{} // nil, so that a receive from it never returns
}

// leakEvery is how many requests there are for one leak of a descriptor or goroutine.
const leakEvery = 20

func (l *leaks) leak(kind string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count++
	switch {
	case kind == "heap":
		l.bytes = append(l.bytes, make([]byte, 4<<10))
	case l.count%leakEvery != 0:
	case kind == "descriptors":
		if f, err := os.Open(os.DevNull); err == nil {
			l.files = append(l.files, f)
		}
	case kind == "goroutines":
		go func() { <-l.never }()
	}
}
