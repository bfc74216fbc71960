//! Addresses, prefixes and ports, as they stand in packets.

shared! {
    /// An IPv6 address in network order, or an IPv4 address mapped into one (`::ffff:a.b.c.d`,
    /// RFC 4291 §2.5.5.2). All zeros is no address.
    pub struct Address: 16 {
        /// The octets, four at a time, as they lie in memory.
        pub words: [u32; 4],
    }
}

impl Address {
    /// What IPv4 addresses have before their four octets: the second half of the first 12.
    const MAPPED: u32 = u32::from_ne_bytes([0, 0, 0xff, 0xff]);

    /// An IPv4 address, its octets as they lie in memory.
    #[inline(always)]
    pub const fn v4(word: u32) -> Address {
        Address { words: [0, 0, Address::MAPPED, word] }
    }

    /// From 16 octets in network order.
    pub const fn from_octets(octets: [u8; 16]) -> Address {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = octets;
        let words = [[a, b, c, d], [e, f, g, h], [i, j, k, l], [m, n, o, p]];
        Address {
            words: [
                u32::from_ne_bytes(words[0]),
                u32::from_ne_bytes(words[1]),
                u32::from_ne_bytes(words[2]),
                u32::from_ne_bytes(words[3]),
            ],
        }
    }

    /// The 16 octets in network order.
    pub const fn octets(self) -> [u8; 16] {
        let [a, b, c, d] = self.words[0].to_ne_bytes();
        let [e, f, g, h] = self.words[1].to_ne_bytes();
        let [i, j, k, l] = self.words[2].to_ne_bytes();
        let [m, n, o, p] = self.words[3].to_ne_bytes();
        [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
    }

    /// Whether it is a mapped IPv4 address.
    #[inline(always)]
    pub const fn is_v4(self) -> bool {
        self.words[0] == 0 && self.words[1] == 0 && self.words[2] == Address::MAPPED
    }

    /// Whether it is no address (`::`).
    #[inline(always)]
    pub const fn is_none(self) -> bool {
        self.words[0] | self.words[1] | self.words[2] | self.words[3] == 0
    }

    /// Field by field, because `==` on arrays becomes a call that the verifier does not know.
    #[inline(always)]
    pub const fn equals(&self, other: &Address) -> bool {
        (self.words[0] ^ other.words[0])
            | (self.words[1] ^ other.words[1])
            | (self.words[2] ^ other.words[2])
            | (self.words[3] ^ other.words[3])
            == 0
    }
}

shared! {
    /// A port in network order.
    pub struct Be16: 2 {
        /// As it lies in the packet.
        pub raw: u16,
    }
}

impl Be16 {
    /// From the host's order.
    #[inline(always)]
    pub const fn new(value: u16) -> Be16 {
        Be16 { raw: value.to_be() }
    }

    /// In the host's order.
    #[inline(always)]
    pub const fn get(self) -> u16 {
        u16::from_be(self.raw)
    }
}

shared! {
    /// Key of a longest-prefix table.
    pub struct Prefix: 20 {
        /// Bits that count; an IPv4 prefix has 96 more than it is written with.
        pub length: u32,
        /// The address; bits beyond are ignored.
        pub address: Address,
    }
}
