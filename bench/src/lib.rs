//! What comparisons with peers stand on: a made cluster, servers pinned to one core, measurements,
//! statistics and the report. The comparisons themselves are in `src/bin`.

pub mod cluster;
pub mod flood;
pub mod measure;
pub mod queries;
pub mod quota;
pub mod report;
pub mod servers;
pub mod statistics;
pub mod watch;
