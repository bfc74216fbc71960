//! `https { max_connections N ... }`.

use crate::{
    corefile::{checker::Checker, tree::Line},
    plugins::limits::{self, Limits},
};

/// Reads the directive.
pub fn parse(line: &Line, cx: &mut Checker<'_>) -> Option<Limits> {
    limits::parse(line, cx, &[("max_connections", 0), ("max_streams", 0)])
}
