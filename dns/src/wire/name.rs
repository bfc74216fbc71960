//! A question's name: case-folded for lookup, with the start of each label.

/// Octets of the longest name (RFC 1035 §2.3.4), final root label included.
pub const MAX_NAME: usize = 255;
/// Most labels that a name of [`MAX_NAME`] octets can have, root not counted.
pub const MAX_LABELS: usize = 127;

/// A name in wire form, ASCII-folded to lower case, and where its labels start.
///
/// Reused from query to query, so that reading a name touches only the octets it has.
pub struct FoldedName {
    bytes: [u8; MAX_NAME + 9],
    starts: [u8; MAX_LABELS + 1],
    len: u8,
    labels: u8,
}

impl Default for FoldedName {
    fn default() -> Self {
        FoldedName { bytes: [0; MAX_NAME + 9], starts: [0; MAX_LABELS + 1], len: 1, labels: 0 }
    }
}

impl FoldedName {
    /// Reads the uncompressed name at `at`; gives the offset behind it. `None` where the name is cut
    /// short, too long, or uses compression or reserved label types.
    pub fn read(&mut self, message: &[u8], at: usize) -> Option<usize> {
        let mut end = at;
        let mut labels = 0;
        loop {
            let len = *message.get(end)? as usize;
            if len == 0 {
                break;
            }
            if len > 63 || end + 1 + len - at >= MAX_NAME {
                return None;
            }
            // At most 127 labels of one octet fit in the length just checked.
            self.starts[labels] = (end - at) as u8;
            labels += 1;
            end += 1 + len;
        }
        let wire = message.get(at..=end)?;
        self.starts[labels] = (end - at) as u8;
        self.labels = labels as u8;
        self.len = wire.len() as u8;
        fold_into(&mut self.bytes, wire);
        Some(end + 1)
    }

    /// The whole name with its root label.
    pub fn wire(&self) -> &[u8] {
        &self.bytes[..self.len as usize]
    }

    /// Labels, root not counted.
    pub fn labels(&self) -> usize {
        self.labels as usize
    }

    /// Offset of label `index` in [`Self::wire`]; `index == labels()` is the root's.
    pub fn start(&self, index: usize) -> usize {
        self.starts[index.min(self.labels as usize)] as usize
    }

    /// Octets of label `index`, without its length; empty when there is no such label.
    pub fn label(&self, index: usize) -> &[u8] {
        if index >= self.labels() {
            return &[];
        }
        &self.bytes[self.start(index) + 1..self.start(index + 1)]
    }

    /// Labels `from..to` in wire form, without a root label.
    pub fn span(&self, from: usize, to: usize) -> &[u8] {
        &self.bytes[self.start(from)..self.start(to)]
    }

    /// Number of labels left of `zone` (folded wire form), if the name is in it or is it.
    pub fn labels_above(&self, zone: &[u8], zone_labels: usize) -> Option<usize> {
        let above = self.labels().checked_sub(zone_labels)?;
        (&self.bytes[self.start(above)..self.len as usize] == zone).then_some(above)
    }
}

/// Copies `wire` lower-cased. Length octets are at most 63, below `A`, so folding leaves them alone.
fn fold_into(out: &mut [u8; MAX_NAME + 9], wire: &[u8]) {
    let mut chunks = wire.chunks_exact(8);
    let mut at = 0;
    for chunk in &mut chunks {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        out[at..at + 8].copy_from_slice(&fold_word(u64::from_ne_bytes(word)).to_ne_bytes());
        at += 8;
    }
    for octet in chunks.remainder() {
        out[at] = octet.to_ascii_lowercase();
        at += 1;
    }
}

/// Lower-cases the ASCII letters among eight octets at once.
fn fold_word(word: u64) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let low = word & (EACH * 0x7f);
    // The top bit of each octet tells: at least 'A'; more than 'Z'; plain ASCII.
    let at_least_a = low + EACH * (0x80 - b'A' as u64);
    let above_z = low + EACH * (0x80 - b'Z' as u64 - 1);
    let is_upper = at_least_a & !above_z & !word & (EACH * 0x80);
    word | (is_upper >> 2)
}

