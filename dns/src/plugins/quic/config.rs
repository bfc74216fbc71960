//! `quic { max_streams N ... }`.

use crate::{
    corefile::{checker::Checker, tree::Line},
    plugins::limits::{self, Limits},
};

/// Reads the directive.
pub fn parse(line: &Line, cx: &mut Checker<'_>) -> Option<Limits> {
    limits::parse(line, cx, &[("max_streams", 1), ("max_connections", 0), ("worker_pool_size", 1)])
}
