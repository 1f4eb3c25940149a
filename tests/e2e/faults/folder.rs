//! Folders of policies that vanish, are overwritten with garbage, or lie on a disk that is full.

use std::{
    fs,
    io::{ErrorKind, Write},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use super::scene::{Scene, new_issuer};
use crate::support::{
    http::Ask,
    policies::{generation, policies, put},
    ringfence::Ringfence,
    traffic::Tally,
    wait_for,
};

/// Bytes of the disk that gets full, and how many of them are left when it is.
const DISK: usize = 256 * 1024;
const LEFT: usize = 8 * 1024;

impl Scene {
    /// Waits until `change` was noticed and refused.
    async fn refuse(&self, what: &str, change: impl FnOnce()) {
        let refused = async || self.ringfence.metric("ringfence_config_reloads_total", &["result=\"refused\""]).await;
        let before = refused().await;
        change();
        wait_for(&format!("{what} to be refused"), async || (refused().await > before).then_some(())).await;
        assert_eq!(self.ringfence.get("/readyz").await.0, 200, "{what}");
        self.flow().await;
    }

    /// Waits until this generation's policy is in force.
    pub(super) async fn wait_for_generation(&self, number: usize) {
        let ask = Ask::new("POST", &format!("/?key=generation-key-{number:08}")).header("Host", "generations.contoso.com");
        let what = format!("generation {number} to be in force");
        wait_for(&what, async || (self.front.status(&ask).await == 200).then_some(())).await;
        self.flow().await;
    }
}

pub async fn folder_deleted() -> Tally {
    let scene = Scene::start().await;
    let folder = scene.ringfence.folder().to_owned();
    scene.refuse("a deleted folder", || fs::remove_dir_all(&folder).unwrap()).await;
    assert!(scene.ringfence.output().contains("the last good one stays in force"));
    scene.last().await;
    // An empty one in its place says no more than none.
    scene.refuse("an emptied folder", || fs::create_dir(&folder).unwrap()).await;
    put(&folder, "generation.yaml", &generation(1));
    put(&folder, "policies.yaml", &policies(&scene.issuer));
    scene.wait_for_generation(1).await;
    scene.finish().await
}

pub async fn folder_filled_with_garbage() -> Tally {
    let scene = Scene::start().await;
    let folder = scene.ringfence.folder().to_owned();
    let whole = policies(&scene.issuer);
    let file = |name: &str, bytes: &[u8]| fs::write(folder.join(name), bytes).unwrap();
    let noise: Vec<u8> = (0..100_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    scene.refuse("noise", || file("noise.yaml", &noise)).await;
    scene.refuse("conflict markers", || file("policies.yaml", format!("<<<<<<< ours\n{whole}=======\n").as_bytes())).await;
    scene.refuse("a document of something else", || file("policies.yaml", b"- just\n- a list\n")).await;
    scene.refuse("an emptied file", || file("policies.yaml", b"")).await;
    scene.refuse("a link to nowhere", || symlink("nowhere", folder.join("link.yaml")).unwrap()).await;
    scene.refuse("a file too large", || file("large.yaml", &vec![b'#'; 17 << 20])).await;
    scene.last().await;
    for entry in fs::read_dir(&folder).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    put(&folder, "generation.yaml", &generation(2));
    put(&folder, "policies.yaml", &whole);
    scene.wait_for_generation(2).await;
    scene.finish().await
}

/// A volume as Kubernetes makes one of a ConfigMap, on a file system of its own.
struct Volume(PathBuf);

impl Volume {
    /// Writes a version as far as there is room, and swaps it in whole or not. Whether there was room.
    fn swap(&self, version: &str, text: &str) -> bool {
        let data = self.0.join(format!("..{version}"));
        fs::create_dir(&data).unwrap();
        let has_room = write_as_far_as_it_goes(&data.join("policies.yaml"), text.as_bytes());
        symlink(format!("..{version}"), self.0.join("..data_tmp")).unwrap();
        fs::rename(self.0.join("..data_tmp"), self.0.join("..data")).unwrap();
        has_room
    }
}

/// Whether there was room for all of it.
fn write_as_far_as_it_goes(path: &Path, bytes: &[u8]) -> bool {
    let mut file = fs::File::create(path).unwrap();
    match file.write_all(bytes) {
        Ok(()) => true,
        Err(error) if error.kind() == ErrorKind::StorageFull => false,
        Err(error) => panic!("{}: {error}", path.display()),
    }
}

pub async fn folder_on_a_full_disk() -> Tally {
    let issuer = new_issuer().await;
    let aside = tempfile::tempdir().unwrap();
    let disk = tempfile::tempdir().unwrap();
    let mut whole = policies(&issuer);
    if whole.as_bytes()[LEFT - 1] == b'\n' {
        // What is left on the disk is to end within a line.
        whole.insert(0, '\n');
    }
    fs::write(aside.path().join("policies.yaml"), &whole).unwrap();
    let script = "mount -t tmpfs -o size=256k tmpfs \"$1\" && mkdir -p \"$1/volume/..first\" && cp \"$2/policies.yaml\" \"$1/volume/..first/\" \
                  && ln -s ..first \"$1/volume/..data\" && ln -s ..data/policies.yaml \"$1/volume/policies.yaml\" && shift 2 && exec \"$@\"";
    let (disk, aside) = (disk.path().to_str().unwrap(), aside.path().to_str().unwrap());
    let config = format!("--config={disk}/volume");
    let words = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", disk, aside];
    let mut ringfence = Ringfence::launch_by(&words, "", &[&config]);
    ringfence.read_addresses(&["grpc", "http", "metrics"]).await;
    ringfence.wait_until_ready().await;
    // The disk is seen through the process that has mounted it.
    let disk = PathBuf::from(format!("/proc/{}/root{disk}", ringfence.process().id()));
    let volume = Volume(disk.join("volume"));
    let scene = Scene::before(ringfence, issuer).await;

    let filler = disk.join("filler");
    assert!(!write_as_far_as_it_goes(&filler, &vec![0; DISK]), "the disk should be full");
    let full = fs::metadata(&filler).unwrap().len();
    fs::File::options().write(true).open(&filler).unwrap().set_len(full - LEFT as u64).unwrap();
    scene.refuse("half a version that was swapped in", || assert!(!volume.swap("second", &whole))).await;
    scene.refuse("no version that was swapped in", || assert!(!volume.swap("third", &whole))).await;
    scene.last().await;
    // A sender that is cut off before the key that it demands is a whole sender without one.
    fs::remove_file(&filler).unwrap();
    let weaker = cut_before_the_key(&whole);
    scene.refuse("a version without its last lines", || assert!(volume.swap("fourth", &weaker))).await;
    let next = format!("{whole}---\n{}", generation(3));
    assert!(volume.swap("fifth", &next));
    scene.wait_for_generation(3).await;
    scene.finish().await
}

/// Everything up to the first policy's API key, moved by a comment so that it ends as a full disk ends it: with a page, and within a line.
fn cut_before_the_key(whole: &str) -> String {
    const PAGE: usize = 4096;
    let end = whole.find("    apiKey:").unwrap();
    let comment = 2 * PAGE - end % PAGE;
    format!("#{}\n{}", "x".repeat(comment - 2), &whole[..end])
}
