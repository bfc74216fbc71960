//! What the parser makes of the text: server blocks of lines of tokens. Nothing here knows what a plugin is.

use std::sync::Arc;

use super::address::Address;
use super::mistake::Mistake;
use super::source::{Files, Span};

/// One word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The text, without the quotes and after environment variables were put in.
    pub text: Arc<str>,
    /// Where it stands, quotes included.
    pub span: Span,
    /// Whether it was in quotes; a quoted brace is text.
    pub quoted: bool,
    /// Whether it is the first on its line.
    pub(crate) first: bool,
}

/// A directive with its arguments and, perhaps, a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// At least one token: the directive's name, then its arguments.
    pub tokens: Vec<Token>,
    /// What stands in braces after it.
    pub block: Option<Block>,
}

impl Line {
    /// The directive's name.
    pub fn name(&self) -> &Token {
        &self.tokens[0]
    }

    /// The words after the name.
    pub fn args(&self) -> &[Token] {
        &self.tokens[1..]
    }

    /// From the name to the last argument, without the block.
    pub fn span(&self) -> Span {
        self.name().span.to(self.tokens[self.tokens.len() - 1].span)
    }

    /// The lines of the block, none if there is none.
    pub fn lines(&self) -> &[Self] {
        self.block.as_ref().map_or(&[], |block| &block.lines)
    }
}

/// The lines between two braces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The opening brace.
    pub open: Span,
    /// The lines, in the order of the file.
    pub lines: Vec<Line>,
}

/// Addresses and the directives that serve them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerBlock {
    /// At least one.
    pub addresses: Vec<Address>,
    /// In the order of the file.
    pub directives: Vec<Line>,
    /// The addresses, without the directives.
    pub span: Span,
}

/// A Corefile whose grammar is right; its plugins are not looked at yet.
#[derive(Debug, Clone)]
pub struct Corefile {
    /// In the order of the file.
    pub blocks: Vec<ServerBlock>,
    /// The Corefile and all it imports.
    pub files: Files,
    /// SHA-512 over the texts of `files`, as lower-case hex. Changes whenever one of them does.
    pub digest: String,
    /// What is allowed but likely not meant, such as a glob that matches nothing.
    pub warnings: Vec<Mistake>,
}
