//! What programs count, and at which hook: places in arrays that have a copy for each CPU.

shared! {
    /// Packets and octets of their IP packets.
    pub struct Count: 16 {
        /// Packets.
        pub packets: u64,
        /// Octets.
        pub bytes: u64,
    }
}

/// Seen from the pod or node: what comes in.
pub const INGRESS: u8 = 1;
/// Seen from the pod or node: what goes out.
pub const EGRESS: u8 = 2;

/// Place of a reason and direction in the table `DROPS`.
#[inline(always)]
pub const fn drop_place(reason: u8, direction: u8) -> u32 {
    reason as u32 * 2 + (direction as u32 & 1)
}
/// Length of `DROPS`.
pub const DROP_PLACES: u32 = 512;

/// Makes constants of consecutive places, and the table of their names.
macro_rules! places {
    ($(#[$list_meta:meta])* $list:ident: $($(#[$meta:meta])* $name:ident = $place:literal, $label:literal;)*) => {
        $($(#[$meta])* pub const $name: u32 = $place;)*

        $(#[$list_meta])*
        pub const $list: &[&str] = &[$($label),*];

        const _: () = {
            let mut expected = 0;
            $(assert!($place == expected, "places are consecutive"); expected += 1;)*
            assert!(expected as usize == $list.len());
        };
    };
}

places! {
    /// Labels of the hooks, in order of their places in `TRAFFIC`.
    HOOKS:
    /// Host's end of a pod's veth, what the pod sent.
    FROM_POD = 0, "from_pod";
    /// Host's end of a pod's veth, what the stack sends to the pod.
    TO_POD = 1, "to_pod";
    /// Uplink, what arrives.
    FROM_WIRE = 2, "from_wire";
    /// Uplink, what leaves.
    TO_WIRE = 3, "to_wire";
    /// VXLAN device, what arrives.
    FROM_OVERLAY = 4, "from_overlay";
    /// VXLAN device, what leaves.
    TO_OVERLAY = 5, "to_overlay";
    /// No hook: what went from one pod into another without the stack.
    DIRECT = 6, "direct";
}

places! {
    /// Labels of the causes, in order of their places in `CAUSES`.
    CAUSES:
    /// Connections entered.
    FLOW_CREATED = 0, "flow_created";
    /// Connections that became established: they no longer make room for new ones.
    FLOW_PROMOTED = 1, "flow_promoted";
    /// Connections that are established, but found that table full.
    FLOW_UNPROTECTED = 2, "flow_unprotected";
    /// Connections that found no place at all.
    FLOW_REFUSED = 3, "flow_refused";
    /// Entries found expired, and used anew.
    FLOW_EXPIRED = 4, "flow_expired";
    /// Ports given to masqueraded connections.
    PORT_TAKEN = 5, "nat_port_taken";
    /// Masqueraded connections for which no free port was found.
    PORT_EXHAUSTED = 6, "nat_port_exhausted";
    /// Events that the ring buffer had no room for.
    EVENT_LOST = 7, "event_lost";
    /// Later fragments whose first one was not seen.
    FRAGMENT_UNKNOWN = 8, "fragment_unknown";
}
