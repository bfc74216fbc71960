//! Tokens to server blocks. Goes on after a mistake at the next place where it can, so that one reading finds
//! all of them.

use std::sync::Arc;

use super::address::{Address, MAX_ZONES};
use super::cause::Cause;
use super::mistake::Finding;
use super::source::{Reader, Span};
use super::stream::{Snippet, Stopped, Stream};
use super::tree::{Block, Line, ServerBlock, Token};

/// Deepest nesting of braces; CoreDNS's own plugins use two levels.
const MAX_DEPTH: usize = 16;

/// Reads all server blocks. What is wrong is in the stream's findings.
pub(crate) fn parse<'a>(
    name: &str,
    text: String,
    reader: &'a dyn Reader,
) -> (Vec<ServerBlock>, Stream<'a>) {
    let mut parser =
        Parser { stream: Stream::new(name, text, reader), blocks: Vec::new(), zones: 0 };
    // A stop is reported where it happens; what was read until then is still checked.
    let _: Result<(), Stopped> = parser.blocks();
    (parser.blocks, parser.stream)
}

struct Parser<'a> {
    stream: Stream<'a>,
    blocks: Vec<ServerBlock>,
    zones: usize,
}

/// How the addresses of a block ended.
enum Body {
    Braces(Span),
    Rest,
}

