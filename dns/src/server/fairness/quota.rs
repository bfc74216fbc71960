//! How much processor time the process may use: its cgroups' quotas, else all cores that it may run on.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// Quotas are read again so often: a Pod may be resized in place (KEP-1287).
const AGAIN: Duration = Duration::from_secs(10);

/// What the process may use, kept up to date.
#[derive(Debug)]
pub struct Quota {
    /// Thousandths of a core; 0 without a quota.
    limit: AtomicU64,
    cores: f64,
}

impl Default for Quota {
    /// No quota but the machine's cores.
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Quota { limit: AtomicU64::new(0), cores: cores as f64 }
    }
}

impl Quota {
    /// This process's quota, read again now and then on `runtime`.
    pub fn of_this_process(runtime: &tokio::runtime::Handle) -> Arc<Self> {
        let quota = Arc::new(Quota::default());
        quota.update();
        let followed = Arc::downgrade(&quota);
        runtime.spawn(async move {
            loop {
                tokio::time::sleep(AGAIN).await;
                let Some(quota) = followed.upgrade() else { return };
                // A handful of short files that the kernel holds in memory.
                quota.update();
            }
        });
        quota
    }

    /// A fixed one, of so many cores.
    #[cfg(test)]
    pub fn of(cores: f64) -> Arc<Self> {
        let limit = AtomicU64::new((cores * 1000.0) as u64);
        Arc::new(Quota { limit, ..Quota::default() })
    }

    fn update(&self) {
        let limit = read(|path| fs::read_to_string(path).ok())
            .map_or(0, |cores| (cores * 1000.0).max(1.0) as u64);
        self.limit.store(limit, Relaxed);
    }

    /// Cores that may be used.
    pub fn cores(&self) -> f64 {
        match self.limit.load(Relaxed) {
            0 => self.cores,
            limit => limit as f64 / 1000.0,
        }
    }

    /// Whether whoever uses more is stopped for a while, rather than merely busy.
    pub fn is_enforced(&self) -> bool {
        self.limit.load(Relaxed) != 0
    }
}

/// The least quota of the process's cgroups and those above them, in cores; `None` without one.
/// `text` reads a file.
fn read(text: impl Fn(&Path) -> Option<String>) -> Option<f64> {
    let groups = text(Path::new("/proc/self/cgroup"))?;
    let mounts = text(Path::new("/proc/self/mountinfo"))?;
    let quotas = mounts.lines().filter_map(Mount::parse).filter_map(|mount| {
        let top = Path::new(mount.point);
        let own = top.join(mount.group(&groups)?.trim_start_matches('/'));
        let above = own.ancestors().take_while(|folder| folder.starts_with(top));
        above.filter_map(|folder| mount.quota(folder, &text)).reduce(f64::min)
    });
    quotas.reduce(f64::min)
}

/// A mounted hierarchy of cgroups that may limit processor time.
struct Mount<'t> {
    /// What of the hierarchy is mounted there.
    of: &'t str,
    point: &'t str,
    /// Version 2, where one hierarchy has everything.
    unified: bool,
}

impl<'t> Mount<'t> {
    /// Reads a line of mountinfo (proc_pid_mountinfo(5)).
    fn parse(line: &'t str) -> Option<Self> {
        let (place, kind) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let (of, point) = (place.next()?, place.next()?);
        let mut kind = kind.split(' ');
        let unified = match kind.next()? {
            "cgroup2" => true,
            "cgroup" => false,
            _ => return None,
        };
        let options = kind.nth(1)?;
        (unified || options.split(',').any(|option| option == "cpu")).then_some(Mount {
            of,
            point,
            unified,
        })
    }

