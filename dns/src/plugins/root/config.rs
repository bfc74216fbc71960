//! `root PATH`.

use std::path::PathBuf;

use crate::corefile::checker::Checker;
use crate::corefile::tree::Line;

/// The settings of `root`. [`Checker::path`] has applied them to the block's other directives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The folder in front of relative paths.
    pub folder: PathBuf,
}

/// Reads the directive.
pub fn parse(line: &Line, cx: &mut Checker<'_>) -> Option<Config> {
    cx.no_block(line);
    let token = cx.one(line, "one argument, a folder")?;
    let folder = PathBuf::from(&*token.text);
    if !cx.exists(&folder) {
        cx.warn(token.span, "the folder of `root` is not there");
    }
    Some(Config { folder })
}
