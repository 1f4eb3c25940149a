//! Name spaces of a node's own: its processes, mounts and network are seen by nobody else, and end with it.
//!
//! The first process in them waits for the end of its input, which comes when the test ends, however it ends. The kernel then ends every other
//! process inside, and what they mounted, their interfaces, addresses and tables go with the last of them.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    net::Ipv4Addr,
    os::fd::AsFd,
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// What the first process does: the node's address, and places of its own for what programs write wherever they like.
const PREPARE: &str = include_str!("prepare.sh");

/// The spaces, and the calling thread's way into their network.
pub struct Spaces {
    /// Ends them when dropped.
    input: Option<ChildStdin>,
    holder: Child,
    /// The first process, as it is called outside.
    first: String,
    /// The thread's network before.
    outside: File,
}

impl Spaces {
    /// Makes them, with `address` on the loopback interface, and moves the calling thread into their network: what it starts from now on lies in it.
    pub fn enter(address: Ipv4Addr, folder: &Path) -> Self {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private"]);
        command.args(["bash", "-euc", PREPARE, "prepare", &address.to_string()]).arg(folder);
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = command.spawn().unwrap_or_else(|error| panic!("unshare (util-linux) cannot be started: {error}"));
        let mut said = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "prepared\n", "a node of one's own takes root and a kernel with name spaces, bridges and nftables");
        let first = first_process(holder.id());
        let outside = File::open("/proc/thread-self/ns/net").unwrap();
        move_into(&File::open(format!("/proc/{first}/ns/net")).unwrap());
        Self { input: holder.stdin.take(), holder, first, outside }
    }

    /// A command that runs in all of them.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.first, "--mount", "--net", "--pid", "--"]).arg(program.as_ref());
        command
    }
}

impl Drop for Spaces {
    fn drop(&mut self) {
        move_into(&self.outside);
        self.input = None;
        // It ends after the first process, which ends after all others.
        let _ = self.holder.wait();
    }
}

fn move_into(network: &File) {
    move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
}

/// The only child of `unshare` when it is ready.
fn first_process(holder: u32) -> String {
    let children = std::fs::read_to_string(format!("/proc/{holder}/task/{holder}/children")).unwrap();
    let [only] = children.split_whitespace().collect::<Vec<_>>()[..] else { panic!("the children of {holder}: `{children}`") };
    only.to_owned()
}
