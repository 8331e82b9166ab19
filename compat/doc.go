// Package compat runs Hertz and Kitex, the frameworks that most programs meet this library through, against it: a
// server and a client of each, with this library below both. It is a module of its own, so that the library does not
// depend on what depends on it, and has only tests:
//
//	go test ./...
//
// The frameworks' own tests of what they build on the library can be run here as well, since they too are built with
// the library of this repository:
//
//	go test github.com/cloudwego/kitex/pkg/remote/trans/netpoll github.com/cloudwego/kitex/pkg/remote/trans/netpollmux
//	go test github.com/cloudwego/hertz/pkg/network/netpoll
//
// Those of netpollmux fail with the original v0.7.3, whose queue sends nothing on their inactive mock connections.
//
// With -modfile=reference.mod everything is built with the original library instead. There all tests pass but the one
// that tells the two apart, and one of a client that does not read, for which the original takes all there is into
// memory. So a test asks for nothing else that the original did not give:
//
//	go test -modfile=reference.mod -skip 'TestLibraryUnderTestIsThisRepository|ToASlowClient$' ./...
//
// The script methodsets records what the values of the original can do, for a test of the library.
//
// With either library, Kitex's client ends a TTHeader connection with all its streams when the first answer to one that
// was just cancelled arrives. So the tests have the handler answer before they cancel.
//
// The module below this one, programs, does the same with programs that know nothing of this library.
//
// Under the race detector TestKitexCarriesManyCallsAtOnce may report a race within Kitex, whose pool of multiplexed
// connections fills its slots without a lock.
package compat
