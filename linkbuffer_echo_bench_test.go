package netpoll

// This file holds the benchmark of what a connection does with its two buffers for one echoed message.

import "testing"

// BenchmarkLinkBufferEcho receives a message of 4+1024 bytes, reads it, writes the answer, and sends it.
func BenchmarkLinkBufferEcho(b *testing.B) {
	var in, out LinkBuffer
	var vec [16][]byte
	b.ReportAllocs()
	for b.Loop() {
		in.book(4096)
		in.bookAck(1028)
		in.Peek(4)
		in.Next(4)
		body, _ := in.Next(1024)
		head, _ := out.Malloc(4)
		head[3] = 4
		out.WriteBinary(body)
		out.Flush()
		out.GetBytes(vec[:])
		out.Skip(1028)
		out.Release()
		in.Release()
	}
}
