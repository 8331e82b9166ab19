package netpoll

// This file holds the Reader and the Writer of connections over datagrams, and their methods of net.Conn. The Reader has
// one datagram at a time, and the Writer collects one.

import "syscall"

// packetInput implements Reader. When nothing is left of a datagram the next method waits for another one.
type packetInput struct {
	c    *packetConnection
	side packetSide
	in   LinkBuffer // guarded by side.busy
}

var _ Reader = (*packetInput)(nil)

// use runs f when there is something of a datagram, or there is an empty one. need is how many bytes f needs.
func (r *packetInput) use(what string, need int, f func(in *LinkBuffer) error) error {
	if need <= 0 {
		return nil
	}
	r.c.enter()
	defer r.c.leave()
	if !r.side.busy.TryLock() {
		return Exception(ErrConcurrentAccess, what)
	}
	defer r.side.busy.Unlock()
	if r.in.Len() == 0 {
		if err := r.receive(what, need); err != nil {
			return err
		}
	}
	return f(&r.in)
}

// receive waits for a datagram. The caller holds busy.
func (r *packetInput) receive(what string, need int) error {
	if err := r.in.Release(); err != nil {
		return err
	}
	_, err := r.wait(what, need, func() (n int, err error) {
		n, err = r.c.conn.Read(r.in.book(maxPacketSize))
		r.in.bookAck(max(n, 0))
		return n, err
	})
	return err
}

// wait calls read, which receives a datagram.
func (r *packetInput) wait(what string, need int, read func() (n int, err error)) (n int, err error) {
	if !r.side.begin() {
		return 0, notEnough(need, 0)
	}
	n, err = read()
	r.side.end()
	if err != nil && r.c.onRequest.Load() != nil && !r.c.isClosed() {
		return 0, notEnough(need, 0)
	}
	return n, r.c.result(err, ErrReadTimeout, what)
}

// load makes p the datagram that there is.
func (r *packetInput) load(p []byte) {
	r.side.busy.Lock()
	defer r.side.busy.Unlock()
	r.dropAll()
	room, _ := r.in.Malloc(len(p)) // neither this nor Flush fails
	copy(room, p)
	_ = r.in.Flush()
}

// drop drops what is left.
func (r *packetInput) drop() {
	r.side.busy.Lock()
	defer r.side.busy.Unlock()
	r.dropAll()
}

func (r *packetInput) dropAll() {
	_ = r.in.Skip(r.in.Len())
	_ = r.in.Release()
}

// Next implements Reader.
func (r *packetInput) Next(n int) (p []byte, err error) {
	err = r.use("when next", n, func(in *LinkBuffer) (err error) { p, err = in.Next(n); return err })
	return p, err
}

// Peek implements Reader.
func (r *packetInput) Peek(n int) (buf []byte, err error) {
	err = r.use("when peek", n, func(in *LinkBuffer) (err error) { buf, err = in.Peek(n); return err })
	return buf, err
}

// Skip implements Reader.
func (r *packetInput) Skip(n int) (err error) {
	return r.use("when skip", n, func(in *LinkBuffer) error { return in.Skip(n) })
}

// Until implements Reader.
func (r *packetInput) Until(delim byte) (line []byte, err error) {
	err = r.use("when until", 1, func(in *LinkBuffer) (err error) { line, err = in.Until(delim); return err })
	return line, err
}

// ReadString implements Reader.
func (r *packetInput) ReadString(n int) (s string, err error) {
	err = r.use("when read string", n, func(in *LinkBuffer) (err error) { s, err = in.ReadString(n); return err })
	return s, err
}

// ReadBinary implements Reader.
func (r *packetInput) ReadBinary(n int) (p []byte, err error) {
	err = r.use("when read binary", n, func(in *LinkBuffer) (err error) { p, err = in.ReadBinary(n); return err })
	return p, err
}

// ReadByte implements Reader.
func (r *packetInput) ReadByte() (b byte, err error) {
	err = r.use("when read byte", 1, func(in *LinkBuffer) (err error) { b, err = in.ReadByte(); return err })
	return b, err
}

// Slice implements Reader.
func (r *packetInput) Slice(n int) (part Reader, err error) {
	if n <= 0 {
		return new(LinkBuffer).Slice(n)
	}
	err = r.use("when slice", n, func(in *LinkBuffer) (err error) { part, err = in.Slice(n); return err })
	return part, err
}

// Release implements Reader. It also drops what is left of the datagram.
func (r *packetInput) Release() (err error) {
	if !r.side.busy.TryLock() {
		return Exception(ErrConcurrentAccess, "when release")
	}
	defer r.side.busy.Unlock()
	r.dropAll()
	return nil
}

