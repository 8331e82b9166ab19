//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package sock

// This file holds the zones of addresses: names of interfaces, which the kernel knows by number. Asking the system for
// each datagram would cost more than the datagram, so the answers are kept for a while.

import (
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"
)

// zoneLife is how long the name of an interface is believed.
const zoneLife = time.Minute

var zones zoneCache

// zoneCache is what the system said last about its interfaces.
type zoneCache struct {
	// mu guards the fields below.
	mu      sync.RWMutex
	names   map[uint32]string
	indexes map[string]uint32
	asked   time.Time
}

// packetAddress is the address of a datagram in the form of package net: IPv4 stays mapped into IPv6.
func packetAddress(addr [16]byte, port uint16, zone uint32) netip.AddrPort {
	ip := netip.AddrFrom16(addr)
	if zone != 0 {
		ip = ip.WithZone(zones.name(zone))
	}
	return netip.AddrPortFrom(ip, port)
}

// zoneIndex is the number of an interface by its name, or by its number as text; 0 if there is none.
func zoneIndex(zone string) uint32 {
	if zone == "" {
		return 0
	}
	if index, ok := zones.index(zone); ok {
		return index
	}
	index, _ := strconv.ParseUint(zone, 10, 32)
	return uint32(index)
}

// name is the name of an interface, or its number if it has none.
func (z *zoneCache) name(index uint32) string {
	if name, known := find(z, &z.names, index); known {
		return name
	}
	return strconv.FormatUint(uint64(index), 10)
}

func (z *zoneCache) index(name string) (index uint32, known bool) { return find(z, &z.indexes, name) }

// find looks a key up in a map of z. It asks the system where the answer is missing or old.
func find[K comparable, V any](z *zoneCache, in *map[K]V, key K) (value V, known bool) {
	for range 2 {
		z.mu.RLock()
		value, known = (*in)[key]
		fresh := time.Since(z.asked) < zoneLife
		z.mu.RUnlock()
		if known && fresh {
			return value, true
		}
		if !z.ask(known) {
			break
		}
	}
	var none V
	return none, false
}

// ask asks the system. It does not ask again within a second for an interface that is not known: a peer may send from
// such ones at will.
func (z *zoneCache) ask(known bool) bool {
	z.mu.Lock()
	defer z.mu.Unlock()
	if !known && time.Since(z.asked) < time.Second {
		return false
	}
	list, err := net.Interfaces()
	if err != nil {
		return false
	}
	z.names, z.indexes = make(map[uint32]string, len(list)), make(map[string]uint32, len(list))
	for _, i := range list {
		z.names[uint32(i.Index)] = i.Name
		z.indexes[i.Name] = uint32(i.Index)
	}
	z.asked = time.Now()
	return true
}
