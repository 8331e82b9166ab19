package testkit

// This file runs tests in a process of their own, because they change state of the whole process.

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// childVariable is an environment variable. It has the name of the test that the process was started for.
const childVariable = "NETPOLL_TEST_CHILD"

// InOwnProcess runs the calling test again in a process of its own, with the given settings in its environment. In that
// process it returns true. In the first process it returns false when the other has succeeded, and fails the test
// otherwise.
func InOwnProcess(t *testing.T, settings ...string) bool {
	t.Helper()
	there, _ := OutputOfOwnProcess(t, settings...)
	return there
}

// OwnProcess runs body in a process of its own. The test function must do nothing else.
func OwnProcess(t *testing.T, body func(t *testing.T)) {
	t.Helper()
	if InOwnProcess(t) {
		body(t)
	}
}

// OutputOfOwnProcess is InOwnProcess, but in the first process it also returns the output of the other.
func OutputOfOwnProcess(t *testing.T, settings ...string) (there bool, output string) {
	t.Helper()
	if os.Getenv(childVariable) == t.Name() {
		return true, ""
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+strings.ReplaceAll(t.Name(), "/", "$/^")+"$", "-test.count=1", "-test.v",
		"-test.timeout=120s")
	cmd.Env = append(append(os.Environ(), childVariable+"="+t.Name()), settings...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("in a process of its own: %v\n%s", err, out)
	}
	if !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Fatalf("the test did not run in a process of its own:\n%s", out)
	}
	return false, string(out)
}