impl Parser<'_> {
    fn blocks(&mut self) -> Result<(), Stopped> {
        while self.stream.peek().is_some() {
            let (addresses, body) = self.addresses()?;
            match (addresses.as_slice(), body) {
                ([one], body) if is_snippet(one) => self.snippet(one, body)?,
                ([], Body::Rest) => {}
                (_, body) => self.server_block(&addresses, &body)?,
            }
        }
        Ok(())
    }

    /// Words up to `{` or the end of the line; after a comma they go on in the next line.
    fn addresses(&mut self) -> Result<(Vec<Token>, Body), Stopped> {
        let mut words: Vec<Token> = Vec::new();
        let mut comma: Option<Span> = None;
        while let Some(next) = self.stream.peek() {
            if is_brace(next, "{") {
                let open = self.stream.take_raw()?.span;
                self.refuse_comma(comma);
                return Ok((words, Body::Braces(open)));
            }
            if is_import(next) {
                self.stream.import()?;
                continue;
            }
            if next.first && comma.is_none() && !words.is_empty() {
                return Ok((words, Body::Rest));
            }
            let mut word = self.stream.take()?;
            if is_brace(&word, "}") {
                self.report(word.span, Cause::ClosingBrace);
                continue;
            }
            comma = word.text.ends_with(',').then_some(word.span);
            if let Some(text) = word.text.strip_suffix(',') {
                word.text = text.into();
            } else if word.text.is_empty() {
                continue;
            }
            words.push(word);
        }
        self.refuse_comma(comma);
        Ok((words, Body::Rest))
    }

    fn refuse_comma(&mut self, comma: Option<Span>) {
        if let Some(span) = comma {
            self.report(span, Cause::Comma);
        }
    }

    fn server_block(&mut self, words: &[Token], body: &Body) -> Result<(), Stopped> {
        let span = match (words, body) {
            ([first, .., last], _) => first.span.to(last.span),
            ([one], _) => one.span,
            ([], Body::Braces(open)) => *open,
            ([], Body::Rest) => return Ok(()),
        };
        if words.is_empty() {
            self.report(span, Cause::NoAddress);
        }
        let mut addresses = Vec::new();
        for word in words {
            match Address::parse(&word.text, word.span) {
                Ok(address) => {
                    self.zones += address.zones.len();
                    if self.zones > MAX_ZONES {
                        return Err(self.stream.stop(word.span, "zones", MAX_ZONES));
                    }
                    addresses.push(address);
                }
                Err(reason) => {
                    self.report(word.span, Cause::Address { text: word.text.to_string(), reason });
                }
            }
        }
        let directives = match body {
            Body::Braces(open) => self.lines(*open, 1)?,
            Body::Rest => self.bare_lines()?,
        };
        self.blocks.push(ServerBlock { addresses, directives, span });
        Ok(())
    }

    /// The directives of a block without braces: all to the end.
    fn bare_lines(&mut self) -> Result<Vec<Line>, Stopped> {
        let mut lines = Vec::new();
        while let Some(next) = self.stream.peek() {
            if is_import_word(next) {
                self.stream.import()?;
            } else if is_brace(next, "}") {
                let span = self.stream.take_raw()?.span;
                self.report(span, Cause::ClosingBrace);
            } else if is_brace(next, "{") {
                self.stray_block(1)?;
            } else {
                lines.push(self.line(1)?);
            }
        }
        Ok(lines)
    }

    /// Lines up to the brace that closes the one at `open`.
    fn lines(&mut self, open: Span, depth: usize) -> Result<Vec<Line>, Stopped> {
        let mut lines = Vec::new();
        while let Some(next) = self.stream.peek() {
            if is_brace(next, "}") {
                self.stream.take_raw()?;
                return Ok(lines);
            }
            if is_import(next) || (depth == 1 && is_import_word(next)) {
                self.stream.import()?;
            } else if is_brace(next, "{") {
                self.stray_block(depth)?;
            } else {
                lines.push(self.line(depth)?);
            }
        }
        self.report(open, Cause::OpenBlock);
        Ok(lines)
    }

    fn line(&mut self, depth: usize) -> Result<Line, Stopped> {
        let mut tokens = vec![self.stream.take()?];
        while let Some(next) = self.stream.peek() {
            if is_brace(next, "{") {
                // CoreDNS counts one at the start of the next line as the directive's, then trips over it.
                let misplaced = next.first;
                let open = self.stream.take_raw()?.span;
                if misplaced {
                    self.report(open, Cause::OpeningBrace);
                }
                let block = Some(self.block(open, depth)?);
                return Ok(Line { tokens, block });
            }
            if next.first {
                break;
            }
            if is_brace(next, "}") {
                if depth == 1 {
                    let span = next.span;
                    self.report(span, Cause::ClosingBrace);
                }
                break;
            }
            tokens.push(self.stream.take()?);
        }
        Ok(Line { tokens, block: None })
    }

    fn block(&mut self, open: Span, depth: usize) -> Result<Block, Stopped> {
        if depth >= MAX_DEPTH {
            return Err(self.stream.stop(open, "levels of braces", MAX_DEPTH));
        }
        let lines = self.lines(open, depth + 1)?;
        while let Some(next) = self.stream.peek().filter(|next| !next.first && !is_brace(next, "}"))
        {
            let span = next.span;
            self.report(span, Cause::AfterBlock);
            self.stream.take_raw()?;
        }
        Ok(Block { open, lines })
    }

    /// A block that no directive opens: reported and skipped.
    fn stray_block(&mut self, depth: usize) -> Result<(), Stopped> {
        let open = self.stream.take_raw()?.span;
        self.report(open, Cause::OpeningBrace);
        self.block(open, depth).map(|_| ())
    }

    fn snippet(&mut self, name: &Token, body: Body) -> Result<(), Stopped> {
        let declared = name.span;
        let name: Arc<str> = name.text[1..name.text.len() - 1].into();
        let Body::Braces(open) = body else {
            self.report(declared, Cause::SnippetBlock { name: name.to_string() });
            return self.bare_lines().map(|_| ());
        };
        let tokens = self.snippet_tokens(open)?;
        if let Some(span) = self.imports_itself(&tokens, &name)? {
            self.report(span, Cause::ImportLoop { name: name.to_string() });
            return Ok(());
        }
        if let Some(earlier) = self.stream.snippets.get(&name) {
            let finding = Finding::new(declared, Cause::SnippetTwice { name: name.to_string() });
            let finding = finding.beside(earlier.declared, "declared here first");
            self.stream.findings.push(finding);
            return Ok(());
        }
        self.stream.snippets.insert(name, Snippet { tokens: tokens.into(), declared });
        Ok(())
    }

    /// Everything up to the brace that closes the one at `open`, as it is written.
    fn snippet_tokens(&mut self, open: Span) -> Result<Vec<Token>, Stopped> {
        let mut tokens: Vec<Token> = Vec::new();
        let mut depth = 1;
        while self.stream.peek().is_some() {
            let mut token = self.stream.take_raw()?;
            depth += usize::from(is_brace(&token, "{"));
            depth -= usize::from(is_brace(&token, "}"));
            if depth == 0 {
                return Ok(tokens);
            }
            token.first |= tokens.is_empty();
            tokens.push(token);
        }
        self.report(open, Cause::OpenBlock);
        Ok(tokens)
    }

    fn imports_itself(
        &mut self,
        tokens: &[Token],
        name: &Arc<str>,
    ) -> Result<Option<Span>, Stopped> {
        for pair in tokens.windows(2) {
            if is_import(&pair[0]) && self.stream.expand(&pair[1])? == *name {
                return Ok(Some(pair[1].span));
            }
        }
        Ok(None)
    }

    fn report(&mut self, span: Span, cause: Cause) {
        self.stream.findings.push(Finding::new(span, cause));
    }
}

fn is_brace(token: &Token, brace: &str) -> bool {
    !token.quoted && &*token.text == brace
}

fn is_import(token: &Token) -> bool {
    token.first && is_import_word(token)
}

fn is_import_word(token: &Token) -> bool {
    !token.quoted && &*token.text == "import"
}

fn is_snippet(token: &Token) -> bool {
    token.text.len() >= 2 && token.text.starts_with('(') && token.text.ends_with(')')
}
