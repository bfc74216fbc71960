//! What `https`, `https3` and `quic` have in common: bounds of a listener.

use crate::corefile::{cause::Cause, checker::Checker, tree::Line};

/// Bounds of a listener; what is not set keeps the server's default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Connections at once; 0 for no other bound than the server's own.
    pub max_connections: Option<u32>,
    /// Queries at once on one connection; 0 for no other bound than the library's own.
    pub max_streams: Option<u32>,
    /// Queries at once on all connections.
    pub worker_pool_size: Option<u32>,
}

/// Reads a directive that has these properties, each with its least value.
pub(super) fn parse(
    line: &Line,
    cx: &mut Checker<'_>,
    properties: &[(&str, u32)],
) -> Option<Limits> {
    cx.none(line);
    let names: Vec<&str> = properties.iter().map(|(name, _)| *name).collect();
    let mut limits = Limits::default();
    for property in cx.properties(line) {
        let name = &*property.name().text;
        let Some((_, least)) = properties.iter().find(|(known, _)| *known == name) else {
            cx.unknown(property, &names);
            continue;
        };
        let Some(value) = cx.one(property, "a number") else { continue };
        let number = cx.integer(value, name, *least..=u32::MAX);
        let limit = match name {
            "max_connections" => &mut limits.max_connections,
            "max_streams" => &mut limits.max_streams,
            _ => &mut limits.worker_pool_size,
        };
        if limit.is_some() {
            let cause = Cause::Once { name: name.to_owned(), place: "server block" };
            cx.mistake(property.name().span, cause);
        }
        *limit = number;
    }
    Some(limits)
}
