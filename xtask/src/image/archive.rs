//! A tar archive as a layer needs it (POSIX.1-2001, "pax"): files, folders and links that belong to
//! root and have no time, so that the same content always gives the same octets.

/// An archive being written.
#[derive(Debug, Default)]
pub(super) struct Archive {
    octets: Vec<u8>,
    /// Extended attributes of the next entry.
    attributes: Vec<u8>,
}

const BLOCK: usize = 512;

impl Archive {
    /// Adds a folder; its parents have to be there.
    pub(super) fn folder(&mut self, path: &str) {
        self.entry(b'5', path, 0o755, &[], "");
    }

    /// Adds a file.
    pub(super) fn file(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.entry(b'0', path, mode, content, "");
    }

    /// Adds a symbolic link.
    pub(super) fn link(&mut self, path: &str, to: &str) {
        self.entry(b'2', path, 0o777, &[], to);
    }

    /// Gives the next entry an extended attribute.
    pub(super) fn attribute(&mut self, name: &str, value: &[u8]) {
        let mut record = format!(" SCHILY.xattr.{name}=").into_bytes();
        record.extend_from_slice(value);
        record.push(b'\n');
        // A record begins with its length, which counts its own digits.
        let mut length = record.len() + 1;
        while length.to_string().len() + record.len() != length {
            length += 1;
        }
        self.attributes.extend_from_slice(length.to_string().as_bytes());
        self.attributes.extend_from_slice(&record);
    }

    /// The archive's octets.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.octets.extend_from_slice(&[0; 2 * BLOCK]);
        self.octets
    }

    fn entry(&mut self, kind: u8, path: &str, mode: u32, content: &[u8], link: &str) {
        let attributes = std::mem::take(&mut self.attributes);
        if !attributes.is_empty() {
            self.raw(b'x', "attributes", 0o644, &attributes, "");
        }
        self.raw(kind, path, mode, content, link);
    }

    /// A header (`ustar`, pax(1)) and the content, filled up to whole blocks.
    fn raw(&mut self, kind: u8, path: &str, mode: u32, content: &[u8], link: &str) {
        let mut header = [0_u8; BLOCK];
        let mut put = |at: usize, text: &str| {
            header[at..at + text.len()].copy_from_slice(text.as_bytes());
        };
        put(0, path);
        put(100, &format!("{mode:07o}"));
        put(108, "0000000");
        put(116, "0000000");
        put(124, &format!("{:011o}", content.len()));
        put(136, "00000000000");
        // The sum is taken with blanks in its own place.
        put(148, "        ");
        put(157, link);
        put(257, "ustar\x0000");
        header[156] = kind;
        let sum: u32 = header.iter().map(|octet| u32::from(*octet)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.octets.extend_from_slice(&header);
        self.octets.extend_from_slice(content);
        self.octets.resize(self.octets.len().next_multiple_of(BLOCK), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_counts_its_own_length() {
        let mut archive = Archive::default();
        archive.attribute("a", &[7; 78]);
        let record = archive.attributes;
        let (length, _) =
            record.split_at(record.iter().position(|octet| *octet == b' ').expect("a blank"));
        assert_eq!(String::from_utf8_lossy(length), record.len().to_string());
    }

    #[test]
    fn tar_reads_it() {
        let mut archive = Archive::default();
        archive.folder("etc");
        archive.file("etc/one", 0o640, b"hello");
        archive.attribute("user.colour", b"blue\n");
        archive.file("etc/two", 0o755, &[b'x'; 1025]);
        archive.link("three", "etc/two");
        let folder = std::env::temp_dir().join(format!("xtask-archive-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let file = folder.join("a.tar");
        std::fs::write(&file, archive.finish()).expect("written");
        let listed = std::process::Command::new("tar").arg("-tvf").arg(&file).output();
        std::fs::remove_dir_all(&folder).expect("removed");
        let listed = listed.expect("tar");
        assert!(listed.status.success(), "{listed:?}");
        let text = String::from_utf8_lossy(&listed.stdout);
        let modes: Vec<&str> = text.lines().filter_map(|line| line.split(' ').next()).collect();
        assert_eq!(modes, ["drwxr-xr-x", "-rw-r-----", "-rwxr-xr-x", "lrwxrwxrwx"], "{text}");
        assert!(text.contains("1025") && text.contains("three -> etc/two"), "{text}");
    }
}
