// Package datagrams runs programs of other authors on the library's UDP sockets, which have to work as well as those of
// package net. Like the package above it has only tests:
//
//	go test ./datagrams
//
// Each program gets sockets of the library on either side and on both. The control, on package net alone, has to pass,
// too.
//
//   - quic-go (quic_test.go): transfers both ways, HTTP/3, a relay on a PacketLoop between client and server that loses,
//     repeats and reorders datagrams. quic-go must find all abilities of the socket that it finds on one of package net:
//     segments, congestion bits, local addresses.
//   - miekg/dns (dns_test.go): server and client, and its messages on a PacketLoop.
//   - wireguard-go (wireguard_test.go): a Bind over ReadBatch and WriteBatch, in bind_test.go, between two of its
//     devices, and beside its own StdNetBind.
//
// The script quic-own runs quic-go's own tests over the library's sockets.
package datagrams
