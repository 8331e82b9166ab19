package machine

// This file holds the description of the machine, which is published with the results. It has no host name.

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// Description is what readers of results need to know about the machine.
type Description struct {
	Model   string // of the processor
	CPUs    int    // that this process may use
	Memory  int64  // bytes
	Kernel  string // release
	Go      string // version
	Arch    string
	Virtual bool // a virtual machine
}

// Describe describes this machine. Fields that it cannot find out stay empty.
func Describe() Description {
	d := Description{Go: runtime.Version(), Arch: runtime.GOARCH}
	if cpus, err := Allowed(); err == nil {
		d.CPUs = len(cpus)
	}
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		// Distributions put names of their own behind the version.
		d.Kernel, _, _ = strings.Cut(unix.ByteSliceToString(name.Release[:]), "-")
	}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		d.Memory = int64(info.Totalram) * int64(info.Unit)
	}
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return d
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), ":")
		switch strings.TrimSpace(name) {
		case "model name":
			d.Model = strings.TrimSpace(value)
		case "flags":
			d.Virtual = strings.Contains(" "+value+" ", " hypervisor ")
		}
	}
	return d
}

// String returns the description in one line.
func (d Description) String() string {
	kind := "machine"
	if d.Virtual {
		kind = "virtual machine"
	}
	return fmt.Sprintf("%s, %d processors of a %s, %d GiB, Linux %s, %s %s", d.Model, d.CPUs, kind,
		(d.Memory+1<<29)>>30, d.Kernel, d.Go, d.Arch)
}
