//! The plugin's executable, put where container runtimes look for it.

use std::{
    fs::{self, File, Permissions},
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use super::conflist::PLUGIN;

/// Copies `program` into `folder` under the plugin's name, and gives its path there. A runtime finds
/// the old one or the new one, each whole, also after a crash of the machine; one that runs at the time
/// goes on.
///
/// # Errors
/// Those of the file system; then what was there before still is.
pub fn install(program: &Path, folder: &Path) -> io::Result<PathBuf> {
    let path = folder.join(PLUGIN);
    fs::create_dir_all(folder)?;
    // Runtimes take names that a configuration has: none has this.
    let partial = folder.join(format!(".{PLUGIN}.partial"));
    // One that was left over may not be open to be written: its file is a running program, or its mode
    // forbids it.
    match fs::remove_file(&partial) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::copy(program, &partial)?;
    let file = File::open(&partial)?;
    file.set_permissions(Permissions::from_mode(0o755))?;
    file.sync_all()?;
    fs::rename(&partial, &path)?;
    File::open(folder)?.sync_all()?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_new_plugin_takes_the_place_of_the_old_one_and_leaves_it_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let (program, to) = (folder.path().join("built"), folder.path().join("opt/cni/bin"));
        fs::write(&program, "first").expect("a program");
        let path = install(&program, &to).expect("into a folder that is made");
        let running = File::open(&path).expect("the first");
        fs::write(to.join(".daymark-cni.partial"), "cut o").expect("what a crash left");
        fs::write(&program, "second").expect("a program");
        install(&program, &to).expect("over another");
        assert_eq!(fs::read_to_string(&path).expect("the second"), "second");
        assert_eq!(fs::metadata(&path).expect("the second").mode() & 0o7777, 0o755);
        assert_eq!(io::read_to_string(running).expect("still open"), "first");
        let left: Vec<_> = fs::read_dir(&to).expect("the folder").flatten().collect();
        assert_eq!(left.len(), 1, "{left:?}");
    }

    #[test]
    fn what_is_there_stays_if_there_is_nothing_to_install() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join(PLUGIN), "old").expect("a plugin");
        install(&folder.path().join("nothing"), folder.path()).expect_err("no program");
        assert_eq!(fs::read_to_string(folder.path().join(PLUGIN)).expect("it stays"), "old");
    }
}
