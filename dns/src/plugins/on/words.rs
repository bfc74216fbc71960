//! A command line in words, as a POSIX shell splits it, without its expansions.

/// Splits at white space. Quotes keep it: within `'` nothing has a meaning, within `"` a backslash
/// keeps the next character, as it does outside of quotes. `#` at a word's start begins a comment.
///
/// # Errors
/// What is missing at the end.
pub(super) fn words(text: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(ch) = chars.next() {
        match ch {
            ' ' | '\t' | '\r' | '\n' => words.extend(word.take()),
            '#' if word.is_none() => {
                // A comment goes to the end of its line.
                chars.by_ref().find(|ch| *ch == '\n');
            }
            '\'' | '"' => quoted(ch, &mut chars, word.get_or_insert_default())?,
            '\\' => {
                let kept = chars.next().ok_or("a backslash at the end keeps nothing")?;
                word.get_or_insert_default().push(kept);
            }
            _ => word.get_or_insert_default().push(ch),
        }
    }
    words.extend(word);
    Ok(words)
}

fn quoted(
    quote: char,
    chars: &mut impl Iterator<Item = char>,
    word: &mut String,
) -> Result<(), &'static str> {
    const OPEN: &str = "a quote in the command never closes";
    loop {
        match chars.next().ok_or(OPEN)? {
            ch if ch == quote => return Ok(()),
            '\\' if quote == '"' => word.push(chars.next().ok_or(OPEN)?),
            ch => word.push(ch),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_is_split_as_a_shell_does() {
        for (text, want) in [
            ("", &[][..]),
            ("  touch\t/tmp/x  &", &["touch", "/tmp/x", "&"]),
            ("sh -c 'a \"b\" \\n'", &["sh", "-c", "a \"b\" \\n"]),
            (r#"echo "a \" b"c'd'"#, &["echo", r#"a " bcd"#]),
            (r"echo a\ b \# c#d", &["echo", "a b", "#", "c#d"]),
            ("echo a # b\nc", &["echo", "a", "c"]),
            ("echo '' \"\"", &["echo", "", ""]),
        ] {
            assert_eq!(words(text).unwrap(), want, "{text}");
        }
        for text in ["echo 'a", "echo \"a\\\"", "echo a\\"] {
            assert!(words(text).is_err(), "{text}");
        }
    }
}
