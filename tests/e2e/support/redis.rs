//! A real Redis as a process of its own, at an address that nobody else has, which can be killed, stopped and started again.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::{Command, Output},
};

use tempfile::TempDir;
use tokio::net::TcpStream;

use super::{network::own_address, process::Process, wait_for};

/// Not the port of a Redis that somebody else may run.
const PORT: u16 = 7379;

/// A running `redis-server`.
pub struct Redis {
    process: Option<Process>,
    address: Ipv4Addr,
    flags: Vec<String>,
    folder: TempDir,
}

impl Redis {
    /// Without TLS or password.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same with further flags.
    pub async fn start_with(flags: &[&str]) -> Self {
        let port = PORT.to_string();
        Self::launch(own_address(), &[&["--port", &port], flags].concat()).await
    }

    /// With TLS alone, under a certificate of its own, and with this password.
    pub async fn start_with_tls(password: &str) -> Self {
        let address = own_address();
        let own = rcgen::generate_simple_self_signed(vec![address.to_string()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        fs::write(path("certificate.pem"), own.cert.pem()).unwrap();
        fs::write(path("key.pem"), own.signing_key.serialize_pem()).unwrap();
        let (port, certificate, key) = (PORT.to_string(), path("certificate.pem"), path("key.pem"));
        let tls = ["--port", "0", "--tls-port", &port, "--tls-cert-file", &certificate, "--tls-key-file", &key, "--tls-auth-clients", "no"];
        let flags = [tls.as_slice(), &["--tls-ca-cert-file", &certificate, "--requirepass", password]].concat();
        let flags = flags.into_iter().map(str::to_owned).collect();
        let mut redis = Self { process: None, address, flags, folder };
        redis.start_again().await;
        redis
    }

    async fn launch(address: Ipv4Addr, flags: &[&str]) -> Self {
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let mut redis = Self { process: None, address, flags, folder: tempfile::tempdir().unwrap() };
        redis.start_again().await;
        redis
    }

    /// Starts it, with nothing remembered unless its flags say that it keeps things, at the same address as before.
    pub async fn start_again(&mut self) {
        let mut command = Command::new("redis-server");
        command.args(["--bind", &self.address.to_string(), "--save", "", "--appendonly", "no", "--daemonize", "no"]);
        command.arg("--dir").arg(self.folder.path()).args(&self.flags);
        self.process = Some(Process::start("redis", &mut command));
        wait_for("redis to listen", async || TcpStream::connect(self.socket()).await.ok().map(drop)).await;
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Stops it where it is: it keeps its connections and answers nothing, until [`Self::resume`].
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let id = self.process.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
    }

    /// Where it listens.
    pub fn socket(&self) -> SocketAddr {
        (self.address, PORT).into()
    }

    /// The value of `--reuse-store` for it.
    pub fn url(&self) -> String {
        format!("redis://{}", self.socket())
    }

    /// The file of its certificate.
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("certificate.pem")
    }

    /// Asks it something with its own client.
    pub fn ask(&self, command: &[&str]) -> String {
        let address = self.address.to_string();
        let asked = Command::new("redis-cli").args(["-h", &address, "-p", &PORT.to_string()]).args(command).output().unwrap();
        let Output { status, stdout, .. } = asked;
        assert!(status.success(), "{command:?}");
        String::from_utf8(stdout).unwrap().trim().to_owned()
    }
}
