//! Envoy Gateway on its own, without Kubernetes: it reads its resources from files and starts its Envoy itself.

use std::{
    env,
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::symlink,
    path::Path,
    process::Command,
};

use ringfence_core::decide::Reason;

use super::{Door, Outcome, Proxy, Relays, Setting, Shows, Upstream, contour::by_its_envoy, edit, examples, folder};
use crate::support::{kubernetes::installed, process::Process};

/// Envoy Gateway.
pub static ENVOY_GATEWAY: Door = Door {
    name: "Envoy Gateway",
    serve_flags: &[],
    sends_bodies: &[("# bodyToExtAuth:", "bodyToExtAuth:")],
    pin: &[("# contextExtensions:", "contextExtensions:")],
    relays: Relays { malformed: 400, undecided: 503, down: 503, body: true, answers: true },
    upstream: Upstream { strips_query_key: true, sorts_query: true, removes_headers: true },
    shows: Shows { body: false, key_header: true, extended_connect: false },
    exceptions: by_its_envoy![
        // It takes no `_` in a name.
        ("a spoofed identity header with underscores", Outcome::Proxy(400)),
        ("a spoofed request with underscores", Outcome::Proxy(400)),
        ("spoofed identity headers under Shadow", Outcome::Proxy(400)),
        ("spoofed identity headers under a floor", Outcome::Proxy(400)),
        ("identity headers without an identity are removed", Outcome::Proxy(400))
    ],
    start: |setting| Box::pin(start(setting)),
};

async fn start(setting: Setting<'_>) -> Proxy {
    let files = ["envoy-gateway/gateway.yaml", "envoy-gateway/ringfence.yaml", "envoy-gateway/callbacks.yaml"];
    let [mut gateway, mut ringfence, mut callbacks] = examples(files, setting.edits);
    // Its control plane listens on fixed ports, so there can be one at a time on a machine.
    let alone = tokio::task::spawn_blocking(|| {
        let file = File::create(env::temp_dir().join("ringfence-tests-envoy-gateway.lock")).unwrap();
        file.lock().unwrap();
        file
    });
    let alone = alone.await.unwrap();
    // It takes seconds until it listens: a free port might be somebody else's by then. This one is none that is given away.
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 20_080));
    edit(&mut gateway, "port: 80\n", &format!("port: {}\n", address.port()));
    edit(&mut gateway, "spec:\n  telemetry:", "spec:\n  provider: {type: Host, host: {envoyVersion: \"1.40.0\"}}\n  telemetry:");
    let endpoint = |port: u16| format!("{{ip: {{address: 127.0.0.1, port: {port}}}}}");
    let replicas: Vec<_> = setting.replicas.iter().map(|replica| endpoint(replica.grpc.port())).collect();
    edit(&mut ringfence, &endpoint(9001), &replicas.join(", "));
    edit(&mut callbacks, &endpoint(3000), &endpoint(setting.application.port()));

    let folder = folder();
    for name in ["resources", "config", "state", "run", "data/envoy-versions/1.40.0/bin"] {
        fs::create_dir_all(folder.path().join(name)).unwrap();
    }
    let resources = folder.path().join("resources");
    for (name, text) in [("gateway.yaml", gateway), ("ringfence.yaml", ringfence), ("callbacks.yaml", callbacks)] {
        fs::write(resources.join(name), text).unwrap();
    }
    let envoy = env::var_os("RINGFENCE_TEST_ENVOY").expect("RINGFENCE_TEST_ENVOY names Envoy's binary");
    symlink(envoy, folder.path().join("data/envoy-versions/1.40.0/bin/envoy")).unwrap();
    let process = serve(folder.path());
    Proxy::accepting(address, process, vec![Box::new(folder), Box::new(alone)]).await.guarding().await
}

fn serve(folder: &Path) -> Process {
    let program = installed("ENVOY_GATEWAY").join("bin/envoy-gateway");
    let certificates = Command::new(&program).args(["certgen", "--local", "--config-home"]).arg(folder.join("config")).output().unwrap();
    assert!(certificates.status.success(), "{certificates:?}");
    let config = folder.join("envoy-gateway.yaml");
    let at = folder.display();
    let text = format!(
        "apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: EnvoyGateway\n\
         gateway: {{controllerName: gateway.envoyproxy.io/gatewayclass-controller}}\nextensionApis: {{enableBackend: true}}\n\
         provider:\n  type: Custom\n  custom:\n    resource: {{type: File, file: {{paths: [{at}/resources]}}}}\n    \
         infrastructure: {{type: Host, host: {{configHome: {at}/config, dataHome: {at}/data, stateHome: {at}/state, runtimeDir: {at}/run}}}}\n"
    );
    fs::write(&config, text).unwrap();
    Process::start("envoy-gateway", Command::new(program).arg("server").arg("--config-path").arg(config)).with_children()
}
