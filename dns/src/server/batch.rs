//! Datagrams in batches: recvmmsg and sendmmsg, with the address and interface each was sent to.
//!
//! The only unsafe code of this crate. All buffers are owned by [`Batch`] in boxed slices, which are
//! never replaced: pointers into them hold wherever the value itself moves, and those of an entry are
//! set anew after each use of it.
#![expect(unsafe_code, reason = "recvmmsg, sendmmsg and control messages have no safe wrapper")]

use std::{
    io,
    mem::{self, MaybeUninit},
    net::{IpAddr, SocketAddr},
    os::fd::{AsRawFd, BorrowedFd},
    ptr,
};

use socket2::{SockAddr, SockAddrStorage};

use super::fairness::Source;

/// Datagrams a batch holds at most.
pub const BATCH: usize = 64;
/// Octets of the longest query that is read whole. Longer ones are cut and then malformed.
pub const MAX_QUERY: usize = 2048;
/// Octets for the replies of one batch.
const REPLY_ROOM: usize = 256 * 1024;
/// Room for one IPv6 packet-info control message, the largest that is asked for.
const CONTROL: usize = 64;

/// Whether to wait for a datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wait {
    /// Until there is one, or the socket's read time-out has passed.
    ForOne,
    /// Not at all.
    No,
}

/// Where a datagram came from and what it was sent to: enough to answer from there.
#[derive(Clone)]
pub struct Peer {
    address: SockAddr,
    /// Address and interface that were asked; `None` on a socket bound to one address.
    asked: Option<(IpAddr, u32)>,
}

impl Peer {
    /// The client. IPv4-mapped addresses are given as IPv4.
    pub fn client(&self) -> SocketAddr {
        let address = self.address.as_socket().unwrap_or_else(|| ([0, 0, 0, 0], 0).into());
        SocketAddr::new(address.ip().to_canonical(), address.port())
    }

    /// The address that was asked, if the socket is not bound to one.
    pub fn asked(&self) -> Option<IpAddr> {
        self.asked.map(|(address, _)| address)
    }
}

/// Buffers for one batch of queries and their replies.
pub struct Batch {
    queries: Box<[[u8; MAX_QUERY]]>,
    names: Box<[libc::sockaddr_storage]>,
    controls: Box<[Control]>,
    parts: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
    replies: Box<[u8]>,
    reply_controls: Box<[Control]>,
    reply_parts: Box<[libc::iovec]>,
    reply_headers: Box<[libc::mmsghdr]>,
    received: usize,
    replied: usize,
    used: usize,
}

#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; CONTROL]);

// SAFETY: the raw pointers inside the headers point into this value's own boxes and are only followed
// by the kernel during calls that borrow it; nothing is tied to the thread that made it.
unsafe impl Send for Batch {}

impl Default for Batch {
    fn default() -> Self {
        // SAFETY: all of these are plain C structs for which all-zero is a valid value.
        let (name, part, header) = unsafe {
            (
                mem::zeroed::<libc::sockaddr_storage>(),
                mem::zeroed::<libc::iovec>(),
                mem::zeroed::<libc::mmsghdr>(),
            )
        };
        let mut batch = Batch {
            queries: vec![[0; MAX_QUERY]; BATCH].into(),
            names: vec![name; BATCH].into(),
            controls: vec![Control([0; CONTROL]); BATCH].into(),
            parts: vec![part; BATCH].into(),
            headers: vec![header; BATCH].into(),
            replies: vec![0; REPLY_ROOM].into(),
            reply_controls: vec![Control([0; CONTROL]); BATCH].into(),
            reply_parts: vec![part; BATCH].into(),
            reply_headers: vec![header; BATCH].into(),
            received: 0,
            replied: 0,
            used: 0,
        };
        (0..BATCH).for_each(|index| batch.arm(index));
        batch
    }
}

