//! What outlives the agent about each attachment: one small file, whole or not there.
//!
//! A record is written before the first link is made and removed after the last trace is gone, so
//! whatever a killed agent left has a record. None is ever synced to the disk: records outlive the
//! process, not the machine's boot, after which there are no pods that they could be about; each
//! names its boot, and those of another one are thrown away.

use std::{
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
};

use daymark_cni_spec::{
    AttachmentId,
    configuration::{PortMapping, Rates},
};
use serde::{Deserialize, Serialize};

/// Longest file that is read.
const MAX_FILE: u64 = 64 * 1024;

/// An attachment as it was asked for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Record {
    /// The boot in which it was made.
    pub boot_id: String,
    /// Rises with each attachment; tells where the search for free addresses goes on.
    pub serial: u64,
    /// What names it.
    pub attachment: AttachmentId,
    /// The network's name.
    pub network: String,
    /// Path of the pod's network namespace as the runtime called it.
    pub netns: String,
    /// The pod, if the runtime said which.
    pub pod: Option<Pod>,
    /// Name of the host's end of the veth.
    pub host_ifname: String,
    /// MAC of the host's end.
    pub host_mac: [u8; 6],
    /// MAC of the pod's end.
    pub pod_mac: [u8; 6],
    /// The pod's addresses.
    pub addresses: Vec<IpAddr>,
    /// Whether they are of the node's own pools, and not another plugin's to take back.
    pub pooled: bool,
    /// Whether an earlier plugin of the chain made the link, which is then not ours to remove.
    pub adopted: bool,
    /// Ports of the node that lead to it.
    pub port_mappings: Vec<PortMapping>,
    /// Its rate limits.
    pub rates: Rates,
    /// Whether the programs are filters at its link.
    #[serde(default)]
    pub filters: bool,
}

/// A pod by name.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID; empty if the runtime did not say.
    pub uid: String,
}

/// The folder of the records.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    folder: PathBuf,
}

impl Store {
    /// Makes the folder if need be; only root may look into it.
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        Ok(Store { folder: folder.to_owned() })
    }

    /// All records of this boot, in the order of their making; other files are removed.
    pub(crate) fn load(&self, boot_id: &str) -> io::Result<Vec<Record>> {
        let mut records = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let short = entry.metadata().is_ok_and(|file| file.is_file() && file.len() <= MAX_FILE);
            let bytes = if short { fs::read(entry.path())? } else { Vec::new() };
            let id = entry.file_name().to_str().and_then(AttachmentId::parse);
            match parse(&bytes)
                .filter(|r| r.boot_id == boot_id && Some(&r.attachment) == id.as_ref())
            {
                Some(record) => records.push(record),
                None => fs::remove_file(entry.path())?,
            }
        }
        records.sort_by_key(|record| record.serial);
        Ok(records)
    }

    pub(crate) fn save(&self, record: &Record) -> io::Result<()> {
        let path = self.path(&record.attachment);
        // Calls for one attachment come one after the other, so the name is free.
        let partial = self.folder.join(format!("{}.partial", record.host_ifname));
        fs::write(&partial, serde_json::to_vec(record)?)?;
        fs::rename(partial, path)
    }

    /// A record that is not there is no error.
    pub(crate) fn remove(&self, id: &AttachmentId) -> io::Result<()> {
        match fs::remove_file(self.path(id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn path(&self, id: &AttachmentId) -> PathBuf {
        self.folder.join(id.to_string())
    }
}

/// Reads a record's file; `None` if it is none.
pub fn parse(bytes: &[u8]) -> Option<Record> {
    serde_json::from_slice(bytes).ok()
}

/// The kernel's name for this boot.
///
/// # Errors
/// Those of /proc.
pub fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: &str, boot: &str, serial: u64) -> Record {
        Record {
            boot_id: boot.to_owned(),
            serial,
            attachment: AttachmentId::new(id, "eth0").unwrap(),
            network: "pods".to_owned(),
            netns: String::new(),
            pod: None,
            host_ifname: format!("dmk-{id}"),
            host_mac: [2, 0, 0, 0, 0, 1],
            pod_mac: [2, 0, 0, 0, 0, 2],
            addresses: vec!["10.0.0.2".parse().unwrap()],
            pooled: true,
            adopted: false,
            port_mappings: Vec::new(),
            rates: Rates::default(),
            filters: false,
        }
    }

    #[test]
    fn records_of_this_boot_come_back_in_order_and_all_else_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("attachments");
        let store = Store::open(&path).unwrap();
        let [late, early, old] =
            [record("a", "now", 2), record("b", "now", 1), record("c", "then", 3)];
        for record in [&late, &early, &old] {
            store.save(record).unwrap();
        }
        fs::write(path.join("dmk.partial"), "{").unwrap();
        fs::write(path.join("x@eth0"), serde_json::to_vec(&early).unwrap()).unwrap();
        assert_eq!(store.load("now").unwrap(), [early.clone(), late.clone()]);
        assert_eq!(fs::read_dir(&path).unwrap().count(), 2);
        store.remove(&early.attachment).unwrap();
        store.remove(&early.attachment).unwrap();
        assert_eq!(store.load("now").unwrap(), [late]);
    }
}
