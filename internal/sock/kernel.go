package sock

// This file holds which kernel this is, for what cannot be found out by trying.

import (
	"strconv"
	"strings"
)

// KernelVersion reads the numbers that a release such as "6.18.2-generic" begins with. What is missing is 0.
func KernelVersion(release string) (v [3]int) {
	end := strings.IndexFunc(release, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
	if end >= 0 {
		release = release[:end]
	}
	for i, part := range strings.SplitN(release, ".", 4) {
		if i < len(v) {
			v[i], _ = strconv.Atoi(part)
		}
	}
	return v
}
