//! A cgroup that holds what runs in it to a share of a core.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;

/// Microseconds of the kernel's accounting period.
const PERIOD: u32 = 100_000;

/// A cgroup, removed when dropped.
pub struct Quota {
    folder: PathBuf,
}

impl Quota {
    /// A cgroup with so many hundredths of a core, in whichever hierarchy limits processor time here.
    ///
    /// # Errors
    /// Without the right to make one, or without such a hierarchy.
    pub fn new(name: &str, percent: u32) -> anyhow::Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        let (mut unified, mut classic) = (None, None);
        for line in mounts.lines() {
            let fields: Vec<&str> = line.split(' ').collect();
            match fields.get(1..4) {
                Some([folder, "cgroup2", _]) if has_cpu(folder) => unified = Some(*folder),
                Some([folder, "cgroup", options]) if options.split(',').any(|o| o == "cpu") => {
                    classic = Some(*folder);
                }
                _ => {}
            }
        }
        let of =
            |top: &str| Path::new(top).join(format!("daymark-bench-{}-{name}", std::process::id()));
        let quota = PERIOD / 100 * percent;
        let (folder, files) = match (unified, classic) {
            (Some(top), _) => (of(top), vec![("cpu.max", format!("{quota} {PERIOD}"))]),
            (None, Some(top)) => {
                let period = ("cpu.cfs_period_us", PERIOD.to_string());
                (of(top), vec![period, ("cpu.cfs_quota_us", quota.to_string())])
            }
            (None, None) => anyhow::bail!("no cgroup hierarchy here limits processor time"),
        };
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let group = Quota { folder };
        for (file, text) in files {
            let path = group.folder.join(file);
            fs::write(&path, text).with_context(|| path.display().to_string())?;
        }
        Ok(group)
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Periods in which what runs there was stopped, so far.
    ///
    /// # Errors
    /// If the kernel does not say.
    pub fn throttled(&self) -> anyhow::Result<f64> {
        let text = fs::read_to_string(self.folder.join("cpu.stat"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("nr_throttled "));
        Ok(line.context("cpu.stat has no nr_throttled")?.trim().parse()?)
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        // What runs there may still be ending; an empty folder that stays harms nobody.
        let _ = fs::remove_dir(&self.folder);
    }
}

fn has_cpu(folder: &str) -> bool {
    let enabled = fs::read_to_string(Path::new(folder).join("cgroup.subtree_control"));
    enabled.is_ok_and(|enabled| enabled.split_whitespace().any(|controller| controller == "cpu"))
}
