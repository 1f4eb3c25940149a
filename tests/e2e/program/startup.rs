//! What keeps it from starting: a clear message, exit code 2, and nothing half started.

use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt, process::Command};

use crate::support::ringfence::{program, run};

/// Runs `serve` with an empty folder and these flags to its end; returns what it says.
fn refuse_to_serve(flags: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let config = format!("--config={}", folder.path().display());
    let listen = ["--grpc-listen=127.0.0.1:0", "--metrics-listen=127.0.0.1:0"];
    let listen = listen.iter().filter(|default| !flags.iter().any(|flag| flag.split('=').next() == default.split('=').next()));
    let arguments: Vec<_> = ["serve", &config].iter().chain(listen).chain(flags).copied().collect();
    let (code, stdout, stderr) = run(&arguments);
    assert_eq!(code, Some(2), "{stdout}{stderr}");
    stderr
}

#[test]
fn a_taken_port() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let config = format!("--config={}", folder.path().display());
    for listener in ["grpc", "metrics", "http"] {
        let listen = format!("--{listener}-listen={address}");
        let others = ["grpc", "metrics", "http"].iter().filter(|other| **other != listener).map(|other| format!("--{other}-listen=127.0.0.1:0"));
        let flags: Vec<_> = ["serve".to_owned(), config.clone(), "--http-dialects=nginx".to_owned(), listen].into_iter().chain(others).collect();
        let (code, _, stderr) = run(&flags.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(code, Some(2), "{stderr}");
        assert!(stderr.contains(&address) && stderr.contains("in use"), "{stderr}");
    }
}

#[test]
fn a_certificate_that_cannot_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(path("empty.pem"), "").unwrap();
    fs::write(path("words.pem"), "not a certificate").unwrap();
    let own = rcgen::generate_simple_self_signed(vec!["ringfence".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(vec!["ringfence".to_owned()]).unwrap();
    fs::write(path("good.pem"), own.cert.pem()).unwrap();
    fs::write(path("good.key"), own.signing_key.serialize_pem()).unwrap();
    fs::write(path("other.key"), other.signing_key.serialize_pem()).unwrap();
    for (certificate, key, culprit) in [
        ("missing.pem", "good.key", "missing.pem"),
        ("empty.pem", "good.key", "empty.pem"),
        ("words.pem", "good.key", "words.pem"),
        ("good.pem", "missing.key", "missing.key"),
        ("good.pem", "words.pem", "words.pem"),
        ("good.pem", "other.key", "good.pem"),
    ] {
        let said = refuse_to_serve(&[&format!("--tls-cert={}", path(certificate)), &format!("--tls-key={}", path(key))]);
        assert!(said.contains(&path(culprit)), "{certificate} and {key}: {said}");
    }
    assert!(refuse_to_serve(&[&format!("--tls-cert={}", path("good.pem"))]).contains("--tls-key"));
}

#[test]
fn a_setting_that_does_not_exist() {
    assert!(refuse_to_serve(&["--grcp-client-address=peer"]).contains("--grcp-client-address"));
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("settings.toml");
    fs::write(&settings, "grcp-listen = \"127.0.0.1:0\"\n").unwrap();
    let said = refuse_to_serve(&[&format!("--settings={}", settings.display())]);
    assert!(said.contains("grcp-listen") && said.contains("settings.toml"), "{said}");
    let output = program().args(["serve", "--config", "."]).env("RINGFENCE_GRCP_LISTEN", "127.0.0.1:0").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("RINGFENCE_GRCP_LISTEN"), "{said}");
}

#[test]
fn a_folder_that_is_not_there() {
    let (code, _, said) = run(&["serve", "--config=/nonexistent/policies", "--grpc-listen=127.0.0.1:0", "--metrics-listen=127.0.0.1:0"]);
    assert_eq!(code, Some(2));
    assert!(said.contains("/nonexistent/policies"), "{said}");
}

#[test]
fn a_folder_that_cannot_be_parsed() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("policies.yaml"), "a: [\n").unwrap();
    let config = format!("--config={}", folder.path().display());
    let (code, _, said) = run(&["serve", &config, "--grpc-listen=127.0.0.1:0", "--metrics-listen=127.0.0.1:0"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("policies.yaml:"), "{said}");
}

#[test]
fn a_socket_path_that_is_somebody_elses_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("notes.txt");
    fs::write(&file, "precious").unwrap();
    let said = refuse_to_serve(&[&format!("--grpc-listen=unix:{}", file.display())]);
    assert!(said.contains("notes.txt"), "{said}");
    assert_eq!(fs::read_to_string(file).unwrap(), "precious");
}

#[test]
fn help_is_for_people_and_costs_nothing() {
    for arguments in [&["--help"][..], &["serve", "--help"], &["validate", "--help"], &["check", "--help"], &["test", "--help"], &["demo", "--help"]]
    {
        let (code, stdout, stderr) = run(arguments);
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{arguments:?}");
        assert!(stdout.contains("Usage:") && stdout.contains("--help"), "{stdout}");
        assert!(!stdout.contains('\u{1b}'), "NO_COLOR is set: {stdout:?}");
    }
    let (code, stdout, _) = run(&["serve", "--help"]);
    assert_eq!(code, Some(0));
    for setting in [
        "--config",
        "--grpc-listen",
        "--http-listen",
        "--http-dialects",
        "--metrics-listen",
        "--unmatched",
        "--host-ownership",
        "--tls-cert",
        "--max-in-flight",
    ] {
        assert!(stdout.contains(setting), "`serve --help` should name {setting}");
    }
    assert_eq!(run(&[]).0, Some(2));
    assert_eq!(run(&["no-such-command"]).0, Some(2));
}

#[test]
fn a_program_without_rights_says_which_file_it_may_not_read() {
    // Root may read everything.
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let key = folder.path().join("tls.key");
    let own = rcgen::generate_simple_self_signed(vec!["ringfence".to_owned()]).unwrap();
    fs::write(folder.path().join("tls.pem"), own.cert.pem()).unwrap();
    fs::write(&key, own.signing_key.serialize_pem()).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o000)).unwrap();
    let readable = fs::read(&key).is_ok();
    let certificate = format!("--tls-cert={}", folder.path().join("tls.pem").display());
    let said = if readable {
        let copy = folder.path().join("ringfence");
        fs::copy(env!("CARGO_BIN_EXE_ringfence"), &copy).unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(copy);
        command.arg("serve").arg("--config").arg(folder.path()).args(["--grpc-listen=127.0.0.1:0", "--metrics-listen=127.0.0.1:0", &certificate]);
        let output = command.arg(format!("--tls-key={}", key.display())).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    } else {
        refuse_to_serve(&[&certificate, &format!("--tls-key={}", key.display())])
    };
    assert!(said.contains("tls.key") && said.to_lowercase().contains("permission denied"), "{said}");
}
