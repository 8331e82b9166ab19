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
// With -modfile=reference.mod everything is built with the original library instead. All but the test that tells the
// two apart passes there too, which shows that a test asks for nothing the original did not give:
//
//	go test -modfile=reference.mod -skip TestLibraryUnderTestIsThisRepository ./...
//
// Under the race detector TestKitexCarriesManyCallsAtOnce may report a race within Kitex, whose pool of multiplexed
// connections fills its slots without a lock.
package compat
