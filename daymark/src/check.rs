//! `daymark check`: what can be said before something is used.

mod compare;
mod corefile;
mod explain;
mod questions;

pub(crate) use self::{compare::compare, corefile::corefile};
