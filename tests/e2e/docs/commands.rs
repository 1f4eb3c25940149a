//! Commands of the documentation, run as a reader would.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;

use super::{
    Page,
    blocks::{Task, shows},
    pages, root,
};
use crate::support::{http::Ask, process::Process, wait_for};

#[tokio::test]
async fn commands_in_the_documentation_do_what_is_shown() {
    // One page after the other: a reader uses the default ports.
    for page in pages() {
        run(&page).await;
    }
}

async fn run(page: &Page) {
    let desk = Desk::new();
    let mut servers = Vec::new();
    for block in &page.blocks {
        let place = page.place(block);
        match block.task() {
            Ok(Task::File(path)) => {
                let path = desk.folder.path().join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, &block.text).unwrap();
            }
            Ok(Task::Run { exit }) => {
                let commands = block.commands();
                for (number, (command, shown)) in commands.iter().enumerate() {
                    let expected = if number + 1 == commands.len() { exit } else { 0 };
                    desk.run(&place, command, shown.as_deref(), expected);
                }
            }
            Ok(Task::Serve(url)) => {
                for (command, _) in block.commands() {
                    servers.push(Process::start(&place, &mut desk.bash(&format!("exec {command}"))));
                }
                answers(&place, &url).await;
            }
            _ => {}
        }
    }
}

/// The folder in which the commands of a page run.
pub(super) struct Desk {
    folder: TempDir,
    programs: TempDir,
    variables: Vec<(String, String)>,
}

impl Desk {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(root()).unwrap() {
            let entry = entry.unwrap();
            symlink(entry.path(), folder.path().join(entry.file_name())).unwrap();
        }
        let programs = tempfile::tempdir().unwrap();
        let ringfence = env!("CARGO_BIN_EXE_ringfence");
        symlink(ringfence, programs.path().join("ringfence")).unwrap();
        let cargo =
            "#!/bin/sh\n[ \"$1 $2 $3\" = 'run --release --' ] || { echo \"unexpected: cargo $*\" >&2; exit 99; }\nshift 3\nexec ringfence \"$@\"\n";
        write_program(&programs.path().join("cargo"), cargo);
        Self { folder, programs, variables: Vec::new() }
    }

    /// Adds programs that the commands may use, and variables that they see.
    pub(super) fn with(mut self, programs: &[PathBuf], variables: &[(&str, String)]) -> Self {
        for program in programs {
            symlink(program, self.programs.path().join(program.file_name().unwrap())).unwrap();
        }
        self.variables.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        self
    }

    pub(super) fn bash(&self, script: &str) -> Command {
        let path = std::env::var("PATH").unwrap();
        let mut command = Command::new("bash");
        command
            .args(["-e", "-c", script])
            .current_dir(self.folder.path())
            .env("PATH", format!("{}:{path}", self.programs.path().display()))
            .env("NO_COLOR", "1")
            .envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    pub(super) fn run(&self, place: &str, script: &str, shown: Option<&str>, exit: i32) {
        let Output { status, stdout, stderr } = self.bash(script).output().unwrap();
        let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        assert_eq!(status.code(), Some(exit), "{place}: {script}\n{stdout}{stderr}");
        if let Some(shown) = shown {
            assert!(shows(shown, &format!("{stdout}{stderr}")), "{place}: {script}\nshows\n{shown}\nand prints\n{stdout}{stderr}");
        }
    }
}

fn write_program(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Waits until `url` (`http://ADDRESS:PORT/PATH`) answers 2xx.
async fn answers(place: &str, url: &str) {
    let (address, path) = url.strip_prefix("http://").and_then(|rest| rest.split_once('/')).unwrap_or_else(|| panic!("{place}: `{url}`?"));
    let address: std::net::SocketAddr = address.parse().unwrap();
    wait_for(&format!("{place}: {url}"), async || {
        tokio::net::TcpStream::connect(address).await.ok()?;
        let answer = Ask::new("GET", &format!("/{path}")).header("Host", address.to_string()).send(address).await;
        (200..300).contains(&answer.status).then_some(())
    })
    .await;
}
