//! The node agent: gives the pods of one node their network.
//!
//! It has no logic of its own. It brings the parts up in the one order that is right ([`run`]), feeds
//! them from the cluster's snapshot ([`plan`]), and says how it is doing ([`serving`]).
#![forbid(unsafe_code)]

pub mod metrics;
pub mod plan;
pub mod root;
pub mod run;
pub mod serving;

pub use self::{
    root::Root,
    run::{Options, run},
};
