//! daymark
fn main() {}