impl Batch {
    /// Takes what is there, up to [`BATCH`] datagrams, and waits for the first if it may.
    ///
    /// # Errors
    /// The socket's; `EAGAIN` when nothing came within its read time-out.
    pub fn receive(&mut self, socket: BorrowedFd<'_>, wait: Wait) -> io::Result<usize> {
        // Entries that the last call did not reach are as they were armed.
        (0..(self.received + 1).min(BATCH)).for_each(|index| self.arm(index));
        self.received = 0;
        // SAFETY: `headers` has BATCH entries whose pointers lead to live buffers of this value, of
        // the lengths given; the descriptor is borrowed for the call; no time-out is passed.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                BATCH as libc::c_uint,
                match wait {
                    Wait::ForOne => libc::MSG_WAITFORONE,
                    Wait::No => libc::MSG_DONTWAIT,
                },
                ptr::null_mut(),
            )
        };
        if count < 0 {
            return Err(io::Error::last_os_error());
        }
        self.received = count as usize;
        Ok(self.received)
    }

    /// Points entry `index` at its buffers, with all their room.
    fn arm(&mut self, index: usize) {
        self.parts[index] =
            libc::iovec { iov_base: self.queries[index].as_mut_ptr().cast(), iov_len: MAX_QUERY };
        let header = &mut self.headers[index].msg_hdr;
        header.msg_name = ptr::from_mut(&mut self.names[index]).cast();
        header.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
        header.msg_iov = &mut self.parts[index];
        header.msg_iovlen = 1;
        header.msg_control = self.controls[index].0.as_mut_ptr().cast();
        header.msg_controllen = CONTROL as _;
        header.msg_flags = 0;
    }

    /// Query `index` of the batch just received.
    pub fn query(&self, index: usize) -> &[u8] {
        let len = (self.headers[index].msg_len as usize).min(MAX_QUERY);
        &self.queries[index][..len]
    }

    /// Whether query `index` came by IPv6 (as IPv4-mapped addresses do not).
    pub fn is_v6(&self, index: usize) -> bool {
        self.names[index].ss_family == libc::AF_INET6 as libc::sa_family_t
    }

    /// Where query `index` came from.
    pub fn peer(&self, index: usize) -> Peer {
        let len = self.headers[index].msg_hdr.msg_namelen;
        let mut storage = SockAddrStorage::zeroed();
        // SAFETY: sockaddr_storage is what SockAddrStorage wraps; the copy is of the same type.
        unsafe { *storage.view_as::<libc::sockaddr_storage>() = self.names[index] };
        // SAFETY: the kernel wrote `len` valid octets of a socket address into the storage.
        let address = unsafe { SockAddr::new(storage, len) };
        Peer { address, asked: self.packet_info(index) }
    }

    /// Who sent query `index`.
    pub fn source(&self, index: usize) -> Source {
        let name = ptr::from_ref(&self.names[index]);
        let address = match i32::from(self.names[index].ss_family) {
            libc::AF_INET => {
                // SAFETY: the family says what the storage, large enough for any address, holds.
                let name = unsafe { name.cast::<libc::sockaddr_in>().read() };
                IpAddr::from(name.sin_addr.s_addr.to_ne_bytes())
            }
            _ => {
                // SAFETY: as above; sockets here are of these two families, and all-zero is an address.
                let name = unsafe { name.cast::<libc::sockaddr_in6>().read() };
                IpAddr::from(name.sin6_addr.s6_addr)
            }
        };
        address.into()
    }

    /// Query `index` and the room that is left for its reply, `want` octets if they are there.
    pub fn reply_room(&mut self, index: usize, want: usize) -> (&[u8], &mut [u8]) {
        let len = (self.headers[index].msg_len as usize).min(MAX_QUERY);
        let end = (self.used + want).min(self.replies.len());
        (&self.queries[index][..len], &mut self.replies[self.used..end])
    }

    /// Whether `want` octets are left for a reply.
    pub fn has_room(&self, want: usize) -> bool {
        self.replied < BATCH && self.used + want <= self.replies.len()
    }

    /// The first `len` octets of what was written into [`Batch::reply_room`] and not kept yet.
    pub fn written(&self, len: usize) -> &[u8] {
        &self.replies[self.used..self.used + len]
    }

    /// Keeps the `len` octets written into [`Batch::reply_room`] as the reply to query `index`. It
    /// goes to where that came from, from the address and interface that were asked.
    pub fn reply(&mut self, index: usize, len: usize) {
        let slot = self.replied;
        self.reply_parts[slot] =
            libc::iovec { iov_base: self.replies[self.used..].as_mut_ptr().cast(), iov_len: len };
        let control = self.answer_control(index, slot);
        let header = &mut self.reply_headers[slot].msg_hdr;
        header.msg_name = ptr::from_mut(&mut self.names[index]).cast();
        header.msg_namelen = self.headers[index].msg_hdr.msg_namelen;
        header.msg_iov = &mut self.reply_parts[slot];
        header.msg_iovlen = 1;
        header.msg_control = match control {
            0 => ptr::null_mut(),
            _ => self.reply_controls[slot].0.as_mut_ptr().cast(),
        };
        header.msg_controllen = control as _;
        self.replied += 1;
        self.used += len;
    }

    /// Sends the replies kept so far. One that the kernel refuses (an unreachable client) does not
    /// keep the others back.
    pub fn send(&mut self, socket: BorrowedFd<'_>) {
        let mut sent = 0;
        while sent < self.replied {
            // SAFETY: entries `sent..replied` were filled by `reply` with pointers into this value's
            // buffers, which have not moved or been reused since.
            let count = unsafe {
                libc::sendmmsg(
                    socket.as_raw_fd(),
                    self.reply_headers[sent..].as_mut_ptr(),
                    (self.replied - sent) as libc::c_uint,
                    0,
                )
            };
            if count > 0 {
                sent += count as usize;
            } else if io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
                sent += 1;
            }
        }
        self.replied = 0;
        self.used = 0;
    }

    /// Writes the control message for a reply to query `index`; gives its length, 0 for none.
    fn answer_control(&mut self, index: usize, slot: usize) -> usize {
        let Some(asked) = self.packet_info(index) else { return 0 };
        write_packet_info(&mut self.reply_controls[slot].0, asked)
    }

    /// Address and interface that query `index` was sent to.
    fn packet_info(&self, index: usize) -> Option<(IpAddr, u32)> {
        let header = &self.headers[index].msg_hdr;
        // SAFETY: the kernel filled `msg_control` with `msg_controllen` octets of control messages;
        // the buffer is aligned for cmsghdr and belongs to `self`. Payloads are read unaligned and
        // only where the message's own length says that they are whole.
        unsafe {
            let message = libc::CMSG_FIRSTHDR(header);
            if message.is_null() {
                return None;
            }
            let whole =
                |size: usize| (*message).cmsg_len as usize >= libc::CMSG_LEN(size as u32) as usize;
            match ((*message).cmsg_level, (*message).cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) if whole(size_of::<libc::in_pktinfo>()) => {
                    let info: libc::in_pktinfo =
                        ptr::read_unaligned(libc::CMSG_DATA(message).cast());
                    let address = IpAddr::from(info.ipi_addr.s_addr.to_ne_bytes());
                    Some((address, info.ipi_ifindex as u32))
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO)
                    if whole(size_of::<libc::in6_pktinfo>()) =>
                {
                    let info: libc::in6_pktinfo =
                        ptr::read_unaligned(libc::CMSG_DATA(message).cast());
                    Some((IpAddr::from(info.ipi6_addr.s6_addr), info.ipi6_ifindex as u32))
                }
                _ => None,
            }
        }
    }
}

