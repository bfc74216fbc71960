//! Takes a list response apart as it comes in: each element of `items` by itself, so that neither
//! the response nor a vector of API objects is ever held.

use serde::Deserialize;
use thiserror::Error;

use super::encoding::MAX_MESSAGE;

/// `metav1.ListMeta`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ListMeta {
    pub(crate) resource_version: String,
    pub(crate) r#continue: String,
}

/// A part of a response.
#[derive(Debug)]
pub(crate) enum Piece<'a> {
    /// One element of `items`, an object as JSON.
    Item(&'a [u8]),
    /// `metadata`; the API writes it before `items`.
    Metadata(ListMeta),
    /// An element longer than [`MAX_MESSAGE`]: passed over.
    TooLong,
}

/// The response is not a list.
#[derive(Debug, Error)]
#[error("the response is not a list: {what} at byte {at}")]
pub(crate) struct NotAList {
    what: &'static str,
    at: u64,
}

/// A scanner over the bytes of one response.
pub(crate) struct Page {
    at: At,
    bytes: u64,
    key: Vec<u8>,
    value: Vec<u8>,
    too_long: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum At {
    Start,
    /// Before a key, a comma, or the end of the outer object.
    Key,
    InKey {
        escaped: bool,
    },
    Colon,
    Value,
    /// Between elements of `items`.
    Items,
    Inside(Role, Inside),
    End,
}

/// What becomes of the value being read.
#[derive(Clone, Copy, PartialEq)]
enum Role {
    Skip,
    Metadata,
    Item,
}

/// Where in a value the scanner is.
#[derive(Clone, Copy, PartialEq)]
enum Inside {
    Containers {
        depth: u32,
    },
    Text {
        depth: u32,
        escaped: bool,
    },
    /// A number, `true`, `false` or `null`: ends before what cannot belong to it.
    Literal,
}

impl Page {
    /// A scanner at the start of a response.
    pub(crate) fn new() -> Self {
        Page { at: At::Start, bytes: 0, key: Vec::new(), value: Vec::new(), too_long: false }
    }

