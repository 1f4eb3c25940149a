//! A place of the node's own among the control groups, in every hierarchy. The only thing of a node that the kernel does not clear away by itself.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

const PREFIX: &str = "ringfence-node-";
const ROOT: &str = "/sys/fs/cgroup";

/// The place. Removed when dropped.
pub struct Cgroups {
    name: String,
}

impl Cgroups {
    /// Makes it, after removing the places of runs that were killed.
    pub fn make() -> Self {
        for hierarchy in hierarchies() {
            groups(&hierarchy).filter(|group| is_left(group)).for_each(|left| {
                remove(&left);
            });
        }
        let name = format!("{PREFIX}{}", std::process::id());
        for hierarchy in hierarchies() {
            fs::create_dir(hierarchy.join(&name)).unwrap();
        }
        Self { name }
    }

    /// What there is of this process's, in all hierarchies.
    pub fn of_this_process() -> Vec<PathBuf> {
        let name = format!("{PREFIX}{}", std::process::id());
        hierarchies().into_iter().map(|hierarchy| hierarchy.join(&name)).filter(|place| place.exists()).collect()
    }

    /// What kubelet calls it.
    pub fn root(&self) -> String {
        format!("/{}", self.name)
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        // Processes that were killed leave a moment later.
        let deadline = Instant::now() + Duration::from_secs(5);
        for place in hierarchies().into_iter().map(|hierarchy| hierarchy.join(&self.name)) {
            while !remove(&place) && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

/// One with version 2, one for each controller with version 1.
fn hierarchies() -> Vec<PathBuf> {
    if Path::new(ROOT).join("cgroup.controllers").exists() {
        return vec![PathBuf::from(ROOT)];
    }
    groups(Path::new(ROOT)).filter(|hierarchy| hierarchy.join("cgroup.procs").exists()).collect()
}

fn groups(of: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(of).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path())
}

/// Whether it is of a run that is no more.
fn is_left(group: &Path) -> bool {
    let of = group.file_name().and_then(|name| name.to_str()?.strip_prefix(PREFIX));
    of.is_some_and(|process| !Path::new("/proc").join(process).exists())
}

/// Removes a group and those in it. False when somebody lives in one of them.
fn remove(group: &Path) -> bool {
    let inhabited = groups(group).filter(|inner| !remove(inner)).count();
    inhabited == 0 && (fs::remove_dir(group).is_ok() || !group.exists())
}
