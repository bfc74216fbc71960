//! How a type that both sides share is declared, and how its layout becomes part of the hash.

/// A type that both sides share: plain octets, every pattern of which is valid. Only the macro
/// `shared!` implements it, which asserts the size and that there is no padding.
pub trait Shared: Copy + 'static {
    /// Name, fields and their types, in order.
    const LAYOUT: &'static str;
}

impl Shared for u32 {
    const LAYOUT: &'static str = "u32";
}

impl Shared for u64 {
    const LAYOUT: &'static str = "u64";
}

/// Declares a shared type of the given size in octets.
macro_rules! shared {
    (
        $(#[$meta:meta])*
        pub struct $name:ident: $size:literal {
            $($(#[$field_meta:meta])* pub $field:ident: $type:ty,)*
        }
    ) => {
        $(#[$meta])*
        #[repr(C)]
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
        pub struct $name {
            $($(#[$field_meta])* pub $field: $type,)*
        }

        const _: () = {
            assert!(size_of::<$name>() == $size, "the size is part of the contract");
            assert!(0 $(+ size_of::<$type>())* == $size, "no implicit padding");
        };

        impl $crate::Shared for $name {
            const LAYOUT: &'static str = concat!(
                stringify!($name), "{" $(, stringify!($field), ":", stringify!($type), ",")*, "}"
            );
        }
    };
}

/// FNV-1a over 64 bits, continued from `hash`.
pub(crate) const fn hashed(mut hash: u64, text: &str) -> u64 {
    let octets = text.as_bytes();
    let mut at = 0;
    while at < octets.len() {
        hash = (hash ^ octets[at] as u64).wrapping_mul(0x0100_0000_01b3);
        at += 1;
    }
    hash
}
