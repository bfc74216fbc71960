//! What black-box tests stand on: real peers, a real control plane, the real binary, a DNS client.
//!
//! Nothing here knows how a server works inside. Start with [`process`] and [`dns`], then
//! [`control_plane`], then [`rules`] (the table of record rules).

pub mod asking;
pub mod certificates;
pub mod clients;
pub mod collector;
pub mod control_plane;
pub mod dns;
pub mod dnstap;
pub mod encrypted;
pub mod folder;
pub mod lab;
pub mod namespace;
pub mod pages;
pub mod peers;
pub mod ports;
pub mod process;
pub mod protobuf;
pub mod rules;
pub mod scripted_api;
pub mod suite;
pub mod upstream;
