//! What the chart asks of the kernel and of kubelet is in force.

use std::{
    fs::{self, File},
    io::ErrorKind,
};

use super::cluster::{Cluster, REPLICAS, process_of};
use crate::support::wait_for;

/// Looked up in /proc, where the kernel says what holds, whatever manifests say.
pub async fn replicas_can_do_next_to_nothing(cluster: &Cluster) {
    let pods = cluster.pods().await;
    assert_eq!(pods.len(), REPLICAS);
    for pod in pods {
        let process = process_of(&pod.uid, "ringfence").unwrap();
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
        let is =
            |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap().split_whitespace().collect::<Vec<_>>();
        assert_eq!((is("Uid"), is("Gid")), (vec!["65532"; 4], vec!["65532"; 4]));
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(is(set), ["0000000000000000"], "{set}");
        }
        // 2 = a filter; that of the runtime, as there is no other.
        assert_eq!((is("Seccomp"), is("NoNewPrivs")), (vec!["2"], vec!["1"]));
        // Who may do everything else may not do this: the whole tree is mounted to be read.
        let written = File::create(format!("/proc/{process}/root/written"));
        assert_eq!(written.unwrap_err().kind(), ErrorKind::ReadOnlyFilesystem);
    }
}

/// kubelet asks, and is answered.
pub async fn probes_are_asked_and_answered(cluster: &Cluster) {
    for pod in cluster.pods().await {
        for probe in ["Liveness", "Readiness"] {
            wait_for(&format!("{probe} of {}", pod.name), async || {
                let metrics = cluster.kubectl(&["get", "--raw", "/api/v1/nodes/node/proxy/metrics/probes"]).await;
                let labels = [format!("pod=\"{}\"", pod.name), format!("probe_type=\"{probe}\""), "result=\"successful\"".to_owned()];
                let mut lines = metrics.lines().filter(|line| line.starts_with("prober_probe_total{"));
                let line = lines.find(|line| labels.iter().all(|label| line.contains(label)))?;
                (line.rsplit(' ').next()?.parse::<f64>().ok()? > 0.0).then_some(())
            })
            .await;
        }
    }
}
