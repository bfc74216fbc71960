//! `$GENERATE`, BIND's way of writing many records in one line.

/// Most records of one line.
const MAX_STEPS: u64 = 65_536;
/// Most digits that a number is filled up to.
const MAX_WIDTH: usize = 255;
/// Most that a number with its offset may be.
const MAX_NUMBER: i64 = i32::MAX as i64;

/// The numbers of a range, `START-STOP` or `START-STOP/STEP`. `None` where it is none.
pub fn range(word: &str) -> Option<impl Iterator<Item = i64> + Clone + use<>> {
    let (bounds, step) = word.split_once('/').unwrap_or((word, "1"));
    let (start, stop) = bounds.split_once('-')?;
    let number = |text: &str| text.parse::<i64>().ok().filter(|n| (0..=MAX_NUMBER).contains(n));
    let (start, stop, step) = (number(start)?, number(stop)?, number(step)?);
    let steps = stop.checked_sub(start)?.checked_div(step)?;
    let counted = u64::try_from(steps).ok().filter(|steps| *steps < MAX_STEPS)?;
    Some((0..=counted as i64).map(move |at| start + at * step))
}

/// The text for one number: `$` is the number, `${OFFSET,WIDTH,BASE}` the number plus an offset, filled up with
/// zeros, in base `d`, `o`, `x` or `X`; `$$` and `\$` are a dollar sign. `None` where a form is wrong.
pub fn filled(template: &str, number: i64) -> Option<String> {
    let mut out = String::with_capacity(template.len() + 8);
    let mut rest = template;
    while let Some(at) = rest.find(['$', '\\']) {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let behind = &from[1..];
        if from.starts_with('\\') {
            let escaped = behind.chars().next()?;
            if escaped != '$' {
                out.push('\\');
            }
            out.push(escaped);
            rest = &behind[escaped.len_utf8()..];
        } else if let Some(behind) = behind.strip_prefix('$') {
            out.push('$');
            rest = behind;
        } else if let Some(form) = behind.strip_prefix('{') {
            let (form, behind) = form.split_once('}')?;
            out.push_str(&formed(form, number)?);
            rest = behind;
        } else {
            out.push_str(&number.to_string());
            rest = behind;
        }
    }
    out.push_str(rest);
    Some(out)
}

fn formed(form: &str, number: i64) -> Option<String> {
    let mut parts = form.split(',');
    let offset: i64 = parts.next()?.parse().ok()?;
    let width: usize = parts.next().unwrap_or("0").parse().ok().filter(|w| *w <= MAX_WIDTH)?;
    let base = parts.next().unwrap_or("d");
    let number = number.checked_add(offset).filter(|n| (0..=MAX_NUMBER).contains(n))?;
    if parts.next().is_some() {
        return None;
    }
    Some(match base {
        "d" => format!("{number:0width$}"),
        "o" => format!("{number:0width$o}"),
        "x" => format!("{number:0width$x}"),
        "X" => format!("{number:0width$X}"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_have_bounds_and_a_step() {
        let all = |word: &str| range(word).map(Iterator::collect::<Vec<_>>);
        assert_eq!(all("1-3"), Some(vec![1, 2, 3]));
        assert_eq!(all("0-9/4"), Some(vec![0, 4, 8]));
        assert_eq!(all("5-5"), Some(vec![5]));
        for word in ["", "1", "3-1", "1-3/0", "1-3/", "-1-3", "0-65536", "0-99999999999", "a-b"] {
            assert_eq!(all(word), None, "{word}");
        }
        assert_eq!(all("0-65535").map(|all| all.len()), Some(65_536));
    }

    #[test]
    fn numbers_are_put_in() {
        for (template, wanted) in [
            ("h$.b$", Some("h7.b7")),
            ("h${3}", Some("h10")),
            ("h${-7,3}", Some("h000")),
            ("h${248,4,x} ${0,2,X} ${0,3,o}", Some("h00ff 07 007")),
            ("\\$ $$ \\046 \\\\", Some("$ $ \\046 \\\\")),
            ("h${-8}", None),
            ("h${0,1,n}", None),
            ("h${0,256}", None),
            ("h${0", None),
            ("h\\", None),
            ("h${0,1,d,1}", None),
        ] {
            assert_eq!(filled(template, 7).as_deref(), wanted, "{template}");
        }
    }
}
