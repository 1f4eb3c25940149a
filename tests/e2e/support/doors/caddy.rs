//! Caddy's `forward_auth`, written out.

use std::{fs, process::Command};

use ringfence_core::decide::Reason;

use super::{Door, Outcome, Proxy, Relays, Setting, Shows, Upstream, edit, example, folder, start_on_a_free_port};
use crate::support::process::Process;

/// Caddy.
pub static CADDY: Door = Door {
    name: "Caddy",
    serve_flags: &["--http-dialects=caddy"],
    sends_bodies: &[],
    pin: &[("rewrite /auth/caddy/any", "rewrite /auth/caddy/by/contoso/contact-center")],
    relays: Relays { malformed: 400, undecided: 503, down: 503, body: true, answers: false },
    upstream: Upstream { strips_query_key: true, sorts_query: false, removes_headers: false },
    shows: Shows { body: false, key_header: true, extended_connect: false },
    exceptions: &[
        ("two hosts", Outcome::Proxy(400)),
        ("a method of 40 letters", Outcome::Proxy(405)),
        // By the example.
        ("a Connection header that takes the token along", Outcome::Proxy(400)),
        ("a Connection header that takes the identity along", Outcome::Proxy(400)),
        ("a spoofed request with underscores", Outcome::Refused(Reason::MalformedRequest)),
        ("a host with a user", Outcome::Proxy(400)),
        ("the path /api/callbacks%", Outcome::Proxy(400)),
    ],
    start: |setting| Box::pin(start(setting)),
};

async fn start(setting: Setting<'_>) -> Proxy {
    let mut config = example("caddy/Caddyfile", setting.edits);
    let replicas: Vec<_> = setting.replicas.iter().map(|replica| replica.http.to_string()).collect();
    edit(&mut config, "reverse_proxy 127.0.0.1:9002 {", &format!("reverse_proxy {} {{", replicas.join(" ")));
    edit(&mut config, "reverse_proxy 127.0.0.1:3000", &format!("reverse_proxy {}", setting.application));
    start_on_a_free_port(
        "address already in use",
        |address| {
            let mut config = config.clone();
            edit(&mut config, "http://:8080 {", &format!("http://:{} {{\n\tbind {}", address.port(), address.ip()));
            let folder = folder();
            let file = folder.path().join("Caddyfile");
            fs::write(&file, config).unwrap();
            let mut command = Command::new("caddy");
            command.args(["run", "--config"]).arg(&file).env("HOME", folder.path());
            for home in ["XDG_CONFIG_HOME", "XDG_DATA_HOME"] {
                command.env(home, folder.path());
            }
            (Process::start("caddy", &mut command), folder)
        },
        async |process, _, _| process.output().lines_from(0).iter().any(|line| line.contains("serving initial configuration")),
    )
    .await
}
