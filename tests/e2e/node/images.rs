//! The images that pods run: ours as deploy/build-image.sh builds it, and a stock Envoy, which is put together from the program that the other
//! tests run and the libraries it needs, since nothing can be pulled.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::support::node::Node;

/// As the examples call it.
const ENVOY: &str = "docker.io/envoyproxy/envoy:v1.40.0";
/// As deploy/examples/native-sidecar calls the reader's own.
const APPLICATION: &str = "registry.example/contact-center:1.0.0";

/// Makes all of them known to `node`.
pub async fn load(node: &Node) {
    let ours = env::var_os("RINGFENCE_TEST_IMAGE").map(PathBuf::from).expect("RINGFENCE_TEST_IMAGE names what deploy/build-image.sh built");
    node.import("localhost/ringfence:0.1.0", &ours).await;
    let context = node.folder().join("envoy");
    put_together(&context);
    node.build(ENVOY, "FROM scratch\nCOPY . /\nENV PATH=/usr/local/bin\nENTRYPOINT [\"envoy\"]\n", &context).await;
    // Stands for an application that listens on 127.0.0.1:3000 alone. Two Envoys in one pod must not take each other for their predecessor.
    let says_hello = fs::read_to_string(example("kubernetes-try/application-envoy.yaml")).unwrap().replace("0.0.0.0", "127.0.0.1");
    fs::write(context.join("application.yaml"), says_hello).unwrap();
    let entry = "ENTRYPOINT [\"envoy\", \"--config-path\", \"/application.yaml\", \"--disable-hot-restart\", \"--concurrency\", \"1\"]";
    node.build(APPLICATION, &format!("FROM scratch\nCOPY . /\nENV PATH=/usr/local/bin\n{entry}\n"), &context).await;
}

/// A file of deploy/examples.
pub fn example(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/examples").join(path)
}

/// Envoy and its libraries, below `root`.
fn put_together(root: &Path) {
    let envoy = PathBuf::from(env::var_os("RINGFENCE_TEST_ENVOY").expect("RINGFENCE_TEST_ENVOY names Envoy's binary"));
    let libraries = Command::new("ldd").arg(&envoy).output().unwrap();
    let libraries = String::from_utf8(libraries.stdout).unwrap();
    let paths = libraries.split_whitespace().filter(|word| word.starts_with('/'));
    let files = paths.map(|path| (PathBuf::from(path), path)).chain([(envoy, "/usr/local/bin/envoy")]);
    for (from, to) in files {
        let to = root.join(to.trim_start_matches('/'));
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(&from, to).unwrap();
    }
}
