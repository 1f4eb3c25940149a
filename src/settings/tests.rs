#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use std::io::Write;

use ringfence_core::decide::Unmatched;

use super::*;
use crate::{
    listen::{ClientAddress, Dialect},
    telemetry::{LogFormat, LogPath},
};

/// The settings that a command line, variables and a file's text amount to.
fn read(line: &[&str], variables: &[(&str, &str)], file: Option<&str>) -> Result<Settings, String> {
    let mut written = tempfile::NamedTempFile::new().unwrap();
    written.write_all(file.unwrap_or_default().as_bytes()).unwrap();
    let mut line: Vec<String> = line.iter().map(|&flag| flag.to_owned()).collect();
    if file.is_some() {
        line.push(format!("--settings={}", written.path().display()));
    }
    let matches = command().try_get_matches_from(line).map_err(|error| error.to_string())?;
    let variables = variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    Settings::read(&matches, variables).map_err(|error| error.to_string().replace(&written.path().display().to_string(), "FILE"))
}

#[test]
fn the_defaults_are_those_of_the_documentation() {
    let settings = read(&[], &[], None).unwrap();
    assert_eq!(settings.grpc_listener().address.to_string(), "127.0.0.1:9001");
    assert_eq!(settings.grpc_listener().client_address, ClientAddress::Wire);
    assert!(settings.http_listener().is_none());
    assert_eq!(settings.metrics_listen().to_string(), "127.0.0.1:9003");
    assert_eq!(settings.decision_log(), DecisionLogOptions::default());
    assert_eq!(settings.limits.max_in_flight.get(), 1_024);
    let times = settings.shutdown_times();
    assert_eq!((times.announce, times.drain), (Duration::from_secs(5), Duration::from_secs(10)));
    let options = settings.compile_options();
    assert_eq!((options.unmatched, options.hosts_are_granted, options.issuer_origins), (Unmatched::Deny, false, None));
    let with_http = read(&["--http-dialects=nginx,envoy"], &[], None).unwrap().http_listener().unwrap();
    assert_eq!((with_http.address.to_string().as_str(), with_http.dialects.as_slice()), ("127.0.0.1:9002", &[Dialect::Nginx, Dialect::Envoy][..]));
}

#[test]
fn a_flag_counts_before_a_variable_before_the_file_before_the_default() {
    let file = Some("drain = \"4s\"");
    let variable = [("RINGFENCE_DRAIN", "3s")];
    for (line, variables, file, expected) in [
        (&["--drain=2s"][..], &variable[..], file, 2),
        (&[], &variable, file, 3),
        (&[], &[], file, 4),
        (&[], &[], None, 10),
        (&["--drain", "2s"], &[], None, 2),
    ] {
        assert_eq!(read(line, variables, file).unwrap().limits.drain, Duration::from_secs(expected));
    }
}

#[test]
fn every_setting_has_one_name() {
    for argument in command().get_arguments() {
        let long = argument.get_long().expect("every setting is a long flag");
        assert_eq!(argument.get_id().as_str(), long.replace('-', "_"), "the merge of places finds a setting by this");
        assert!(argument.get_short().is_none() && argument.get_env().is_none());
        assert!(argument.get_help().is_some_and(|help| !help.to_string().is_empty()), "--{long} has no help");
        assert!(argument.get_help_heading().is_some(), "--{long} has no heading");
    }
}

#[test]
fn a_file_may_hold_texts_numbers_switches_and_lists() {
    let file = r#"
        config = "/etc/ringfence"
        max-in-flight = 2_048
        decision-log = "all"
        decision-log-sample = 0.5
        reason-header = true
        http-dialects = ["nginx", "envoy"]
        check-allow-from = ["10.0.0.0/8"]
        log-path = "matched"
        log-format = "text"
    "#;
    let settings = read(&[], &[], Some(file)).unwrap();
    assert_eq!(settings.policies.config.as_deref(), Some(Path::new("/etc/ringfence")));
    assert_eq!(settings.limits.max_in_flight.get(), 2_048);
    assert_eq!(
        (settings.decision_log().sample, settings.decision_log().path, settings.decision_log().format),
        (0.5, LogPath::Matched, LogFormat::Text)
    );
    assert!(settings.grpc_listener().reason_header);
    assert_eq!(settings.grpc_listener().connections.allow_from, ["10.0.0.0/8".parse().unwrap()]);
    assert_eq!(settings.http_listener().unwrap().dialects.len(), 2);
}

