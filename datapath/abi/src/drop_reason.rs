//! Why a packet was dropped: Hubble's codes (`flow.DropReason`).

/// A code of `flow.DropReason`, as programs count and tell it.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DropReason(pub u8);

/// Makes a constant of each reason that we use, and the table of their names.
macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal;)*) => {
        impl DropReason {
            $($(#[$doc])* pub const $name: DropReason = DropReason($code);)*

            /// Every reason that our programs give.
            pub const ALL: &'static [DropReason] = &[$(DropReason::$name),*];

            /// The API's name, which is the label of metrics too; `DROP_REASON_UNKNOWN` for a code
            /// that is not ours.
            pub const fn name(self) -> &'static str {
                match self.0 {
                    $($code => stringify!($name),)*
                    _ => "DROP_REASON_UNKNOWN",
                }
            }
        }
    };
}

reasons! {
    /// A pod sent from a MAC that is not its own.
    INVALID_SOURCE_MAC = 130;
    /// A pod sent from an address that is not its own.
    INVALID_SOURCE_IP = 132;
    /// Too short, or lengths that contradict each other.
    INVALID_PACKET_DROPPED = 134;
    /// A transport header that ends too early.
    CT_TRUNCATED_OR_INVALID_HEADER = 135;
    /// Neither IPv4, IPv6 nor ARP.
    UNSUPPORTED_L3_PROTOCOL = 139;
    /// No place left for a new connection.
    CT_MAP_INSERTION_FAILED = 155;
    /// A chain of IPv6 extension headers that is too long or broken.
    INVALID_IPV6_EXTENSION_HEADER = 156;
    /// No node is known to which this destination is tunnelled.
    NO_TUNNEL_OR_ENCAPSULATION_ENDPOINT = 160;
    /// Sent so far ahead of its rate that its time lies beyond the horizon.
    REACHED_EDT_RATE_LIMITING_DROP_HORIZON = 162;
    /// No port is left to which this source can be translated.
    NO_MAPPING_FOR_NAT_MASQUERADE = 167;
    /// A protocol whose source can't be translated.
    UNSUPPORTED_PROTOCOL_FOR_NAT_MASQUERADE = 168;
    /// A later fragment whose first one was not seen.
    FIRST_LOGICAL_DATAGRAM_FRAGMENT_NOT_FOUND = 175;
    /// A tunnelled packet of another network.
    INVALID_VNI = 183;
}
