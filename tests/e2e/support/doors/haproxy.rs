//! HAProxy with our Lua action.

use std::{fs, process::Command};

use ringfence_core::decide::Reason;
use tokio::net::TcpStream;

use super::{Door, Outcome, Proxy, Relays, Setting, Shows, Upstream, edit, example, folder, start_on_a_free_port};
use crate::support::{network::own_address, process::Process};

/// HAProxy.
pub static HAPROXY: Door = Door {
    name: "HAProxy",
    serve_flags: &["--http-dialects=haproxy"],
    sends_bodies: &[],
    pin: &[("http-request lua.ringfence any", "http-request lua.ringfence by/contoso/contact-center")],
    relays: Relays { malformed: 400, undecided: 503, down: 503, body: true, answers: false },
    upstream: Upstream { strips_query_key: true, sorts_query: false, removes_headers: true },
    shows: Shows { body: false, key_header: true, extended_connect: false },
    exceptions: &[
        ("two hosts", Outcome::Proxy(400)),
        ("a target that names another host", Outcome::Proxy(400)),
        ("a spoofed request with underscores", Outcome::Refused(Reason::MalformedRequest)),
        // By the Lua action.
        ("a Connection header that takes the token along", Outcome::Proxy(400)),
        ("a Connection header that takes the identity along", Outcome::Proxy(400)),
        ("a host with a user", Outcome::Proxy(400)),
        ("a list of hosts", Outcome::Proxy(400)),
        ("a fragment that hides the end", Outcome::Proxy(400)),
        // Its buffers hold 16 KiB.
        ("a target of 17 KiB", Outcome::Proxy(400)),
    ],
    start: |setting| Box::pin(start(setting)),
};

async fn start(setting: Setting<'_>) -> Proxy {
    let mut config = example("haproxy/haproxy.cfg", setting.edits);
    let lua = example("haproxy/ringfence.lua", &[]);
    let server = "    server ringfence 127.0.0.1:9002 check port 9003";
    let servers = setting.replicas.iter().enumerate().map(|(number, replica)| {
        format!("    server ringfence{number} {} check port {}", replica.http, replica.metrics.port()) + " inter 1s fall 1 rise 1"
    });
    let servers = servers.collect::<Vec<_>>().join("\n");
    edit(&mut config, &format!("{server} inter 1s fall 1 rise 1"), &servers);
    edit(&mut config, "server application 127.0.0.1:3000", &format!("server application {}", setting.application));
    start_on_a_free_port(
        "Address already in use",
        |address| {
            // At an address of its own, where no port is taken.
            let mut config = config.replace("127.0.0.1:9012", &format!("{}:9012", own_address()));
            edit(&mut config, "bind :8080", &format!("bind {address}"));
            let folder = folder();
            fs::write(folder.path().join("haproxy.cfg"), config).unwrap();
            fs::write(folder.path().join("ringfence.lua"), &lua).unwrap();
            // Without SO_REUSEPORT: two of them must not share a port.
            let mut command = Command::new("haproxy");
            command.args(["-dR", "-f", "haproxy.cfg"]).current_dir(folder.path());
            (Process::start("haproxy", &mut command), folder)
        },
        async |_, address, _| TcpStream::connect(address).await.is_ok(),
    )
    .await
}
