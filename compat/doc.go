// Package compat runs Hertz and Kitex over this library: a server and a client of each. Most programs use the library
// through these two frameworks. The package is a module of its own, so that the library does not depend on them, and has
// only tests:
//
//	go test ./...
//
// The script frameworks runs the frameworks' own tests, too. It takes every package whose tests use the library, runs
// them with this library and with the original, v0.7.3, and prints the difference, test by test. It fails if a test
// passes with the original and does not here:
//
//	bash frameworks                           # all of them, in about twenty minutes
//	bash frameworks trans/netpoll             # those of a package
//	bash frameworks -part today/12            # another part every day, as .ci/run does
//
// One such test is known: Hertz's TestBodyStream expects that the reader of NewIOReader never waits. Here it waits for
// the first byte. Those of Kitex's netpollmux fail with the original, whose queue sends nothing on their inactive mock
// connections.
//
// With -modfile=reference.mod everything is built with the original library instead. All tests pass with it except two:
// the one that checks which library is linked, and the one with a client that does not read, for which the original
// buffers everything in memory. So the other tests require nothing that the original does not do:
//
//	go test -modfile=reference.mod -tags original -skip 'TestLibraryUnderTestIsThisRepository|ToASlowClient$' ./...
//
// Everything runs over the library's TLS once more, which the original does not have: NewTLSListener below the servers of
// both frameworks, TLSDialer below their clients. Kitex takes them as they are. Hertz's own dialer refuses TLS, so that
// the tests have another; examples/hertz is what HTTP/2 over TLS takes there. A Kitex client of TTHeader streams cannot
// be given a dialer, so only the servers of these have TLS of the library.
//
// The script methodsets records the method sets of the original's values, for a test of the library.
//
// With either library, a TTHeader client of Kitex closes a connection, and with it all its streams, when the first
// answer to a stream arrives just after the client has cancelled it. So in the tests the handler answers before they
// cancel.
//
// There are two modules in folders below. programs does the same with programs that do not know this library. bugs has a
// test for each defect of the original.
//
// Under the race detector TestKitexCarriesManyCallsAtOnce may report a race within Kitex, whose pool of multiplexed
// connections fills its slots without a lock.
package compat
