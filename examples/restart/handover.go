//go:build unix

package main

// This file holds how a listener gets from one process to the next: the old one starts the new one, which inherits the
// descriptor. Both have the same socket, with the same backlog, so a client that connects meanwhile waits for either.

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
)

const (
	inherits = "RESTART_INHERITS" // the variable that tells a process that it has these descriptors
	listener = 3                  // the first that ExtraFiles gives
	ready    = 4                  // where it says that it has taken over
)

// socket is a listener that an event loop does not know, and so does not duplicate: its Close ends Serve, and leaves the
// connections to the loop.
type socket struct{ *net.TCPListener }

// takeOver returns the listener of the process before this one. If there was none, it listens.
func takeOver(addr string) (ln socket, err error) {
	if os.Getenv(inherits) == "" {
		fresh, err := net.Listen("tcp", addr)
		if err != nil {
			return ln, err
		}
		return socket{fresh.(*net.TCPListener)}, nil
	}
	file, done := os.NewFile(listener, "listener"), os.NewFile(ready, "ready")
	defer file.Close()
	defer done.Close()
	inherited, err := net.FileListener(file)
	if err != nil {
		return ln, fmt.Errorf("take over: %w", err)
	}
	_, err = done.Write([]byte{1})
	return socket{inherited.(*net.TCPListener)}, err
}

// handOver starts this program anew, and returns when the new process has the listener.
func handOver(ln socket) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	file, err := ln.File()
	if err != nil {
		return err
	}
	defer file.Close()
	done, tell, err := os.Pipe()
	if err != nil {
		return err
	}
	defer done.Close()
	next := exec.Command(program, os.Args[1:]...)
	next.Env = append(os.Environ(), inherits+"=yes")
	next.Stdout, next.Stderr = os.Stdout, os.Stderr
	next.ExtraFiles = []*os.File{file, tell}
	err = next.Start()
	tell.Close() // the new process has its own
	if err != nil {
		return err
	}
	if n, _ := done.Read(make([]byte, 1)); n == 0 {
		return errors.Join(errors.New("the new process has ended"), next.Wait())
	}
	return next.Process.Release() // it outlives this one
}