#[test]
fn a_list_replaces_the_one_of_a_lesser_place() {
    let settings = read(&["--http-dialects=envoy"], &[("RINGFENCE_HTTP_DIALECTS", "nginx")], Some("http-dialects = [\"nginx\"]")).unwrap();
    assert_eq!(settings.http_listener().unwrap().dialects, [Dialect::Envoy]);
}

#[test]
fn a_switch_can_be_turned_off_again() {
    assert!(read(&["--reason-header"], &[], None).unwrap().listen.reason_header);
    assert!(!read(&["--reason-header=false"], &[("RINGFENCE_REASON_HEADER", "yes")], None).unwrap().listen.reason_header);
    assert!(!read(&[], &[("RINGFENCE_REASON_HEADER", "0")], Some("reason-header = true")).unwrap().listen.reason_header);
}

#[test]
fn unknown_names_are_errors_that_suggest_the_nearest() {
    for (variables, file, expected) in [
        (
            &[("RINGFENCE_GRCP_LISTEN", "x")][..],
            None,
            "the environment: there is no setting `RINGFENCE_GRCP_LISTEN`, did you mean `RINGFENCE_GRPC_LISTEN`?",
        ),
        (&[("RINGFENCE_NOTHING_LIKE_IT", "x")], None, "the environment: there is no setting `RINGFENCE_NOTHING_LIKE_IT`; `ringfence serve --help`"),
        (&[], Some("\n\ngrpc_listen = \"x\""), "FILE:3: there is no setting `grpc_listen`, did you mean `grpc-listen`?"),
        (&[], Some("[grpc]\nlisten = \"x\""), "FILE:1: there is no setting `grpc`"),
    ] {
        let error = read(&[], variables, file).unwrap_err();
        assert!(error.starts_with(expected), "{error}");
    }
    assert!(read(&["--grcp-listen=x"], &[], None).unwrap_err().contains("'--grpc-listen'"));
}

#[test]
fn variables_that_kubernetes_or_the_tests_set_are_no_settings() {
    let links = [
        ("RINGFENCE_SERVICE_HOST", "10.0.0.1"),
        ("RINGFENCE_SERVICE_PORT", "9001"),
        ("RINGFENCE_SERVICE_PORT_GRPC", "9001"),
        ("RINGFENCE_PORT", "tcp://10.0.0.1:9001"),
        ("RINGFENCE_PORT_9001_TCP", "tcp://10.0.0.1:9001"),
        ("RINGFENCE_PORT_9001_TCP_ADDR", "10.0.0.1"),
        ("RINGFENCE_METRICS_SERVICE_HOST", "10.0.0.2"),
        ("RINGFENCE_TEST_ENVOY", "/opt/envoy"),
    ];
    read(&[], &links, None).unwrap();
    for (name, value) in [("RINGFENCE_PORT", "9001"), ("RINGFENCE_PORT_X_TCP", "1"), ("RINGFENCE_PORT_9001", "1")] {
        read(&[], &[(name, value)], None).unwrap_err();
    }
}

