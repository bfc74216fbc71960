//! `tls`: the certificate that listeners of encrypted transports show, and which clients they want one
//! from.

pub mod acme;
pub mod config;
pub mod identity;
mod keylog;
pub mod material;
pub mod trust;
