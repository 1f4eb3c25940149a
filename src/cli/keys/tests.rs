#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use std::sync::Mutex;

use clap::{CommandFactory, FromArgMatches, Parser};

use super::*;
use crate::{
    issuer::{Document, Fault, Issuer, IssuerOptions},
    settings::Settings,
};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    command: KeysCommand,
}

#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Page {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The command and its settings, whatever the environment says.
fn read(line: &[&str]) -> anyhow::Result<(KeysCommand, Settings)> {
    let matches = Line::command().try_get_matches_from(line)?;
    Ok((Line::from_arg_matches(&matches)?.command, Settings::read(&matches, [])?))
}

/// Runs the command with these arguments; returns what it printed.
async fn run(arguments: &[&str]) -> String {
    let lax = ["--insecure-http-issuers", "--allow-private-issuers"];
    run_strictly(&[arguments, &lax].concat()).await
}

async fn run_strictly(arguments: &[&str]) -> String {
    let (command, settings) = read(&[&["keys"], arguments].concat()).unwrap();
    let page = Page::default();
    let fetcher = Fetcher::new(&settings.fetch_rules().unwrap(), Arc::new(SystemNames)).unwrap();
    let found = command.find(&fetcher).await;
    command.print(&found, &mut Output::to(Box::new(page.clone()), false)).unwrap();
    let printed = page.0.lock().unwrap().clone();
    String::from_utf8(printed).unwrap()
}

#[tokio::test]
async fn shows_what_an_issuer_serves() {
    let issuer = Issuer::start(IssuerOptions::default()).await.unwrap();
    let page = run(&[&issuer.discovery_url(), "--issuer", issuer.issuer()]).await;
    let expected = format!(
        "issuer   {}\nkeys at  {}\nkept for 3600 s, says the server\nusable   `{}` with RS256\n1 usable, 0 not\n",
        issuer.issuer(),
        issuer.keys_url(),
        issuer.kid()
    );
    assert_eq!(page, expected);
    assert!(run(&[&issuer.keys_url()]).await.ends_with("1 usable, 0 not\n"));
    let json: Value = serde_json::from_str(&run(&[&issuer.discovery_url(), "-o", "json"]).await).unwrap();
    assert_eq!((&json["result"], &json["usable"][0]["kid"]), (&json!("ok"), &json!(issuer.kid())));
    assert_eq!(json["issuer"], issuer.issuer());
}

#[tokio::test]
async fn says_why_keys_cannot_be_used_and_escapes_their_names() {
    let issuer = Issuer::start(IssuerOptions::default()).await.unwrap();
    let document = json!({"keys": [{"kty": "oct", "kid": "\u{1b}[2Jred\u{202e}"}, {}]});
    issuer.fail(Document::Keys, Some(Fault::Body(document.to_string())));
    let page = run(&[&issuer.keys_url()]).await;
    assert!(page.contains("unusable `\\u{1b}[2Jred\\u{202e}`: it is a symmetric key"), "{page}");
    assert!(page.contains("unusable a key without a name: it has no `kid`"), "{page}");
    assert!(page.ends_with("0 usable, 2 not\n"), "{page}");
    let json: Value = serde_json::from_str(&run(&[&issuer.keys_url(), "-o", "json"]).await).unwrap();
    assert_eq!(json["result"], "no_usable_keys");
}

#[tokio::test]
async fn says_what_is_wrong() {
    let issuer = Issuer::start(IssuerOptions::default()).await.unwrap();
    let discovery = issuer.discovery_url();
    assert!(run_strictly(&[&discovery]).await.starts_with("insecure: "));
    assert!(run_strictly(&[&discovery, "--insecure-http-issuers"]).await.starts_with("blocked_address: "));
    assert!(run(&[&discovery, "--issuer", "https://other"]).await.starts_with("issuer_mismatch: "));
    let cases = [
        (Fault::Html, "not_json: the document is HTML or XML"),
        (Fault::Body("{}".into()), "not_discovery: the document is neither"),
        (Fault::Body("{\"keys\":[],\"keys\":[]}".into()), "not_key_set: "),
        (Fault::Status(404), "status: the answer has the status 404"),
        (Fault::Redirect("https://elsewhere".into()), "redirect: "),
        (Fault::WrongIssuer("https://evil\u{7}".into()), "issuer_mismatch: the document names the issuer `https://evil\\u{7}`"),
    ];
    for (fault, expected) in cases {
        issuer.fail(Document::Discovery, Some(fault.clone()));
        let page = run(&[&discovery, "--issuer", issuer.issuer()]).await;
        assert!(page.starts_with(expected), "{fault:?}: {page}");
    }
    let json: Value = serde_json::from_str(&run(&[&discovery, "--issuer", issuer.issuer(), "-o", "json"]).await).unwrap();
    assert_eq!(json["result"], "issuer_mismatch");
}

#[test]
fn flags_that_cannot_be_followed_are_errors() {
    let (_, settings) = read(&["keys", "https://issuer.example", "--issuer-ca", "/nowhere.pem"]).unwrap();
    assert!(settings.fetch_rules().unwrap_err().to_string().contains("`/nowhere.pem`"));
    let error = read(&["keys", "https://issuer.example", "--egress-proxy", "user:secret@proxy"]).unwrap_err().to_string();
    assert!(error.contains("egress-proxy") && !error.contains("secret"), "{error}");
}
