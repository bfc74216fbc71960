//! Every kind of mistake that a Corefile can have, by cause.

use super::domain::DomainError;

/// What is wrong. The text of each variant is the message that people read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// The Corefile or a file it needs cannot be read.
    #[error("cannot read {path}: {error}")]
    Unreadable {
        /// The file.
        path: String,
        /// What the system says.
        error: String,
    },
    /// No server block at all.
    #[error("there is no server block")]
    Empty,
    /// Text, tokens or nesting beyond what one configuration may have.
    #[error("the configuration is too large: more than {most} {what}")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// The bound.
        most: usize,
    },
    /// A quote that does not end.
    #[error("this quote never closes")]
    OpenQuote,
    /// A block that does not end.
    #[error("this block never closes")]
    OpenBlock,
    /// A closing brace without a block, or in the middle of a line.
    #[error("unexpected `}}`")]
    ClosingBrace,
    /// An opening brace that is on no directive's line.
    #[error("unexpected `{{`")]
    OpeningBrace,
    /// Words after a block's closing brace.
    #[error("nothing may follow a block's `}}` on its line")]
    AfterBlock,
    /// A server block without an address.
    #[error("this block has no address")]
    NoAddress,
    /// A comma after the last address.
    #[error("another address must follow the comma")]
    Comma,
    /// An address that is none.
    #[error("`{text}` is not an address to serve: {reason}")]
    Address {
        /// The address.
        text: String,
        /// Why not.
        reason: AddressReason,
    },
    /// Zone and port are served by an earlier block.
    #[error("{address} is served twice")]
    ServedTwice {
        /// `scheme://zone:port`, perhaps with the bound address.
        address: String,
    },
    /// One block binds to an address and another one to all of them, for one zone and port.
    #[error("{address} is served on all addresses by one block and on a bound one by another")]
    ServedBoundAndUnbound {
        /// `scheme://zone:port`.
        address: String,
    },
    /// `import` with no or several arguments.
    #[error("`import` takes one argument: a snippet, a file or a pattern")]
    ImportArguments,
    /// A pattern that could take very long.
    #[error("a pattern may have one `*` and one `?`, and no `[]`")]
    ImportPattern,
    /// Neither a snippet nor a file.
    #[error("there is neither a snippet nor a file called `{name}`")]
    ImportMissing {
        /// The argument of `import`.
        name: String,
    },
    /// A pattern that matches no file. A warning.
    #[error("no file matches `{pattern}`")]
    ImportNothing {
        /// The argument of `import`.
        pattern: String,
    },
    /// A file or snippet that imports itself.
    #[error("`{name}` imports itself")]
    ImportLoop {
        /// The snippet or file.
        name: String,
    },
    /// Two snippets of one name.
    #[error("the snippet `{name}` is declared twice")]
    SnippetTwice {
        /// The snippet.
        name: String,
    },
    /// A snippet without braces.
    #[error("the snippet `{name}` needs a block in braces")]
    SnippetBlock {
        /// The snippet.
        name: String,
    },
    /// No plugin of that name, in CoreDNS either.
    #[error("there is no plugin called `{name}`")]
    UnknownPlugin {
        /// The directive.
        name: String,
    },
    /// Something that CoreDNS has and Daymark has not.
    #[error("{what} is not available in Daymark yet")]
    NotYet {
        /// The plugin, option or protocol.
        what: String,
    },
    /// A second directive of a plugin that takes one.
    #[error("`{name}` can be used once in a {place}")]
    Once {
        /// The plugin or property.
        name: String,
        /// `server block` or `block`.
        place: &'static str,
    },
    /// A property that the plugin does not have.
    #[error("`{plugin}` has no property `{found}`")]
    UnknownProperty {
        /// The plugin.
        plugin: &'static str,
        /// What stands there.
        found: String,
    },
    /// Too few or too many words.
    #[error("`{name}` takes {want}, but has {found}")]
    Arguments {
        /// The plugin or property.
        name: String,
        /// What it takes.
        want: String,
        /// How many arguments there are.
        found: usize,
    },
    /// A block in braces where none belongs.
    #[error("`{name}` takes no block")]
    NoBlock {
        /// The plugin or property.
        name: String,
    },
    /// A word that does not fit.
    #[error("`{found}` is not {want}")]
    Value {
        /// The word.
        found: String,
        /// What should stand there.
        want: String,
    },
    /// A number or duration outside its bounds.
    #[error("{what} must be {range}, but is {found}")]
    Range {
        /// What the number means.
        what: String,
        /// The bounds.
        range: String,
        /// The number.
        found: String,
    },
    /// Two settings that exclude or need each other.
    #[error("{0}")]
    Conflict(&'static str),
    /// Something allowed that does less than it seems to. A warning.
    #[error("{0}")]
    Ineffective(&'static str),
}

/// Why a text is no address of a server block, and no zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressReason {
    /// The zone is no domain name.
    #[error("as a domain name, {0}")]
    Domain(#[from] DomainError),
    /// A scheme that is none of CoreDNS's.
    #[error("there is no scheme `{0}://`")]
    Scheme(String),
    /// Nothing after the last colon.
    #[error("the port after the colon is missing")]
    PortMissing,
    /// A port above 65535, or text.
    #[error("the port is not a number from 0 to 65535")]
    Port,
    /// `address/mask` with a bad address or mask.
    #[error("it looks like a network, but its address or mask is wrong")]
    Network,
    /// A network that CoreDNS cannot tell from a port.
    #[error("a network may not begin with `:` or `0`")]
    NetworkStart,
    /// `{` or `}` in it.
    #[error("it has a brace in it")]
    Brace,
}

impl Cause {
    /// A stable name for the kind of mistake, `corefile::…`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "corefile::unreadable",
            Self::Empty => "corefile::empty",
            Self::TooLarge { .. } => "corefile::too_large",
            Self::OpenQuote => "corefile::open_quote",
            Self::OpenBlock => "corefile::open_block",
            Self::ClosingBrace => "corefile::closing_brace",
            Self::OpeningBrace => "corefile::opening_brace",
            Self::AfterBlock => "corefile::after_block",
            Self::NoAddress => "corefile::no_address",
            Self::Comma => "corefile::comma",
            Self::Address { .. } => "corefile::address",
            Self::ServedTwice { .. } => "corefile::served_twice",
            Self::ServedBoundAndUnbound { .. } => "corefile::served_bound_and_unbound",
            Self::ImportArguments => "corefile::import_arguments",
            Self::ImportPattern => "corefile::import_pattern",
            Self::ImportMissing { .. } => "corefile::import_missing",
            Self::ImportNothing { .. } => "corefile::import_nothing",
            Self::ImportLoop { .. } => "corefile::import_loop",
            Self::SnippetTwice { .. } => "corefile::snippet_twice",
            Self::SnippetBlock { .. } => "corefile::snippet_block",
            Self::UnknownPlugin { .. } => "corefile::unknown_plugin",
            Self::NotYet { .. } => "corefile::not_yet",
            Self::Once { .. } => "corefile::once",
            Self::UnknownProperty { .. } => "corefile::unknown_property",
            Self::Arguments { .. } => "corefile::arguments",
            Self::NoBlock { .. } => "corefile::no_block",
            Self::Value { .. } => "corefile::value",
            Self::Range { .. } => "corefile::range",
            Self::Conflict(_) => "corefile::conflict",
            Self::Ineffective(_) => "corefile::ineffective",
        }
    }

    /// What to write at the place itself; the message stands above it already.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::OpenQuote | Self::OpenBlock => "opened here",
            Self::UnknownPlugin { .. } | Self::UnknownProperty { .. } => "not known",
            Self::ServedTwice { .. } | Self::ServedBoundAndUnbound { .. } | Self::Once { .. } => {
                "again here"
            }
            Self::Unreadable { .. } => "asked for here",
            Self::NotYet { .. } => "not yet",
            _ => "here",
        }
    }

    /// The remedy that goes with every mistake of this kind.
    pub(crate) fn help(&self) -> Option<String> {
        let help = match self {
            Self::Unreadable { .. } => {
                "check that it is there, that it is a file, and that this user may read it"
            }
            Self::Empty => "a block for everything is `. { … }`",
            Self::OpenQuote => "add the closing `\"`; within quotes, `\\\"` stands for a quote",
            Self::OpenBlock => "add a line with `}`",
            Self::ClosingBrace => {
                "a block's `}` stands on a line of its own; remove this one or add the `{` that it closes"
            }
            Self::OpeningBrace => "`{` stands at the end of the line of what it belongs to",
            Self::AfterBlock => "begin a new line after `}`",
            Self::NoAddress => {
                "name the zone, with a port if it is not the default one: `example.org:53 {`; an address made of an environment variable that is not set is empty"
            }
            Self::Comma => "remove the comma",
            Self::Address { reason, .. } => return reason.help(),
            Self::ServedBoundAndUnbound { .. } => "give both blocks a `bind`, or neither",
            Self::SnippetBlock { .. } => "write `(name) {`, the lines, and `}`",
            Self::NoBlock { .. } => "remove the braces and what is in them",
            _ => return None,
        };
        Some(help.to_owned())
    }
}

impl AddressReason {
    fn help(&self) -> Option<String> {
        let help = match self {
            Self::Scheme(_) => "the schemes are dns, tls, quic, grpc, https and https3",
            Self::PortMissing => "remove the colon, or write the port after it",
            Self::Port => "an address is `[scheme://]zone[:port]`",
            Self::Network => "write the whole address: `10.0.0.0/8`, `2001:db8::/32`",
            Self::Brace => "put white space around `{` and `}`",
            Self::Domain(_) | Self::NetworkStart => return None,
        };
        Some(help.to_owned())
    }
}
