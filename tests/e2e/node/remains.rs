//! A node leaves nothing behind, also when its test fails.

use std::{
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use crate::support::{
    node::{Cgroups, Spaces},
    process::Process,
};

/// Fails when a process, a mount, a network interface or a file of the node in `folder` is still there.
pub fn assert_none_of(folder: &Path) {
    let text = folder.to_str().unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while let Some(left) = process_that_names(text) {
        // Who only waits for one of the node's ends a moment later.
        assert!(Instant::now() < deadline, "{} is left", left.display());
        thread::sleep(Duration::from_millis(10));
    }
    assert!(!fs::read_to_string("/proc/self/mounts").unwrap().contains(text), "something is still mounted");
    assert!(!folder.exists(), "{text} is still there");
    assert!(!Path::new("/sys/class/net/pods").exists(), "the bridge is left");
}

/// Fails when a control group of this process's node is still there.
pub fn assert_no_groups() {
    assert_eq!(Cgroups::of_this_process(), Vec::<PathBuf>::new());
}

fn process_that_names(text: &str) -> Option<PathBuf> {
    let mut processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path().join("cmdline"));
    processes.find(|process| fs::read_to_string(process).is_ok_and(|line| line.contains(text)))
}

#[test]
fn a_node_ends_with_its_test_also_when_that_fails() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    let test = thread::spawn(move || {
        let spaces = Spaces::enter(Ipv4Addr::new(10, 99, 0, 1), folder.path());
        let mark = folder.path().join("mark").display().to_string();
        let mut left_running = spaces.command("sh");
        left_running.args(["-c", "mkdir \"$0\" && mount -t tmpfs tmpfs \"$0\" && sleep 1000; :", &mark]);
        let _left_running = Process::start("what is left running", &mut left_running);
        // A container does as much: it is nobody's child any more.
        let orphan = spaces.command("setsid").args(["--fork", "sh", "-c", "sleep 1000; :", &mark]).status().unwrap();
        assert!(orphan.success());
        let interface = Command::new("ip").args(["link", "add", "pods", "type", "bridge"]).status().unwrap();
        assert!(interface.success());
        panic!("as a test does that fails");
    });
    assert!(test.join().unwrap_err().downcast_ref::<&str>().unwrap().contains("as a test does"));
    assert_none_of(&path);
}