/// Folded wire form of a name in presentation form (`cluster.local.`), for names from configuration.
/// `None` if a label is empty or too long, or the name is.
pub fn from_text(text: &str) -> Option<Vec<u8>> {
    let mut wire = Vec::with_capacity(text.len() + 2);
    for label in text.trim_end_matches('.').split('.').filter(|_| text != ".") {
        push_label(&mut wire, label.as_bytes())?;
    }
    wire.push(0);
    (wire.len() <= MAX_NAME).then_some(wire)
}

/// Appends one label, lower-cased. `None` if it is empty or longer than 63 octets.
pub fn push_label(wire: &mut Vec<u8>, label: &[u8]) -> Option<()> {
    if label.is_empty() || label.len() > 63 {
        return None;
    }
    wire.push(label.len() as u8);
    wire.extend(label.iter().map(u8::to_ascii_lowercase));
    Some(())
}

/// The labels of an uncompressed wire name, with or without its root.
pub fn labels(wire: &[u8]) -> Vec<&[u8]> {
    let mut labels = Vec::new();
    let mut rest = wire;
    while let Some((&len, behind)) = rest.split_first()
        && len != 0
        && let Some((label, behind)) = behind.split_at_checked(usize::from(len))
    {
        labels.push(label);
        rest = behind;
    }
    labels
}

/// Labels of an uncompressed wire name, root not counted.
pub fn count_labels(wire: &[u8]) -> usize {
    let (mut at, mut labels) = (0, 0);
    while let Some(&len) = wire.get(at)
        && len != 0
    {
        labels += 1;
        at += 1 + len as usize;
    }
    labels
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_is_folded_and_split_into_labels() {
        let wire = b"\x03WeB\x04Shop\x03svc\x00rest";
        let mut name = FoldedName::default();
        assert_eq!(name.read(wire, 0), Some(14));
        assert_eq!(name.wire(), b"\x03web\x04shop\x03svc\x00");
        assert_eq!(name.labels(), 3);
        assert_eq!(name.label(1), b"shop");
        assert_eq!(name.label(3), b"");
        assert_eq!(name.span(0, 2), b"\x03web\x04shop");
        assert_eq!(name.labels_above(b"\x03svc\x00", 1), Some(2));
        assert_eq!(name.labels_above(b"\x04shop\x00", 1), None);
    }

    #[test]
    fn a_zone_matches_at_label_boundaries_only() {
        let mut name = FoldedName::default();
        name.read(b"\x05x\x03svc\x00", 0).unwrap();
        assert_eq!(name.labels_above(b"\x03svc\x00", 1), None);
    }

    #[test]
    fn cut_compressed_and_overlong_names_are_refused() {
        let mut name = FoldedName::default();
        for wire in [&b"\x03we"[..], b"\xc0\x0c", b"\x40aaa", b"", b"\x03web"] {
            assert_eq!(name.read(wire, 0), None, "{wire:?}");
        }
        let mut long = [b"\x3f".as_slice(), &[b'a'; 63]].concat().repeat(4);
        long.push(0);
        assert_eq!(name.read(&long, 0), None);
        assert_eq!(name.read(&[b"\x01a".repeat(127), vec![0]].concat(), 0), Some(255));
        assert_eq!(name.labels(), 127);
    }

    #[test]
    fn names_from_text_are_wire_names() {
        assert_eq!(from_text(".").unwrap(), b"\0");
        assert_eq!(from_text("Cluster.LOCAL").unwrap(), b"\x07cluster\x05local\0");
        assert_eq!(from_text("a..b"), None);
        assert_eq!(count_labels(&from_text("a.b.c.").unwrap()), 3);
    }

    proptest! {
        #[test]
        fn folding_by_word_is_folding_by_octet(bytes in prop::collection::vec(any::<u8>(), 0..=255)) {
            let mut out = [0; MAX_NAME + 9];
            fold_into(&mut out, &bytes);
            let want = bytes.to_ascii_lowercase();
            prop_assert_eq!(&out[..bytes.len()], want.as_slice());
        }
    }
}
