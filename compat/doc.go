// Package compat runs Hertz and Kitex, the frameworks that most programs meet this library through, against it: a
// server and a client of each, with this library below both. It is a module of its own, so that the library does not
// depend on what depends on it, and has only tests:
//
//	go test ./...
//
// The frameworks' own tests are run, too. The script frameworks takes every package of theirs whose tests are built on
// the library, runs it with this one and with the original, v0.7.3, and prints the difference, test by test. It fails if
// a test passes with the original and does not here:
//
//	bash frameworks                           # all of them, in about twenty minutes
//	bash frameworks trans/netpoll             # those of a package
//	bash frameworks -part today/12            # another part every day, as .ci/run does
//
// One such test is known: Hertz's TestBodyStream wants of NewIOReader a reader that never waits; here that waits for the
// first byte. Those of Kitex's netpollmux fail with the original, whose queue sends nothing on their inactive mock
// connections.
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
// The module below this one, programs, does the same with programs that know nothing of this library; the one beside it,
// bugs, has a test for each defect of the original.
//
// Under the race detector TestKitexCarriesManyCallsAtOnce may report a race within Kitex, whose pool of multiplexed
// connections fills its slots without a lock.
package compat
