//! Text to tokens, by the rules of coredns/caddy 1.1.4.
//!
//! Words are separated by white space. A word that begins with `"` runs to the next `"`, over line ends too,
//! and `\"` is the only escape. `#` outside quotes ends a word and hides what follows: the rest of the line
//! after white space, but only the rest of the word inside one (`1.1.1.1#first 8.8.8.8` is two words, as for
//! CoreDNS). `\r` does not exist.

use super::source::{FileId, Span};
use super::tree::Token;

/// The tokens of `text`, and where a quote opens that never closes.
pub(crate) fn lex(file: FileId, text: &str) -> (Vec<Token>, Option<Span>) {
    let mut lexer = Lexer { file, chars: text.char_indices(), len: text.len(), fresh_line: true };
    let mut tokens = Vec::new();
    loop {
        match lexer.next() {
            Next::Token(token) => tokens.push(token),
            Next::OpenQuote(span) => return (tokens, Some(span)),
            Next::End => return (tokens, None),
        }
    }
}

struct Lexer<'a> {
    file: FileId,
    chars: std::str::CharIndices<'a>,
    len: usize,
    /// No token has been read on this line.
    fresh_line: bool,
}

enum Next {
    Token(Token),
    OpenQuote(Span),
    End,
}

impl Lexer<'_> {
    fn next(&mut self) -> Next {
        let mut comment = false;
        while let Some((at, ch)) = self.chars.next() {
            match ch {
                '\n' => {
                    self.fresh_line = true;
                    comment = false;
                }
                '\u{feff}' if at == 0 => {}
                _ if comment || ch.is_whitespace() => {}
                '#' => comment = true,
                '"' => return self.quoted(at),
                _ => return self.word(at, ch),
            }
        }
        Next::End
    }

    fn word(&mut self, start: usize, head: char) -> Next {
        let mut text = String::from(head);
        let mut end = start + head.len_utf8();
        let mut comment = false;
        let mut broke_line = false;
        for (at, ch) in self.chars.by_ref() {
            match ch {
                '\r' => {}
                _ if ch.is_whitespace() => {
                    broke_line = ch == '\n';
                    break;
                }
                _ if comment => {}
                '#' => comment = true,
                _ => {
                    text.push(ch);
                    end = at + ch.len_utf8();
                }
            }
        }
        let token = self.token(&text, start, end, false);
        self.fresh_line = broke_line;
        Next::Token(token)
    }

    fn quoted(&mut self, start: usize) -> Next {
        let mut text = String::new();
        let mut escaped = false;
        for (at, ch) in self.chars.by_ref() {
            match ch {
                '\\' if !escaped => {
                    escaped = true;
                    continue;
                }
                '"' if !escaped => {
                    let token = self.token(&text, start, at + 1, true);
                    self.fresh_line = false;
                    return Next::Token(token);
                }
                '"' => {}
                _ if escaped => text.push('\\'),
                _ => {}
            }
            text.push(ch);
            escaped = false;
        }
        Next::OpenQuote(self.span(start, self.len.min(start + 1)))
    }

    fn token(&self, text: &str, start: usize, end: usize, quoted: bool) -> Token {
        Token { text: text.into(), span: self.span(start, end), quoted, first: self.fresh_line }
    }

    fn span(&self, start: usize, end: usize) -> Span {
        let offset = |at: usize| u32::try_from(at).expect("texts are shorter than MAX_TEXT");
        Span { file: self.file, start: offset(start), end: offset(end) }
    }
}
