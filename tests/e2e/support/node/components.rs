//! The other programs of a cluster, each as its own user.

use std::{fs, path::Path};

use super::{ADDRESS, DNS, NAME, PODS, USERS, containers, containers::Containers, spaces::Spaces};
use crate::support::{
    kubernetes::{Kubernetes, installed, program},
    process::Process,
    wait_for,
};

/// Where they are started.
pub struct Place<'a> {
    pub spaces: &'a Spaces,
    pub kubernetes: &'a Kubernetes,
    pub folder: &'a Path,
}

impl Place<'_> {
    /// kube-controller-manager: ServiceAccounts, Deployments, endpoints, namespaces that end.
    pub fn controllers(&self) -> Process {
        let [key, authority] = self.kubernetes.service_account_key_and_authority();
        let mut command = self.spaces.command(program("kube-controller-manager"));
        command.args([self.kubeconfig("system:kube-controller-manager")]).arg("--service-account-private-key-file").arg(key);
        command.arg("--root-ca-file").arg(authority).args(["--use-service-account-credentials", "--leader-elect=false"]);
        Process::start("kube-controller-manager", &mut command)
    }

    /// kube-scheduler.
    pub fn scheduler(&self) -> Process {
        let mut command = self.spaces.command(program("kube-scheduler"));
        command.args([self.kubeconfig("system:kube-scheduler").as_str(), "--leader-elect=false"]);
        Process::start("kube-scheduler", &mut command)
    }

    /// kubelet, whose pods are below `cgroups`, and whose clients `authority` signs.
    pub fn kubelet(&self, cgroups: &str, authority: &Path) -> Process {
        let folder = self.folder.display();
        let (resolver, config) = (self.write("resolv.conf", "nameserver 127.0.0.1\n"), self.folder.join("kubelet.yaml"));
        let text = format!(
            "apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {{anonymous: {{enabled: false}}, webhook: {{enabled: true}}, x509: {{clientCAFile: {authority}}}}}
authorization: {{mode: Webhook}}
cgroupDriver: cgroupfs
cgroupRoot: {cgroups}
failCgroupV1: false
failSwapOn: false
# Whatever else the machine does must not look like a node in need.
evictionHard: {{memory.available: 10Mi, nodefs.available: 1%, imagefs.available: 1%}}
imageGCHighThresholdPercent: 100
localStorageCapacityIsolation: false
clusterDNS: [{DNS}]
clusterDomain: cluster.local
containerRuntimeEndpoint: unix://{socket}
podLogsDir: {folder}/logs
volumePluginDir: {folder}/volume-plugins
resolvConf: {resolver}
",
            authority = authority.display(),
            socket = Containers::socket(self.folder),
        );
        fs::write(&config, text).unwrap();
        let mut command = self.spaces.command(program("kubelet"));
        command.arg("--config").arg(config).args([self.kubeconfig("system:node:node")]);
        command.args([&format!("--hostname-override={NAME}"), &format!("--node-ip={ADDRESS}")]);
        command.args([&format!("--root-dir={folder}/kubelet"), &format!("--cert-dir={folder}/kubelet-certificates")]);
        Process::start("kubelet", command.env("PATH", containers::path()))
    }

    /// kube-proxy, which translates the addresses of Services.
    pub fn proxy(&self) -> Process {
        let kubeconfig = self.kubernetes.write_kubeconfig("system:kube-proxy", token_of("system:kube-proxy"));
        let config = format!(
            "apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {{kubeconfig: {}}}
mode: nftables
hostnameOverride: {NAME}
clusterCIDR: {PODS}
# The machine's, not the node's.
conntrack: {{maxPerCore: 0, min: 0, tcpCloseWaitTimeout: 0s, tcpEstablishedTimeout: 0s}}
",
            kubeconfig.display()
        );
        let mut command = self.spaces.command(program("kube-proxy"));
        command.args(["--config", &self.write("kube-proxy.yaml", &config)]);
        Process::start("kube-proxy", command.env("PATH", containers::path()))
    }

    /// CoreDNS, behind the Service that pods ask.
    pub async fn dns(&self) -> Process {
        let kubeconfig = self.kubernetes.write_kubeconfig("system:dns", token_of("system:dns"));
        let corefile =
            format!(".:53 {{\n  errors\n  ready {ADDRESS}:8181\n  kubernetes cluster.local {{\n    kubeconfig {}\n  }}\n}}\n", kubeconfig.display());
        let mut command = self.spaces.command(installed("COREDNS").join("bin/coredns"));
        let process = Process::start("coredns", command.args(["-conf", &self.write("Corefile", &corefile)]));
        let ports = "ports: [{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53, protocol: TCP}]";
        self.kubernetes
            .apply(&format!(
                "apiVersion: v1\nkind: Service\nmetadata: {{name: kube-dns, namespace: kube-system}}\nspec:\n  clusterIP: {DNS}\n  {ports}\n---\n\
                 apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv4\n\
                 metadata: {{name: kube-dns, namespace: kube-system, labels: {{kubernetes.io/service-name: kube-dns}}}}\n\
                 endpoints: [{{addresses: [{ADDRESS}]}}]\n{ports}\n"
            ))
            .await;
        wait_for("DNS", async || tokio::net::TcpStream::connect((ADDRESS, 53)).await.ok().map(drop)).await;
        process
    }

    fn kubeconfig(&self, user: &str) -> String {
        format!("--kubeconfig={}", self.kubernetes.write_kubeconfig(user, token_of(user)).display())
    }

    fn write(&self, name: &str, text: &str) -> String {
        let file = self.folder.join(name);
        fs::write(&file, text).unwrap();
        file.display().to_string()
    }
}

fn token_of(user: &str) -> &'static str {
    USERS.iter().find(|[_, name, _]| *name == user).map(|[token, ..]| *token).unwrap()
}