    /// Takes the next bytes and hands over each piece that they complete.
    ///
    /// # Errors
    /// These bytes cannot continue a list; what follows is of no use.
    pub(crate) fn feed<E: From<NotAList>>(
        &mut self,
        bytes: &[u8],
        mut each: impl FnMut(Piece<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        for byte in bytes {
            self.bytes += 1;
            self.step(*byte, &mut each)?;
        }
        Ok(())
    }

    /// Whether the whole response was seen.
    pub(crate) fn complete(&self) -> bool {
        self.at == At::End
    }

    fn step<E: From<NotAList>>(
        &mut self,
        byte: u8,
        each: &mut impl FnMut(Piece<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if let At::Inside(role, inside) = self.at {
            return self.inside(role, inside, byte, each);
        }
        if let At::InKey { escaped } = self.at {
            self.at = match byte {
                b'"' if !escaped => At::Colon,
                _ => At::InKey { escaped: byte == b'\\' && !escaped },
            };
            // Longer keys are none of ours.
            if matches!(self.at, At::InKey { .. }) && self.key.len() < 16 {
                self.key.push(byte);
            }
            return Ok(());
        }
        if byte.is_ascii_whitespace() {
            return Ok(());
        }
        self.at = match (self.at, byte) {
            (At::Start, b'{') | (At::Key, b',') => At::Key,
            (At::Key, b'"') => {
                self.key.clear();
                At::InKey { escaped: false }
            }
            (At::Key, b'}') => At::End,
            (At::Colon, b':') => At::Value,
            (At::Value, b'[') if self.key == b"items" => At::Items,
            (At::Value, _) => {
                let role = if self.key == b"metadata" { Role::Metadata } else { Role::Skip };
                return self.begin(role, byte);
            }
            (At::Items, b',') => At::Items,
            (At::Items, b'{') => return self.begin(Role::Item, byte),
            (At::Items, b']') => At::Key,
            _ => return Err(self.refuse("a byte out of place").into()),
        };
        Ok(())
    }

    fn begin<E: From<NotAList>>(&mut self, role: Role, byte: u8) -> Result<(), E> {
        let inside = match byte {
            b'{' | b'[' => Inside::Containers { depth: 1 },
            b'"' => Inside::Text { depth: 0, escaped: false },
            b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => Inside::Literal,
            _ => return Err(self.refuse("no value").into()),
        };
        self.value.clear();
        self.value.shrink_to(MAX_MESSAGE / 64);
        self.too_long = false;
        self.keep(role, byte);
        self.at = At::Inside(role, inside);
        Ok(())
    }

    fn inside<E: From<NotAList>>(
        &mut self,
        role: Role,
        inside: Inside,
        byte: u8,
        each: &mut impl FnMut(Piece<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let next = match (inside, byte) {
            (Inside::Literal, b',' | b'}' | b' ' | b'\t' | b'\r' | b'\n') => {
                self.end(role, each)?;
                return self.step(byte, each);
            }
            (Inside::Literal, _) => Some(Inside::Literal),
            (Inside::Text { depth, escaped: false }, b'"') => {
                (depth > 0).then_some(Inside::Containers { depth })
            }
            (Inside::Text { depth, escaped }, _) => {
                Some(Inside::Text { depth, escaped: byte == b'\\' && !escaped })
            }
            (Inside::Containers { depth }, b'"') => Some(Inside::Text { depth, escaped: false }),
            (Inside::Containers { depth }, b'{' | b'[') => {
                Some(Inside::Containers { depth: depth.saturating_add(1) })
            }
            (Inside::Containers { depth }, b'}' | b']') => {
                (depth > 1).then_some(Inside::Containers { depth: depth - 1 })
            }
            (Inside::Containers { depth }, _) => Some(Inside::Containers { depth }),
        };
        self.keep(role, byte);
        match next {
            Some(next) => {
                self.at = At::Inside(role, next);
                Ok(())
            }
            None => self.end(role, each),
        }
    }

    fn end<E: From<NotAList>>(
        &mut self,
        role: Role,
        each: &mut impl FnMut(Piece<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.at = if role == Role::Item { At::Items } else { At::Key };
        match role {
            Role::Skip => Ok(()),
            _ if self.too_long => each(Piece::TooLong),
            Role::Item => each(Piece::Item(&self.value)),
            Role::Metadata => match serde_json::from_slice(&self.value) {
                Ok(metadata) => each(Piece::Metadata(metadata)),
                Err(_) => Err(self.refuse("`metadata` of another shape").into()),
            },
        }
    }

    fn keep(&mut self, role: Role, byte: u8) {
        if role == Role::Skip || self.too_long {
            return;
        }
        if self.value.len() < MAX_MESSAGE {
            self.value.push(byte);
        } else {
            self.too_long = true;
            self.value = Vec::new();
        }
    }

    fn refuse(&self, what: &'static str) -> NotAList {
        NotAList { what, at: self.bytes }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn take(chunks: &[&[u8]]) -> Result<Vec<String>, String> {
        let (mut page, mut all) = (Page::new(), Vec::new());
        for chunk in chunks {
            page.feed::<NotAList>(chunk, |piece| {
                all.push(match piece {
                    Piece::Item(item) => String::from_utf8_lossy(item).into_owned(),
                    Piece::Metadata(m) => format!("@{}+{}", m.resource_version, m.r#continue),
                    Piece::TooLong => "TOO LONG".into(),
                });
                Ok(())
            })
            .map_err(|error| error.to_string())?;
        }
        if page.complete() { Ok(all) } else { Err("incomplete".into()) }
    }

    #[test]
    fn items_come_one_by_one_and_other_fields_are_passed_over() {
        for (text, want) in [
            (
                r#"{"kind":"ServiceList","metadata":{"resourceVersion":"7"},"items":[]}"#,
                vec!["@7+"],
            ),
            (
                r#"{"metadata":{"resourceVersion":"7","continue":"x"},"items":[{"a":"]}\""},{"b":[1,{}]}]}"#,
                vec!["@7+x", r#"{"a":"]}\""}"#, r#"{"b":[1,{}]}"#],
            ),
            (
                " {\n \"items\" : [ {} , {} ] , \"n\" : 1 ,\"t\":true,\"s\":\"\\\\\", \"metadata\" : {} } \n",
                vec!["{}", "{}", "@+"],
            ),
            (r#"{"items":null,"remainingItemCount":12,"metadata":{}}"#, vec!["@+"]),
            (r#"{"x":{"items":[{}],"metadata":{}},"n":-1}"#, vec![]),
        ] {
            assert_eq!(
                take(&[text.as_bytes()]).as_deref(),
                Ok(want.map_string().as_slice()),
                "{text}"
            );
        }
    }

    trait MapString {
        fn map_string(self) -> Vec<String>;
    }
    impl MapString for Vec<&str> {
        fn map_string(self) -> Vec<String> {
            self.into_iter().map(str::to_owned).collect()
        }
    }

    #[test]
    fn what_is_not_a_whole_list_is_refused() {
        for text in [
            "",
            "[",
            "{",
            "{]",
            r#"{"items":[1]}"#,
            r#"{"items":[{}"#,
            r#"{"items":[{}]"#,
            r#"{"a" 1}"#,
            "{}}",
            r#"{"metadata":7}"#,
            r#"{"a":}"#,
            "<html>",
        ] {
            assert!(take(&[text.as_bytes()]).is_err(), "{text}");
        }
    }

    #[test]
    fn an_item_too_long_is_passed_over_alone() {
        let long = "x".repeat(MAX_MESSAGE);
        let text = format!(r#"{{"items":[{{"a":"{long}"}},{{"b":1}}]}}"#);
        assert_eq!(take(&[text.as_bytes()]).unwrap(), ["TOO LONG", r#"{"b":1}"#]);
    }

    proptest! {
        #[test]
        fn where_the_response_is_cut_makes_no_difference(
            names in proptest::collection::vec("[a-z\\\\\"\\[\\]{},é]{0,6}", 0..5),
            cuts in proptest::collection::vec(0usize..300, 0..8),
        ) {
            let items: Vec<_> = names.iter().map(|n| serde_json::json!({"n": n, n: [n]})).collect();
            let list = serde_json::json!({"metadata": {"resourceVersion": "9"}, "items": items});
            let bytes = serde_json::to_vec(&list).unwrap();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|w| &bytes[w[0]..w[1]]).collect();
            let got = take(&chunks).unwrap();
            prop_assert_eq!(&got, &take(&[&bytes]).unwrap());
            prop_assert_eq!(got.len(), items.len() + 1);
        }

        #[test]
        fn no_bytes_make_the_scanner_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = take(&[b"{\"items\":[{", &bytes]);
            let _ = take(&[&bytes]);
        }
    }
}
