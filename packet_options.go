package netpoll

// This file holds the options of sockets of datagrams, and of loops, for what is left to the system for many datagrams of
// one peer, and for what it tells beside the content.

// WithPacketGSO says whether WriteBatch may hand equal packets for one address to the system as one, which cuts it into
// datagrams (generic segmentation offload, UDP_SEGMENT of Linux): four or more packets in a row with the same length, of
// which the last may be shorter. That costs a fraction. It is the default where the kernel has it; [Features] tells. If
// the kernel refuses, as it does for some network devices, WriteBatch sends the packets one by one, and the socket does
// so from then on. Some tunnels drop what was sent that way without a word: this option, and the environment variable
// NETPOLL_GSO=off for a whole process, are for them. A loop applies it to the sockets that it serves.
func WithPacketGSO(on bool) PacketOption {
	return PacketOption{func(o *packetOptions) { o.offload.noGSO = !on }}
}

// WithPacketGRO says whether the system may join datagrams of one length that arrive from one peer (generic receive
// offload, UDP_GRO of Linux), which makes receiving them many times cheaper. Programs see single datagrams nevertheless.
//
// In a [PacketLoop] it is the default, if its [WithPacketSize] is too. Single sockets have it only with this option:
// their methods for receiving then cut what has come together, and copy. Control data is not available by ReadMsgUDP
// then, and who receives by SyscallConn or File sees datagrams together, so it must not be given to libraries that do.
//
// Where the system does not have it, and with NETPOLL_GRO=off in the environment, the option does nothing; [Features]
// tells.
func WithPacketGRO(on bool) PacketOption {
	return PacketOption{func(o *packetOptions) {
		if o.offload.gro = -1; on {
			o.offload.gro = 1
		}
	}}
}

// WithPacketSegments lets a program have datagrams that the system has joined as they are: as one packet with a
// SegmentSize. It is for sockets together with WithPacketGRO, and for loops. All methods of such a socket receive what
// has come together, so buffers should have 64 KiB.
func WithPacketSegments() PacketOption {
	return PacketOption{func(o *packetOptions) { o.offload.segments = true }}
}

// WithPacketInfo lets packets that are received tell the address that they came to, and the interface: Local and
// Interface. A server on a wildcard address needs it on a host with several addresses: what it sends back with that Local
// leaves from the address that was asked, and clients take nothing from others. Linux has it; elsewhere it does nothing.
func WithPacketInfo() PacketOption {
	return PacketOption{func(o *packetOptions) { o.offload.local = true }}
}

// WithPacketECN lets packets that are received tell their bits of explicit congestion notification. Linux has it;
// elsewhere it does nothing.
func WithPacketECN() PacketOption {
	return PacketOption{func(o *packetOptions) { o.offload.ecn = true }}
}
