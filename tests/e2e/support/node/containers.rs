//! What runs containers: containerd with runc, the network that pods have, and the images in it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{Spaces, run};
use crate::support::{kubernetes::installed, process::Process, wait_for};

/// What holds a pod's name spaces.
const PAUSE: &str = "localhost/pause:1";

/// A running containerd.
pub struct Containers {
    process: Process,
    folder: PathBuf,
}

impl Containers {
    /// Starts it and waits until it answers.
    pub async fn start(spaces: &Spaces, folder: &Path) -> Self {
        let networks = folder.join("networks");
        fs::create_dir(&networks).unwrap();
        fs::write(networks.join("pods.conflist"), network(folder)).unwrap();
        let config = folder.join("containerd.toml");
        fs::write(&config, configuration(folder)).unwrap();
        let mut command = spaces.command(program("containerd"));
        let process = Process::start("containerd", command.arg("--config").arg(config).env("PATH", path()));
        let mut containers = Self { process, folder: folder.to_owned() };
        wait_for("containerd", async || {
            containers.process.must_run();
            run(containers.ctr(spaces, &["version"])).await.ok().map(drop)
        })
        .await;
        containers.import_pause(spaces).await;
        containers
    }

    /// Where it listens.
    pub fn socket(folder: &Path) -> String {
        folder.join("containerd.sock").display().to_string()
    }

    /// Makes an image that was built (an OCI archive) known as `name`.
    pub async fn import(&self, spaces: &Spaces, name: &str, archive: &Path) {
        let mut command = self.ctr(spaces, &["--namespace", "k8s.io", "images", "import", "--local", "--snapshotter", "overlayfs"]);
        command.args(["--index-name", name]).arg(archive);
        run(command).await.unwrap();
    }

    /// Builds an image of files that are there already, and makes it known as `name`; the Dockerfile's context is `context`.
    pub async fn build(&self, spaces: &Spaces, name: &str, dockerfile: &str, context: &Path) {
        let (file, archive) = (self.folder.join("Dockerfile"), self.folder.join("image.tar"));
        fs::write(&file, dockerfile).unwrap();
        let _ = fs::remove_file(&archive);
        let mut command = Command::new("buildah");
        command.arg("--root").arg(self.folder.join("builds")).arg("--runroot").arg(self.folder.join("building"));
        command.args(["--storage-driver", "vfs", "bud", "--isolation", "chroot", "--disable-compression", "--file"]).arg(file);
        command.args(["--tag", &format!("oci-archive:{}:{name}", archive.display())]).arg(context);
        run(command).await.unwrap();
        self.import(spaces, name, &archive).await;
    }

    async fn import_pause(&self, spaces: &Spaces) {
        let context = self.folder.join("pause");
        fs::create_dir(&context).unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/fixtures/pause.c");
        let mut compile = Command::new("cc");
        compile.args(["-static", "-Os", "-o"]).arg(context.join("pause")).arg(source);
        run(compile).await.unwrap();
        self.build(spaces, PAUSE, "FROM scratch\nCOPY pause /pause\nENTRYPOINT [\"/pause\"]\n", &context).await;
    }

    fn ctr(&self, spaces: &Spaces, arguments: &[&str]) -> Command {
        let mut command = spaces.command(program("ctr"));
        command.args(["--address", &Self::socket(&self.folder)]).args(arguments);
        command
    }
}

fn program(name: &str) -> PathBuf {
    installed("CONTAINERD").join("bin").join(name)
}

/// Where containerd finds its shim and runc.
pub fn path() -> String {
    format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", installed("CONTAINERD").join("bin").display())
}

/// <https://github.com/containerd/containerd/blob/main/docs/cri/config.md>
fn configuration(folder: &Path) -> String {
    let (socket, folder) = (Containers::socket(folder), folder.display());
    format!(
        "version = 3
root = '{folder}/containerd/root'
state = '{folder}/containerd/state'
[grpc]
address = '{socket}'
[ttrpc]
address = '{socket}.ttrpc'
[plugins.'io.containerd.cri.v1.images']
snapshotter = 'overlayfs'
[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = '{PAUSE}'
[plugins.'io.containerd.cri.v1.runtime']
netns_mounts_under_state_dir = true
# Whoever may not lower its score cannot start a container else.
restrict_oom_score_adj = true
[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = ['/usr/lib/cni']
conf_dir = '{folder}/networks'
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = 'io.containerd.runc.v2'
"
    )
}

/// <https://www.cni.dev/plugins/current/main/bridge/>
fn network(folder: &Path) -> String {
    format!(
        r#"{{"cniVersion": "1.0.0", "name": "pods", "plugins": [
  {{"type": "bridge", "bridge": "pods", "isGateway": true, "hairpinMode": true, "ipMasq": false, "ipam":
    {{"type": "host-local", "dataDir": "{}/addresses", "ranges": [[{{"subnet": "{}"}}]], "routes": [{{"dst": "0.0.0.0/0"}}]}}}},
  {{"type": "portmap", "capabilities": {{"portMappings": true}}}}
]}}"#,
        folder.display(),
        super::PODS
    )
}
