// Package bugs holds what the original library, v0.7.3, gets wrong and this one gets right, one test for each defect.
// It is a module of its own and has only tests, which use nothing but the exported API, so that they can be run
// against either library:
//
//	go test ./...                             # this repository's: everything passes
//	bash run                                  # both, each test in a process of its own, as a table
//
// The second command is the one to use for the original, because many tests make it panic, hang, or spin. A test is
// named after what holds, and its comment begins with the number of the behaviour that it is about.
package bugs
