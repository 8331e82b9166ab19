package testkit

// This file installs seccomp filters like those of containers, to test what the library does in a container.

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

var (
	// IOUringCalls are refused by the default profiles of Docker, since version 25, and of containerd, since 2.0. These
	// profiles allow AIOCalls.
	IOUringCalls = []uintptr{unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER}
	// AIOCalls are the calls of Linux AIO. Stricter profiles refuse them, too.
	AIOCalls = []uintptr{unix.SYS_IO_SETUP, unix.SYS_IO_SUBMIT, unix.SYS_IO_DESTROY, unix.SYS_IO_GETEVENTS}
)

// processors has the kernel's constant for each processor, which a filter compares with.
var processors = map[string]uint32{
	"amd64": unix.AUDIT_ARCH_X86_64, "arm64": unix.AUDIT_ARCH_AARCH64, "386": unix.AUDIT_ARCH_I386,
	"arm": unix.AUDIT_ARCH_ARM, "riscv64": unix.AUDIT_ARCH_RISCV64, "ppc64le": unix.AUDIT_ARCH_PPC64LE,
	"s390x": unix.AUDIT_ARCH_S390X, "loong64": unix.AUDIT_ARCH_LOONGARCH64,
}

// Forbid makes these system calls fail with errno, as the filter of a container does, in this process and in those that
// it starts. This cannot be undone. A further call of Forbid adds system calls. It needs no privilege.
func Forbid(errno unix.Errno, calls ...uintptr) error {
	processor, known := processors[runtime.GOARCH]
	if !known {
		return fmt.Errorf("no filter for %s", runtime.GOARCH)
	}
	const (
		load  = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		equal = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		ret   = unix.BPF_RET | unix.BPF_K

		allow = 0x7fff0000 // SECCOMP_RET_ALLOW
		fail  = 0x00050000 // SECCOMP_RET_ERRNO

		callAt, processorAt = 0, 4 // in struct seccomp_data
	)
	n := len(calls)
	filter := []unix.SockFilter{
		{Code: load, K: processorAt},
		{Code: equal, K: processor, Jf: uint8(n + 1)}, // allows calls with the numbers of another processor
		{Code: load, K: callAt},
	}
	for i, call := range calls {
		filter = append(filter, unix.SockFilter{Code: equal, K: uint32(call), Jt: uint8(n - i)})
	}
	filter = append(filter,
		unix.SockFilter{Code: ret, K: allow},
		unix.SockFilter{Code: ret, K: fail | uint32(errno)})

	runtime.LockOSThread() // one thread must make both calls; the second applies to all threads
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("PR_SET_NO_NEW_PRIVS: %w", err)
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	const setModeFilter = 1 // SECCOMP_SET_MODE_FILTER
	thread, _, no := unix.Syscall(unix.SYS_SECCOMP, setModeFilter, unix.SECCOMP_FILTER_FLAG_TSYNC,
		uintptr(unsafe.Pointer(&program)))
	runtime.KeepAlive(filter)
	switch {
	case no != 0:
		return fmt.Errorf("seccomp: %w", no)
	case thread != 0:
		return fmt.Errorf("seccomp: thread %d cannot be filtered", thread)
	}
	for _, call := range calls { // with these arguments none of them has an effect
		if _, _, no := unix.Syscall6(call, 0, 0, 0, 0, 0, 0); no != errno {
			return fmt.Errorf("seccomp: call %d gives %v, want %v", call, no, errno)
		}
	}
	return nil
}
