//! Traefik's `ForwardAuth`. It has no ordinary install: its program is named by `TRAEFIK`.

use std::{env, fs, process::Command};

use ringfence_core::decide::Reason;
use tokio::net::TcpStream;

use super::{Door, Outcome, Proxy, Relays, Setting, Shows, Upstream, edit, example, folder, start_on_a_free_port};
use crate::support::process::Process;

/// Traefik.
pub static TRAEFIK: Door = Door {
    name: "Traefik",
    serve_flags: &["--http-dialects=traefik"],
    sends_bodies: &[],
    pin: &[("/auth/traefik/any", "/auth/traefik/by/contoso/contact-center")],
    relays: Relays { malformed: 400, undecided: 503, down: 500, body: true, answers: false },
    upstream: Upstream { strips_query_key: false, sorts_query: false, removes_headers: false },
    shows: Shows { body: false, key_header: true, extended_connect: false },
    exceptions: &[("a spoofed request with underscores", Outcome::Refused(Reason::MalformedRequest))],
    start: |setting| Box::pin(start(setting)),
};

async fn start(setting: Setting<'_>) -> Proxy {
    let [replica] = setting.replicas else { panic!("it asks one address") };
    let mut dynamic = example("traefik/dynamic.yaml", setting.edits);
    edit(&mut dynamic, "http://127.0.0.1:9002/", &format!("http://{}/", replica.http));
    edit(&mut dynamic, "http://127.0.0.1:3000", &format!("http://{}", setting.application));
    start_on_a_free_port(
        "address already in use",
        |address| {
            let mut config = example("traefik/traefik.yaml", &[]);
            edit(&mut config, "address: :8080", &format!("address: {address}"));
            let folder = folder();
            fs::write(folder.path().join("traefik.yaml"), config).unwrap();
            fs::write(folder.path().join("dynamic.yaml"), &dynamic).unwrap();
            let mut command = Command::new(env::var_os("TRAEFIK").expect("TRAEFIK names Traefik's program"));
            command.arg("--configFile=traefik.yaml").current_dir(folder.path());
            (Process::start("traefik", &mut command), folder)
        },
        async |_, address, _| TcpStream::connect(address).await.is_ok(),
    )
    .await
}
