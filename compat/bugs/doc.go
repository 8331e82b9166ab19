// Package bugs has a test for each defect of the original library, v0.7.3, that this one does not have. It is a module
// of its own and has only tests. They use nothing but the exported API, so they can be run against either library:
//
//	go test ./...                             # this repository's: everything passes
//	bash run                                  # both, each test in a process of its own, as a table
//
// Use the second command for the original, because many tests make it panic, hang, or spin. The name of a test says what
// has to hold. Its comment begins with the number of the behaviour that it shows.
package bugs
