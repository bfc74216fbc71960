//! Processes of the node that connect to one of its ports: they are led to the pod when they
//! connect, because what they send to 127.0.0.1 never reaches a device.
//!
//! Only sockets in the node's own network namespace are led; in a pod 127.0.0.1 is the pod. The way
//! back has nothing to translate; only what a program is told of its peer is what it had asked for.

use aya_ebpf::{
    EbpfContext,
    helpers::generated::{bpf_get_netns_cookie, bpf_get_socket_cookie},
    programs::SockAddrContext,
};
use daymark_abi::{
    Address, Be16,
    host_port::{SocketKey, Target},
};

use crate::{
    host_port,
    packet::TransportAddress,
    tables::{SETTINGS, SOCKETS},
};

/// What every hook returns: the call goes on.
pub const ALLOW: i32 = 1;

/// Family of a socket's addresses.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}

/// `connect` and `sendmsg`: leads the socket to the pod.
#[inline(always)]
pub fn lead(ctx: &SockAddrContext, family: Family) -> i32 {
    let Some(settings) = SETTINGS.get(0) else { return ALLOW };
    // SAFETY: a live context.
    if unsafe { bpf_get_netns_cookie(ctx.as_ptr()) } != settings.netns {
        return ALLOW;
    }
    let asked = destination(ctx, family);
    let own = is_loopback(&asked.address) || host_port::is_node(settings, &asked.address);
    // SAFETY: a live context.
    let protocol = unsafe { (*ctx.sock_addr).protocol } as u8;
    let Some(target) = host_port::target(protocol, &asked, own) else { return ALLOW };
    let value = Target { address: asked.address, port: asked.port, pad: [0; 2] };
    // Without a place the peer is told as the pod; the connection stands.
    let _ = SOCKETS.insert(&key(ctx, &target), &value, 0);
    set_destination(ctx, family, &target);
    ALLOW
}

/// `recvmsg` and `getpeername`: tells what had been asked for.
#[inline(always)]
pub fn tell(ctx: &SockAddrContext, family: Family) -> i32 {
    let peer = destination(ctx, family);
    // SAFETY: an element that is reused while it is read is another socket's, for which the key's
    // cookie would be another one: the peer is told wrongly once at worst.
    if let Some(asked) = unsafe { SOCKETS.get(&key(ctx, &peer)) } {
        let asked = TransportAddress { address: asked.address, port: asked.port };
        set_destination(ctx, family, &asked);
    }
    ALLOW
}

#[inline(always)]
fn key(ctx: &SockAddrContext, pod: &TransportAddress) -> SocketKey {
    // SAFETY: a live context.
    let cookie = unsafe { bpf_get_socket_cookie(ctx.as_ptr()) };
    SocketKey { cookie, address: pod.address, port: pod.port, pad: [0; 6] }
}

#[inline(always)]
fn is_loopback(address: &Address) -> bool {
    if address.is_v4() {
        return address.words[3].to_ne_bytes()[0] == 127;
    }
    address.equals(&Address { words: [0, 0, 0, 1u32.to_be()] })
}

#[inline(always)]
fn destination(ctx: &SockAddrContext, family: Family) -> TransportAddress {
    let sock = ctx.sock_addr;
    // SAFETY: a live context; the field that the hook's family has.
    let address = unsafe {
        match family {
            Family::V4 => Address::v4((*sock).user_ip4),
            Family::V6 => Address {
                words: [
                    (*sock).user_ip6[0],
                    (*sock).user_ip6[1],
                    (*sock).user_ip6[2],
                    (*sock).user_ip6[3],
                ],
            },
        }
    };
    // SAFETY: as above; the port is in network order in the low half.
    TransportAddress { address, port: Be16 { raw: unsafe { (*sock).user_port } as u16 } }
}

#[inline(always)]
fn set_destination(ctx: &SockAddrContext, family: Family, to: &TransportAddress) {
    let sock = ctx.sock_addr;
    // SAFETY: as in `destination`.
    unsafe {
        match family {
            Family::V4 => (*sock).user_ip4 = to.address.words[3],
            Family::V6 => {
                (*sock).user_ip6[0] = to.address.words[0];
                (*sock).user_ip6[1] = to.address.words[1];
                (*sock).user_ip6[2] = to.address.words[2];
                (*sock).user_ip6[3] = to.address.words[3];
            }
        }
        (*sock).user_port = u32::from(to.port.raw);
    }
}