    /// The process's group below the mount point (cgroups(7)).
    fn group<'g>(&self, groups: &'g str) -> Option<&'g str> {
        let group = groups.lines().find_map(|line| {
            let (_, line) = line.split_once(':')?;
            let (controllers, group) = line.split_once(':')?;
            let ours = match self.unified {
                true => controllers.is_empty(),
                false => controllers.split(',').any(|controller| controller == "cpu"),
            };
            ours.then_some(group)
        })?;
        // Whatever else is the case, the mount point itself holds for all in it.
        Some(group.strip_prefix(self.of).unwrap_or_default())
    }

    /// The quota of the group in `folder`, in cores.
    fn quota(&self, folder: &Path, text: impl Fn(&Path) -> Option<String>) -> Option<f64> {
        let text = |file| text(&folder.join(file));
        let (quota, period) = match self.unified {
            true => {
                let limit = text("cpu.max")?;
                let (quota, period) = limit.split_once(' ')?;
                (quota.parse().ok()?, period.trim().parse().ok()?)
            }
            false => {
                let number = |file| text(file)?.trim().parse::<f64>().ok();
                (number("cpu.cfs_quota_us")?, number("cpu.cfs_period_us")?)
            }
        };
        (quota > 0.0 && period > 0.0).then(|| quota / period)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &str = "31 23 0:27 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
                      32 23 0:28 / /sys/fs/cgroup/memory rw shared:10 - cgroup cgroup rw,memory\n";
    const V2: &str =
        "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";

    /// The quota where these files are.
    fn quota(files: &[(&str, &str)]) -> Option<f64> {
        read(|path| {
            let (_, text) = files.iter().find(|(file, _)| Path::new(file) == path)?;
            Some((*text).to_owned())
        })
    }

    #[test]
    fn the_least_quota_on_the_way_up_holds() {
        let pod = "/sys/fs/cgroup/kubepods/pod1";
        let files = |own: &'static str, pods: &'static str| {
            [
                ("/proc/self/mountinfo".to_owned(), V2),
                ("/proc/self/cgroup".to_owned(), "0::/kubepods/pod1/dns\n"),
                (format!("{pod}/dns/cpu.max"), own),
                (format!("{pod}/cpu.max"), pods),
            ]
        };
        let read = |own, pods| {
            let files = files(own, pods);
            quota(&files.each_ref().map(|(path, text)| (path.as_str(), *text)))
        };
        assert_eq!(read("20000 100000\n", "max 100000\n"), Some(0.2));
        assert_eq!(read("max 100000\n", "150000 100000\n"), Some(1.5));
        assert_eq!(read("20000 100000\n", "10000 100000\n"), Some(0.1));
        assert_eq!(read("max 100000\n", "max 100000\n"), None);
        assert_eq!(read("nonsense", ""), None);
    }

    #[test]
    fn the_older_hierarchy_is_read_too() {
        let group = ("/proc/self/cgroup", "4:memory:/x\n3:cpu,cpuacct:/pod\n0::/\n");
        let folder = "/sys/fs/cgroup/cpu/pod";
        let read = |limit| {
            quota(&[
                ("/proc/self/mountinfo", V1),
                group,
                (&format!("{folder}/cpu.cfs_quota_us"), limit),
                (&format!("{folder}/cpu.cfs_period_us"), "100000\n"),
            ])
        };
        assert_eq!(read("50000\n"), Some(0.5));
        assert_eq!(read("-1\n"), None);
    }

    #[test]
    fn a_container_that_sees_its_own_group_as_the_root_finds_it() {
        let mounts = V2.replacen(" / ", " /kubepods/pod1/dns ", 1);
        let limit = ("/sys/fs/cgroup/cpu.max", "30000 100000");
        let read = |group| {
            quota(&[("/proc/self/mountinfo", &mounts), ("/proc/self/cgroup", group), limit])
        };
        assert_eq!(read("0::/\n"), Some(0.3));
        assert_eq!(read("0::/kubepods/pod1/dns\n"), Some(0.3));
        assert_eq!(quota(&[]), None, "nothing is mounted");
    }
}
