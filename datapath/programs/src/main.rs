//! Daymark's eBPF programs. Each hook has a function here that does nothing but lead to its module:
//! [`pod`], [`wire`], [`overlay`], [`sockets`]; what they share has one module for each concern.
//!
//! A program passes a packet on by [`NEXT`], never by `TC_ACT_OK`: other programs at the same hook
//! shall see it too. Every drop has its reason, and goes through [`notify::drop`].
#![no_std]
#![no_main]
#![deny(unsafe_op_in_unsafe_fn)]

mod conntrack;
mod deliver;
mod fragment;
mod guard;
mod header;
mod host_port;
mod masquerade;
mod notify;
mod overlay;
mod pace;
mod packet;
mod peer;
mod pod;
mod rewrite;
mod sockets;
mod tables;
mod wire;

use aya_ebpf::{
    bindings::TC_ACT_UNSPEC,
    macros::{cgroup_sock_addr, classifier},
    programs::{SockAddrContext, TcContext},
};
use daymark_abi::counter::{self, EGRESS, INGRESS};

use crate::{packet::Packet, sockets::Family, tables::PACKET};

/// On to the next program (`TCX_NEXT`), or to the stack.
const NEXT: i32 = TC_ACT_UNSPEC;

/// Runs a hook's module and drops what it refuses.
macro_rules! hook {
    ($(#[$doc:meta])* $name:ident, $place:ident, $direction:ident, $run:path) => {
        $(#[$doc])*
        #[classifier]
        pub fn $name(ctx: TcContext) -> i32 {
            let Some(packet) = PACKET.get_ptr_mut(0) else { return NEXT };
            // SAFETY: this CPU's own, and no other program runs on it meanwhile.
            let packet = unsafe { &mut *packet };
            *packet = Packet::default();
            match $run(&ctx, packet) {
                Ok(action) => action,
                Err(reason) => {
                    notify::drop(ctx.skb.skb, packet, counter::$place, $direction, reason)
                }
            }
        }
    };
}

hook! {
    /// Ingress of the host's end of a pod's veth.
    from_pod, FROM_POD, EGRESS, pod::from
}
hook! {
    /// Egress of the host's end of a pod's veth.
    to_pod, TO_POD, INGRESS, pod::to
}
hook! {
    /// Ingress of the uplink.
    from_wire, FROM_WIRE, INGRESS, wire::from
}
hook! {
    /// Egress of the uplink.
    to_wire, TO_WIRE, EGRESS, wire::to
}
hook! {
    /// Ingress of the VXLAN device.
    from_overlay, FROM_OVERLAY, INGRESS, overlay::from
}
hook! {
    /// Egress of the VXLAN device.
    to_overlay, TO_OVERLAY, EGRESS, overlay::to
}

/// A hook of sockets.
macro_rules! socket_hook {
    ($($hook:ident, $run:path, $family:ident;)*) => {$(
        #[cgroup_sock_addr($hook)]
        pub fn $hook(ctx: SockAddrContext) -> i32 {
            $run(&ctx, Family::$family)
        }
    )*};
}

socket_hook! {
    connect4, sockets::lead, V4;
    connect6, sockets::lead, V6;
    sendmsg4, sockets::lead, V4;
    sendmsg6, sockets::lead, V6;
    recvmsg4, sockets::tell, V4;
    recvmsg6, sockets::tell, V6;
    getpeername4, sockets::tell, V4;
    getpeername6, sockets::tell, V6;
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}

/// No helper that is used here asks for the GPL.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 11] = *b"Apache-2.0\0";
