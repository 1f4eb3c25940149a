//! nginx `auth_request`.

use std::{fs, process::Command};

use super::{Door, Outcome, Proxy, Relays, Setting, Shows, Upstream, edit, example, folder, start_on_a_free_port};
use crate::support::process::Process;

/// nginx.
pub static NGINX: Door = Door {
    name: "nginx",
    serve_flags: &["--http-dialects=nginx"],
    sends_bodies: &[],
    pin: &[("http://ringfence/auth/nginx/any/", "http://ringfence/auth/nginx/by/contoso/contact-center/")],
    relays: Relays { malformed: 403, undecided: 503, down: 503, body: false, answers: false },
    upstream: Upstream { strips_query_key: true, sorts_query: false, removes_headers: false },
    shows: Shows { body: false, key_header: true, extended_connect: false },
    exceptions: &[
        ("two tokens", Outcome::Proxy(400)),
        // It drops no header because a client names it there.
        ("a Connection header that takes the token along", Outcome::Allowed),
        ("two hosts", Outcome::Proxy(400)),
        ("a host with an empty label", Outcome::Proxy(400)),
        // It refuses what it cannot decode.
        ("the path /api/callbacks%00", Outcome::Proxy(400)),
        ("the path /api/callbacks%", Outcome::Proxy(400)),
        ("a target of 17 KiB", Outcome::Proxy(414)),
    ],
    start: |setting| Box::pin(start(setting)),
};

/// The lines of ingress-nginx' template. The controller itself needs a cluster and is not run.
pub static INGRESS_NGINX: Door = Door {
    name: "ingress-nginx' lines in nginx",
    serve_flags: &["--http-dialects=ingress-nginx"],
    sends_bodies: &[],
    pin: &[],
    relays: Relays { malformed: 403, undecided: 500, down: 500, body: false, answers: false },
    upstream: Upstream { strips_query_key: false, sorts_query: false, removes_headers: false },
    shows: Shows { body: false, key_header: true, extended_connect: false },
    exceptions: &[],
    start: |setting| Box::pin(start_ingress_nginx(setting)),
};

async fn start_ingress_nginx(setting: Setting<'_>) -> Proxy {
    let mut config = include_str!("../../fixtures/ingress-nginx.conf").to_owned();
    let [replica] = setting.replicas else { panic!("it asks one address: a Service") };
    edit(&mut config, "http://127.0.0.1:9002/", &format!("http://{}/", replica.http));
    edit(&mut config, "http://127.0.0.1:3000;", &format!("http://{};", setting.application));
    listen_on_a_free_port(config).await
}

async fn start(setting: Setting<'_>) -> Proxy {
    let mut config = example("nginx/nginx.conf", setting.edits);
    let server = "server 127.0.0.1:9002 max_fails=1 fail_timeout=5s;";
    let servers = setting.replicas.iter().map(|replica| server.replace("127.0.0.1:9002", &replica.http.to_string())).collect::<Vec<_>>();
    edit(&mut config, server, &servers.join("\n        "));
    edit(&mut config, "server 127.0.0.1:3000;", &format!("server {};", setting.application));
    listen_on_a_free_port(config).await
}

async fn listen_on_a_free_port(config: String) -> Proxy {
    start_on_a_free_port(
        "Address already in use",
        |address| {
            let mut config = config.clone();
            edit(&mut config, "listen 8080;", &format!("listen {address};"));
            let folder = folder();
            let file = folder.path().join("nginx.conf");
            fs::write(&file, config).unwrap();
            (Process::start("nginx", Command::new("nginx").arg("-p").arg(folder.path()).arg("-c").arg(&file)).with_children(), folder)
        },
        // Written once the port is its own.
        async |_, _, folder| folder.join("nginx.pid").exists(),
    )
    .await
}