/// Writes a packet-info control message that makes a datagram leave from `address` on `interface`.
fn write_packet_info(control: &mut [u8; CONTROL], (address, interface): (IpAddr, u32)) -> usize {
    // SAFETY: all-zero is a valid msghdr; it only carries the buffer for the CMSG macros.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = CONTROL as _;
    // SAFETY: the buffer has room for one header and the larger of the two payloads (checked by the
    // assertion below), and callers pass it aligned; payloads are written unaligned.
    unsafe {
        let message = libc::CMSG_FIRSTHDR(&header);
        let size = match address {
            IpAddr::V4(address) => {
                (*message).cmsg_level = libc::IPPROTO_IP;
                (*message).cmsg_type = libc::IP_PKTINFO;
                let mut info: libc::in_pktinfo = mem::zeroed();
                info.ipi_ifindex = interface as i32;
                info.ipi_spec_dst.s_addr = u32::from_ne_bytes(address.octets());
                ptr::write_unaligned(libc::CMSG_DATA(message).cast(), info);
                size_of::<libc::in_pktinfo>()
            }
            IpAddr::V6(address) => {
                (*message).cmsg_level = libc::IPPROTO_IPV6;
                (*message).cmsg_type = libc::IPV6_PKTINFO;
                let mut info: libc::in6_pktinfo = mem::zeroed();
                info.ipi6_ifindex = interface as _;
                info.ipi6_addr.s6_addr = address.octets();
                ptr::write_unaligned(libc::CMSG_DATA(message).cast(), info);
                size_of::<libc::in6_pktinfo>()
            }
        };
        (*message).cmsg_len = libc::CMSG_LEN(size as u32) as _;
        libc::CMSG_SPACE(size as u32) as usize
    }
}

const _: () = assert!(
    size_of::<libc::cmsghdr>() + size_of::<libc::in6_pktinfo>() + 8 <= CONTROL,
    "a packet-info message must fit the control buffer"
);

/// Sends one datagram to `peer`, from the address and interface that it asked.
///
/// # Errors
/// The socket's.
pub fn send_one(socket: BorrowedFd<'_>, peer: &Peer, reply: &[u8]) -> io::Result<()> {
    let mut control = Control([0; CONTROL]);
    let len = peer.asked.map_or(0, |asked| write_packet_info(&mut control.0, asked));
    let mut part = libc::iovec { iov_base: reply.as_ptr().cast_mut().cast(), iov_len: reply.len() };
    let mut header = MaybeUninit::<libc::msghdr>::zeroed();
    // SAFETY: all-zero is a valid msghdr.
    let header = unsafe { header.assume_init_mut() };
    header.msg_name = peer.address.as_ptr().cast_mut().cast();
    header.msg_namelen = peer.address.len();
    header.msg_iov = &mut part;
    header.msg_iovlen = 1;
    if len > 0 {
        header.msg_control = control.0.as_mut_ptr().cast();
        header.msg_controllen = len as _;
    }
    // SAFETY: name, part and control point to live memory of the lengths given; sendmsg only reads.
    match unsafe { libc::sendmsg(socket.as_raw_fd(), header, 0) } {
        sent if sent < 0 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Asks the kernel to tell which address and interface each datagram was sent to.
///
/// # Errors
/// The socket's.
pub fn want_packet_info(socket: BorrowedFd<'_>, v6: bool) -> io::Result<()> {
    let (level, option) = match v6 {
        false => (libc::IPPROTO_IP, libc::IP_PKTINFO),
        true => (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
    };
    let on: libc::c_int = 1;
    // SAFETY: the option's value is one int, which `on` is.
    let failed = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            ptr::from_ref(&on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if failed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
