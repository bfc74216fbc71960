//! The node agent: gives the pods of one node their network.
//!
//! It has no logic of its own. It brings the parts up in the one order that is right ([`run`]), feeds
//! them from the cluster's snapshot ([`plan`]), and says how it is doing ([`serving`]).
#![forbid(unsafe_code)]

mod cleanup;
mod foreign;
pub mod metrics;
pub mod plan;
pub mod root;
pub mod run;
pub mod serving;
pub mod status;

pub use self::{
    cleanup::cleanup,
    root::Root,
    run::{Options, run},
};
