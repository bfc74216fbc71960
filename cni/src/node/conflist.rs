//! The list in `/etc/cni/net.d` whose presence tells a runtime that pods can be started.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use daymark_cni_spec::{ConfigurationList, Version};
use serde_json::{Map, Value, json};

/// Runtimes take the first file in alphabetical order.
pub const FILE: &str = "05-daymark.conflist";
/// What our plugin's executable is called.
pub const PLUGIN: &str = "daymark-cni";

/// Our list: the plugin, told where the agent listens.
pub fn list(socket: &Path) -> ConfigurationList {
    let capabilities = ["portMappings", "bandwidth", "ips", "mac"];
    let capabilities: Map<String, Value> =
        capabilities.map(|name| (name.to_owned(), Value::Bool(true))).into_iter().collect();
    let plugin = json!({ "type": PLUGIN, "socket": socket, "capabilities": capabilities });
    let plugin = match plugin {
        Value::Object(plugin) => plugin,
        _ => Map::new(),
    };
    ConfigurationList {
        cni_version: Version::V1_0_0.to_string(),
        cni_versions: vec![Version::V1_0_0.to_string(), Version::V1_1_0.to_string()],
        name: "daymark".to_owned(),
        disable_check: false,
        disable_gc: false,
        load_only_inlined_plugins: true,
        plugins: vec![plugin],
    }
}

/// Writes the list, whole or not at all, and so that it is there after a crash of the machine. To be
/// called last, when pods can be attached. One that says the same already is left alone: runtimes
/// load the folder anew with each change.
///
/// # Errors
/// Those of the file system.
pub fn write(folder: &Path, list: &ConfigurationList) -> io::Result<PathBuf> {
    let path = folder.join(FILE);
    let mut text = serde_json::to_vec_pretty(list)?;
    text.push(b'\n');
    if fs::read(&path).is_ok_and(|there| there == text) {
        return Ok(path);
    }
    fs::create_dir_all(folder)?;
    // Runtimes look at .conf, .conflist and .json alone.
    let partial = folder.join(format!(".{FILE}.partial"));
    let mut file = File::create(&partial)?;
    file.write_all(&text)?;
    file.sync_all()?;
    fs::rename(&partial, &path)?;
    File::open(folder)?.sync_all()?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_written_once_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let list = list(Path::new("/run/daymark/cni.sock"));
        let path = write(folder.path(), &list).unwrap();
        let written = fs::metadata(&path).unwrap().modified().unwrap();
        assert_eq!(ConfigurationList::parse(&fs::read(&path).unwrap()).unwrap(), list);
        assert_eq!(write(folder.path(), &list).unwrap(), path);
        assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), written, "left alone");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
