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
    // Alone in the list, it may have the ingress qdisc of its links, which is the faster way.
    let plugin = json!({
        "type": PLUGIN, "socket": socket, "capabilities": capabilities, "attach": "filters",
    });
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

/// What the name of a list that was set aside ends with; runtimes pass it over.
const SET_ASIDE: &str = ".set-aside";

/// Files of others that a runtime would take before ours, or in place of it, in its order.
///
/// # Errors
/// Those of the file system; a folder that is not there has none.
pub fn rivals(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let is_list = |path: &PathBuf| {
        let extension = path.extension().unwrap_or_default();
        ["conf", "conflist", "json"].iter().any(|known| extension == *known)
    };
    let before_ours = |path: &PathBuf| path.file_name().is_some_and(|name| name < FILE);
    let mut found = files(folder)?;
    found.retain(|path| is_list(path) && before_ours(path));
    found.sort();
    Ok(found)
}

/// Makes runtimes pass over a list. [`give_back`] is the way back.
///
/// # Errors
/// Those of the file system.
pub fn set_aside(rival: &Path) -> io::Result<()> {
    let mut name = rival.as_os_str().to_owned();
    name.push(SET_ASIDE);
    fs::rename(rival, name)
}

/// Removes our list and gives back those that were set aside; gives how many files that were.
///
/// # Errors
/// Those of the file system.
pub fn give_back(folder: &Path) -> io::Result<usize> {
    let mut count = 0;
    match fs::remove_file(folder.join(FILE)) {
        Ok(()) => count += 1,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    for path in files(folder)? {
        if let Some(name) = path.to_str().and_then(|path| path.strip_suffix(SET_ASIDE)) {
            fs::rename(&path, name)?;
            count += 1;
        }
    }
    Ok(count)
}

fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_that_come_before_ours_are_set_aside_and_given_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        assert_eq!(rivals(&path("nowhere")).unwrap(), Vec::<PathBuf>::new());
        for name in ["00-other.conflist", "01.json", "00-notes.txt", "10-later.conf"] {
            fs::write(path(name), "{}").unwrap();
        }
        write(folder.path(), &list(Path::new("/run/daymark/cni.sock"))).unwrap();
        let found = rivals(folder.path()).unwrap();
        assert_eq!(found, [path("00-other.conflist"), path("01.json")]);
        for rival in &found {
            set_aside(rival).unwrap();
        }
        assert_eq!(rivals(folder.path()).unwrap(), Vec::<PathBuf>::new());
        assert_eq!(give_back(folder.path()).unwrap(), 3);
        assert_eq!(rivals(folder.path()).unwrap(), found);
        assert!(!path(FILE).exists());
        assert_eq!(give_back(folder.path()).unwrap(), 0);
    }

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
