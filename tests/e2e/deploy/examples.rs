//! The examples for clusters and for a Unix socket. Those for proxies on the same machine are run by `proxied`.

use std::{fs, path::Path};

use ringfence::issuer::{Issuer, IssuerOptions, TokenSpec};
use serde_json::Value;
use tempfile::TempDir;

use super::{deploy, kustomize::kustomize, object, objects, render};
use crate::support::{
    doors::{envoy_command, envoy_listener},
    http::Ask,
    policies::{AUDIENCE, HOST},
    process::Process,
    ringfence::{program, run},
    upstream::Upstream,
    wait_for,
};

/// Where the socket is in both examples.
const SOCKET: &str = "/run/ringfence/checks.sock";

fn example(file: &str) -> String {
    let path = deploy().join("examples").join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What Envoy does with requests, in each of its configurations.
fn before_clusters(config: &str) -> &str {
    &config[config.find("admin:").unwrap()..config.find("\n  clusters:").unwrap()]
}

#[test]
fn every_envoy_asks_alike() {
    let model = example("envoy-grpc/envoy.yaml");
    for other in ["native-sidecar", "unix-socket", "envoy-kubernetes"] {
        let config = example(&format!("{other}/envoy.yaml"));
        assert_eq!(before_clusters(&config), before_clusters(&model), "{other}");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("envoy.yaml");
        fs::write(&file, config).unwrap();
        let output = envoy_command().args(["--mode", "validate", "--config-path"]).arg(&file).output().unwrap();
        assert!(output.status.success(), "{other}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn the_sidecars_policies_are_valid() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("policies.yaml"), example("native-sidecar/policies.yaml")).unwrap();
    let (code, said, complaint) = run(&["validate", folder.path().to_str().unwrap()]);
    assert!(code == Some(0) && said.contains("1 policy, 0 errors, 0 warnings"), "{said}{complaint}");
}

#[test]
fn gateways_look_for_ringfence_where_the_chart_puts_it() {
    let rendered = objects(&render("settings: {http-dialects: [envoy]}"));
    let service = &object(&rendered, "Service", "ringfence")["spec"];
    for gateway in ["contour", "istio"] {
        let theirs = objects(&example(&format!("{gateway}/ringfence.yaml")));
        let theirs = object(&theirs, "Service", "ringfence");
        assert_eq!(theirs["metadata"]["namespace"], "ringfence");
        assert_eq!((&theirs["spec"]["selector"], &theirs["spec"]["clusterIP"]), (&service["selector"], &service["clusterIP"]), "{gateway}");
        for port in theirs["spec"]["ports"].as_array().unwrap() {
            assert!(service["ports"].as_array().unwrap().contains(port), "{gateway}: {port}");
        }
    }
    let grant = objects(&example("envoy-gateway/in-cluster.yaml"));
    let policy = object(&grant, "SecurityPolicy", "ringfence");
    let backend = &policy["spec"]["extAuth"]["grpc"]["backendRefs"][0];
    assert_eq!((&backend["name"], &backend["namespace"], &backend["port"]), (&"ringfence".into(), &"ringfence".into(), &9001.into()));
    // Otherwise it is the one that the tests run.
    let mut same = objects(&example("envoy-gateway/ringfence.yaml")).iter().find(|object| object["kind"] == "SecurityPolicy").unwrap().clone();
    same["spec"]["extAuth"]["grpc"] = policy["spec"]["extAuth"]["grpc"].clone();
    assert_eq!(&same, policy);
    assert!(example("envoy-kubernetes/envoy.yaml").contains("address: ringfence.ringfence.svc.cluster.local, port_value: 9001"));
}

/// The arguments of the sidecar's container.
fn arguments_of_the_sidecar() -> Vec<String> {
    let objects = objects(&kustomize(&deploy().join("examples/native-sidecar")));
    let containers = &object(&objects, "Deployment", "contact-center")["spec"]["template"]["spec"]["initContainers"];
    assert_eq!(containers[0]["restartPolicy"], "Always", "an init container that stays");
    containers[0]["args"].as_array().unwrap().iter().map(|argument| argument.as_str().unwrap().to_owned()).collect()
}

/// Those of the unit.
fn arguments_of_the_unit() -> Vec<String> {
    let unit = example("unix-socket/ringfence.service");
    let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/ringfence ")).unwrap();
    line.split(' ').map(str::to_owned).collect()
}

/// Ringfence as an example starts it, with its folders in `folder`.
fn ringfence(arguments: &[String], policies: &str, folder: &TempDir) -> Process {
    let place = |path: &str| folder.path().join(path).display().to_string();
    let arguments = arguments.iter().map(|argument| match argument.as_str() {
        path if path == policies => place("policies"),
        argument => argument.replace(SOCKET, &place("checks.sock")),
    });
    let mut command = program();
    // The issuer here is no public one, and several tests run side by side.
    command.args(arguments).args(["--metrics-listen=127.0.0.1:0", "--insecure-http-issuers", "--allow-private-issuers"]);
    Process::start("ringfence", &mut command)
}

async fn works_over_its_socket(arguments: &[String], policies: &str, envoy: &str) {
    let issuer = Issuer::start(IssuerOptions::default()).await.unwrap();
    let application = Upstream::start().await;
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("policies")).unwrap();
    let known = format!("audiences: [{AUDIENCE}]");
    let ours = format!("{known}, issuer: '{}', openIdConfiguration: '{}'", issuer.issuer(), issuer.discovery_url());
    let policy = example("native-sidecar/policies.yaml").replace(&known, &ours);
    assert!(policy.contains(issuer.issuer()));
    fs::write(folder.path().join("policies/policies.yaml"), policy).unwrap();

    let ringfence = ringfence(arguments, policies, &folder);
    let mut envoy = start_envoy(envoy, folder.path(), &application);
    let address = envoy_listener(&mut envoy, &folder.path().join("admin")).await;
    let ask = |token: Option<&str>| {
        let ask = Ask::new("POST", "/api/callbacks").header("Host", HOST);
        token.iter().fold(ask, |ask, token| ask.header("Authorization", format!("Bearer {token}")))
    };
    let token = issuer.mint(&TokenSpec::callback(AUDIENCE)).unwrap();
    wait_for("an allowed callback", async || (ask(Some(&token)).send(address).await.status == 200).then_some(())).await;
    assert_eq!(ask(None).send(address).await.status, 401);
    assert_eq!(application.seen().len(), 1);
    // Nobody to ask is no allow.
    drop(ringfence);
    wait_for("503", async || (ask(Some(&token)).send(address).await.status == 503).then_some(())).await;
}

fn start_envoy(config: &str, folder: &Path, application: &Upstream) -> Process {
    let replaced = [
        ("port_value: 9901", "port_value: 0".to_owned()),
        ("port_value: 8080", "port_value: 0".to_owned()),
        ("port_value: 3000", format!("port_value: {}", application.address.port())),
        // A busy machine must not look like an outage.
        ("timeout: 0.5s", "timeout: 20s".to_owned()),
        (SOCKET, folder.join("checks.sock").display().to_string()),
    ];
    let mut text = example(config);
    for (from, to) in replaced {
        let at = text.rfind(from).unwrap_or_else(|| panic!("{config} should say `{from}`"));
        text.replace_range(at..at + from.len(), &to);
    }
    fs::write(folder.join("envoy.yaml"), text).unwrap();
    let mut command = envoy_command();
    Process::start("envoy", command.arg("-c").arg(folder.join("envoy.yaml")).arg("--admin-address-path").arg(folder.join("admin")))
}

#[tokio::test]
async fn the_sidecar_is_asked_over_its_socket() {
    works_over_its_socket(&arguments_of_the_sidecar(), "/policies", "native-sidecar/envoy.yaml").await;
}

#[tokio::test]
async fn the_unit_is_asked_over_its_socket() {
    works_over_its_socket(&arguments_of_the_unit(), "/etc/ringfence/policies", "unix-socket/envoy.yaml").await;
}

#[test]
fn the_sidecar_and_its_envoy_share_the_socket_and_nothing_else() {
    let objects = objects(&kustomize(&deploy().join("examples/native-sidecar")));
    let pod = &object(&objects, "Deployment", "contact-center")["spec"]["template"]["spec"];
    assert_eq!((&pod["automountServiceAccountToken"], &pod["securityContext"]["fsGroup"]), (&false.into(), &65532.into()));
    let mounted = |container: &Value| -> Vec<String> {
        let mounts = container["volumeMounts"].as_array().cloned().unwrap_or_default();
        mounts.iter().map(|mount| mount["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(mounted(&pod["initContainers"][0]), ["policies", "socket"]);
    assert_eq!(mounted(&pod["containers"][0]), ["envoy", "socket"]);
    assert_eq!(mounted(&pod["containers"][1]), Vec::<String>::new());
    assert!(pod["volumes"].as_array().unwrap().iter().any(|volume| volume["name"] == "socket" && volume["emptyDir"].is_object()));
}
