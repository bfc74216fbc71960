//! The Corefiles that people have (tests/dns/corefiles): they load and answer.
fn main() {}
