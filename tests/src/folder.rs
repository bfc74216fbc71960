//! The objects of the record rules: for an API server, or as a folder of manifests.

use std::{net::IpAddr, path::Path};

use anyhow::Context;
use serde_json::Value;

use crate::{control_plane::ControlPlane, peers};

/// The machine's first IPv4 address that is not a loopback one.
pub fn local_v4() -> Option<IpAddr> {
    own_addresses().into_iter().find(IpAddr::is_ipv4)
}

/// The machine's addresses, loopback ones left out.
pub fn own_addresses() -> Vec<IpAddr> {
    let all = if_addrs::get_if_addrs().unwrap_or_default();
    all.iter().map(if_addrs::Interface::ip).filter(|address| !address.is_loopback()).collect()
}

/// All documents of the table's objects, the CRD first.
///
/// # Errors
/// If a file can't be read or is no YAML.
pub fn objects() -> anyhow::Result<Vec<Value>> {
    let folder = peers::repository().join("tests/dns/rules/objects");
    let mut files: Vec<_> = std::fs::read_dir(&folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<anyhow::Result<_>>()?;
    files.sort_by_key(|path| (path.file_name() != Some("crds.yaml".as_ref()), path.clone()));
    let mut objects = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file)?;
        let local =
            local_v4().map_or_else(|| "192.0.2.1".to_owned(), |address| address.to_string());
        let text = text.replace("@LOCAL4@", &local);
        let documents: Vec<Value> = serde_saphyr::from_multiple(&text)
            .with_context(|| format!("reading {}", file.display()))?;
        objects.extend(documents.into_iter().filter(|document| !document.is_null()));
    }
    Ok(objects)
}

/// Makes all objects in an API server.
///
/// # Errors
/// What the API server said.
pub fn load_into(plane: &ControlPlane) -> anyhow::Result<()> {
    for object in objects()? {
        let made = crate::process::retried(|| plane.make(&object));
        made.with_context(|| format!("making {} {}", object["kind"], object["metadata"]["name"]))?;
    }
    Ok(())
}

/// Writes all objects into `folder`, as an API server would show them.
///
/// # Errors
/// If a file can't be written.
pub fn write_to(folder: &Path) -> anyhow::Result<()> {
    for (index, mut object) in objects()?.into_iter().enumerate() {
        if object["metadata"]["annotations"]["daymark.test/delete"] == "true" {
            object["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        }
        std::fs::write(folder.join(format!("{index:03}.json")), object.to_string())?;
    }
    Ok(())
}