#[test]
fn a_value_that_cannot_be_read_names_its_place() {
    for (line, variables, file, expected) in [
        (&[][..], &[("RINGFENCE_DRAIN", "soon")][..], None, "the variable `RINGFENCE_DRAIN`: `drain`: `soon` is no duration"),
        (&[], &[], Some("\nmax-in-flight = 0"), "FILE:2: `max-in-flight`: "),
        (&[], &[], Some("drain = [\"1s\", \"2s\"]"), "FILE:1: `drain`: it takes one value, not a list"),
        (&[], &[], Some("drain = 1979-05-27"), "FILE:1: `drain`: write a text in quotes"),
        (
            &[],
            &[],
            Some("unmatched = \"maybe\""),
            "FILE:1: `unmatched`: invalid value 'maybe' for '--unmatched <ANSWER>' [possible values: deny, unavailable, allow]",
        ),
        (&[], &[], Some("a = 1\ndrain = "), "FILE:2: this is no TOML"),
        (&[], &[], Some("settings = \"other.toml\""), "FILE:1: `settings`: a settings file cannot name another one"),
        (&[], &[("RINGFENCE_SETTINGS", "/nowhere/ringfence.toml")], None, "`/nowhere/ringfence.toml` cannot be read: No such file"),
        (&["--grpc-listen=9001"], &[], None, "error: invalid value '9001' for '--grpc-listen <ADDRESS>': `9001` is no address to listen on"),
    ] {
        let error = read(line, variables, file).unwrap_err();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn a_bad_value_of_a_lesser_place_is_an_error_all_the_same() {
    assert!(read(&["--drain=1s"], &[("RINGFENCE_DRAIN", "soon")], None).is_err());
}

#[test]
fn settings_that_do_not_work_together_are_both_named() {
    for (line, one, other) in [
        (&["--tls-cert=a.pem"][..], "--tls-cert", "--tls-key"),
        (&["--tls-key=a.pem"], "--tls-cert", "--tls-key"),
        (&["--tls-client-ca=a.pem"], "--tls-client-ca", "--tls-cert"),
        (&["--tls-client-names=envoy"], "--tls-client-names", "--tls-client-ca"),
        (&["--http-listen=127.0.0.1:1"], "--http-listen", "--http-dialects"),
        (&["--egress-ca=a.pem"], "--egress-ca", "--egress-proxy"),
        (&["--reuse-store-ca=a.pem", "--reuse-store=redis://redis"], "--reuse-store-ca", "--reuse-store"),
        (&["--decision-log-sample=0.1"], "--decision-log-sample", "--decision-log"),
    ] {
        let error = read(line, &[], None).unwrap_err();
        assert!(error.starts_with(&format!("`{one}` and `{other}`: ")), "{error}");
    }
}

#[test]
fn an_image_may_say_where_http_is_listened_for_before_anybody_asks_for_it() {
    let image = [("RINGFENCE_HTTP_LISTEN", "0.0.0.0:9002")];
    assert!(read(&[], &image, None).unwrap().http_listener().is_none());
    for (line, variables, file) in [
        (&["--http-dialects=nginx"][..], &image[..], None),
        (&[], &[image[0], ("RINGFENCE_HTTP_DIALECTS", "nginx")], None),
        (&[], &image, Some("http-dialects = [\"nginx\"]")),
    ] {
        assert_eq!(read(line, variables, file).unwrap().http_listener().unwrap().address.to_string(), "0.0.0.0:9002");
    }
    // Whoever writes the address himself means it.
    assert!(read(&["--http-listen=127.0.0.1:1"], &image, None).unwrap_err().contains("`--http-dialects`"));
    assert!(read(&[], &image, Some("http-listen = \"127.0.0.1:1\"")).unwrap_err().contains("`--http-dialects`"));
}

#[test]
fn a_store_is_read_and_its_password_shown_nowhere() {
    let error = read(&["--reuse-store=redis://user:hunter2@redis:port"], &[], None).unwrap_err();
    assert!(error.starts_with("`--reuse-store`: this is no URL of a store: write `redis://") && error.ends_with(", or `memory`"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
    let error = read(&[], &[("RINGFENCE_REUSE_STORE", "redis://hunter2@redis")], None).unwrap_err();
    assert!(error.contains("a user needs a password") && !error.contains("hunter2"), "{error}");
    let settings = read(&["--reuse-store=redis://user:hunter2@redis/3", "--max-in-flight=100"], &[], None).unwrap();
    let shared = settings.shared_store().unwrap().unwrap();
    assert_eq!((shared.address.to_string().as_str(), shared.most_asked), ("redis://redis:6379/3", 25));
    for shown in [format!("{settings:?}"), format!("{shared:?}")] {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    assert!(read(&[], &[], None).unwrap().shared_store().unwrap().is_none());
}

#[test]
fn replicas_are_warned_of_reuse_only_where_each_has_its_own_store() {
    let per_replica = |line: &[&str]| read(line, &[], None).unwrap().compile_options().reuse_per_replica;
    assert!(per_replica(&["--kubernetes"]));
    assert!(!per_replica(&["--kubernetes", "--reuse-store=redis://redis"]));
    assert!(!per_replica(&["--config=policies"]));
}

#[test]
fn no_password_of_a_proxy_is_repeated() {
    let error = read(&["--egress-proxy=ftp://user:hunter2@proxy"], &[], None).unwrap_err();
    assert!(error.starts_with("`--egress-proxy`: this is no proxy") && !error.contains("hunter2"), "{error}");
    read(&["--egress-proxy=http://user:hunter2@proxy:3128"], &[], None).unwrap();
}

#[test]
fn a_certificate_file_that_is_missing_is_named() {
    let settings = read(&["--issuer-ca=/nowhere/ca.pem"], &[], None).unwrap();
    assert!(settings.fetch_rules().unwrap_err().to_string().starts_with("`/nowhere/ca.pem` cannot be read"));
}
