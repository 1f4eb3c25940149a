//! Commands of docs/kubernetes.md, run on a whole cluster as a reader would. The tests of the node (`tests/e2e/node`) bring the cluster.

use std::path::PathBuf;

use super::{Page, blocks::Task, commands::Desk, pages};
use crate::support::{http::Ask, process::Process, wait_for};

/// The page, and a desk to run its commands at.
pub struct Manual {
    page: Page,
    desk: Desk,
}

impl Manual {
    /// The page at `path`, whose commands see `programs` and `variables`.
    pub fn open(path: &str, programs: &[PathBuf], variables: &[(&str, String)]) -> Self {
        let page = pages().into_iter().find(|page| page.path.ends_with(path)).unwrap_or_else(|| panic!("there is no {path}"));
        Self { page, desk: Desk::new().with(programs, variables) }
    }

    /// Does everything that the page marks for a cluster, in its order: how many commands there were.
    pub async fn follow(&self) -> usize {
        let (mut servers, mut done) = (Vec::new(), 0);
        for block in &self.page.blocks {
            let place = self.page.place(block);
            match block.task() {
                Ok(Task::Cluster) => {
                    for (command, shown) in block.commands() {
                        self.wait_for_services(&place, &command).await;
                        self.desk.run(&place, &command, shown.as_deref(), 0);
                        done += 1;
                    }
                }
                Ok(Task::ClusterServe(address)) => {
                    for (command, _) in block.commands() {
                        servers.push(Process::start(&place, &mut self.desk.bash(&format!("exec {command}"))));
                        done += 1;
                    }
                    answers(&place, &address).await;
                }
                _ => {}
            }
        }
        done
    }

    /// A Service whose pods have just become ready may lead nowhere for a moment, until every node has heard of them. Readers are slower than that.
    async fn wait_for_services(&self, place: &str, command: &str) {
        if command.starts_with("curl ") {
            let leads_nowhere = || String::from_utf8_lossy(&self.desk.bash(command).output().unwrap().stdout).contains("upstream connect error");
            wait_for(&format!("{place}: the application to be reached"), async || (!leads_nowhere()).then_some(())).await;
        }
    }

    /// Runs the commands that the page leaves to `file`, one of the tests.
    pub fn run_those_of(&self, file: &str) {
        let blocks = self.page.blocks.iter().filter(|block| matches!(block.task(), Ok(Task::Elsewhere(path)) if path == file));
        let commands: Vec<_> = blocks.flat_map(|block| block.commands().into_iter().map(|(command, _)| (self.page.place(block), command))).collect();
        assert!(!commands.is_empty(), "{} leaves nothing to {file}", self.page.path.display());
        for (place, command) in commands {
            self.desk.run(&place, &command, None, 0);
        }
    }
}

/// Waits until HTTP is answered at `address`, with whatever status.
async fn answers(place: &str, address: &str) {
    let address: std::net::SocketAddr = address.parse().unwrap();
    wait_for(&format!("{place}: {address}"), async || {
        tokio::net::TcpStream::connect(address).await.ok()?;
        let answer = Ask::new("GET", "/").header("Host", address.to_string()).send(address).await;
        (answer.status > 0).then_some(())
    })
    .await;
}
