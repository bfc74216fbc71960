//! Zone tables: what the `kubernetes` plugin answers from.
//!
//! [`compile`] turns what the cluster knows of one Service into an encoded [`group`] of names; a
//! [`directory`] of immutable shards holds the groups, the reverse addresses and the namespaces;
//! [`table`] follows the cluster and publishes the next directory; [`lookup`] tells what a question
//! finds in it. Both ways through the server (wire and message objects) answer from [`lookup`].
//!
//! Nothing here knows messages, sockets or plugins. Start with [`view`], then [`lookup`].

pub mod compile;
pub mod directory;
mod edits;
pub mod external;
pub mod group;
pub mod lookup;
pub mod reverse;
pub mod shard;
pub mod table;
pub mod view;

pub use directory::Directory;
pub use lookup::{Found, Lookup, lookup};
pub use table::Table;
pub use view::View;