// Len implements Reader: what is left of the datagram.
func (r *packetInput) Len() (length int) { return r.in.Len() }

// Read implements [net.Conn]. It gives what is left of a datagram that Reader has begun, or else receives one. What does
// not fit into p is lost.
func (c *packetConnection) Read(p []byte) (n int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	r := &c.reader
	c.enter()
	defer c.leave()
	r.side.turn.Lock()
	defer r.side.turn.Unlock()
	if !r.side.busy.TryLock() {
		return 0, Exception(ErrConcurrentAccess, "when read")
	}
	defer r.side.busy.Unlock()
	if r.in.Len() > 0 {
		n = r.in.readCopy(p)
		r.dropAll()
		return n, nil
	}
	return r.wait("when read", len(p), func() (int, error) { return c.conn.Read(p) })
}

// packetOutput implements Writer. Flush sends what was written as one datagram.
type packetOutput struct {
	c    *packetConnection
	side packetSide
	out  LinkBuffer // guarded by side.busy
}

var _ Writer = (*packetOutput)(nil)

// use runs f, which writes.
func (w *packetOutput) use(what string, f func(out *LinkBuffer) error) error {
	w.c.enter()
	defer w.c.leave()
	if !w.side.busy.TryLock() {
		return Exception(ErrConcurrentAccess, what)
	}
	defer w.side.busy.Unlock()
	if w.c.isClosed() {
		return w.c.closedError(what)
	}
	return f(&w.out)
}

// Malloc implements Writer.
func (w *packetOutput) Malloc(n int) (buf []byte, err error) {
	err = w.use("when malloc", func(out *LinkBuffer) (err error) { buf, err = out.Malloc(n); return err })
	return buf, err
}

// WriteString implements Writer.
func (w *packetOutput) WriteString(s string) (n int, err error) {
	err = w.use("when write string", func(out *LinkBuffer) (err error) { n, err = out.WriteString(s); return err })
	return n, err
}

// WriteBinary implements Writer.
func (w *packetOutput) WriteBinary(b []byte) (n int, err error) {
	err = w.use("when write binary", func(out *LinkBuffer) (err error) { n, err = out.WriteBinary(b); return err })
	return n, err
}

// WriteByte implements Writer.
func (w *packetOutput) WriteByte(b byte) (err error) {
	return w.use("when write byte", func(out *LinkBuffer) error { return out.WriteByte(b) })
}

// WriteDirect implements Writer.
func (w *packetOutput) WriteDirect(p []byte, remainCap int) error {
	return w.use("when write direct", func(out *LinkBuffer) error { return out.WriteDirect(p, remainCap) })
}

// MallocAck implements Writer.
func (w *packetOutput) MallocAck(n int) (err error) {
	return w.use("when malloc ack", func(out *LinkBuffer) error { return out.MallocAck(n) })
}

// Append implements Writer.
func (w *packetOutput) Append(from Writer) (err error) {
	return w.use("when append", func(out *LinkBuffer) error { return out.Append(from) })
}

// MallocLen implements Writer.
func (w *packetOutput) MallocLen() (length int) {
	_ = w.use("", func(out *LinkBuffer) error { length = out.MallocLen(); return nil })
	return length
}

// Flush implements Writer. Everything written since the last Flush is one datagram. It is dropped if there is an error.
func (w *packetOutput) Flush() (err error) { return w.use("when flush", w.flush) }

func (w *packetOutput) flush(out *LinkBuffer) error {
	if err := out.Flush(); err != nil {
		return err
	}
	p := out.Bytes()
	if len(p) == 0 {
		return nil
	}
	err := w.send(p, "when flush")
	_ = out.Skip(len(p))
	_ = out.Release()
	return err
}

// send sends p as one datagram. The caller holds busy.
func (w *packetOutput) send(p []byte, what string) error {
	if !w.side.begin() {
		return Exception(syscall.EPIPE, what)
	}
	_, err := w.c.conn.Write(p)
	w.side.end()
	return w.c.result(err, ErrWriteTimeout, what)
}

// Write implements [net.Conn]: it sends what is pending in Writer as one datagram, and then p, which may be empty, as
// another.
func (c *packetConnection) Write(p []byte) (n int, err error) {
	w := &c.writer
	w.side.turn.Lock()
	defer w.side.turn.Unlock()
	err = w.use("when write", func(out *LinkBuffer) error {
		if err := w.flush(out); err != nil {
			return err
		}
		return w.send(p, "when write")
	})
	if err != nil {
		return 0, err
	}
	return len(p), nil
}
