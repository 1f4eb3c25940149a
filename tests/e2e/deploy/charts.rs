//! The charts as Helm renders them.

use std::{collections::BTreeMap, ffi::OsString, fs};

use clap::Args;
use ringfence::{listen::ToldDecisions, settings::Settings};
use serde_json::{Value, json};

use super::{COMBINATIONS, chart, deploy, helm, object, objects, render};

#[test]
fn helm_finds_nothing_to_complain_of() {
    let ringfence = chart("ringfence");
    for (what, values) in COMBINATIONS {
        let linted = helm(&["lint", "--strict", "--namespace", "ringfence", ringfence.to_str().unwrap()], values);
        let said = linted.unwrap_or_else(|problem| panic!("{what}: {problem}"));
        assert!(said.contains("1 chart(s) linted, 0 chart(s) failed"), "{what}: {said}");
    }
}

#[test]
fn values_that_mean_nothing_are_refused_with_their_place() {
    let ringfence = chart("ringfence");
    for (values, said) in [
        ("replicaz: 2", "additional properties 'replicaz' not allowed"),
        ("replicas: three", "at '/replicas': got string, want integer"),
        ("image: {name: x}", "at '/image': additional properties 'name' not allowed"),
        ("image: {digest: latest}", "at '/image/digest': 'latest' does not match pattern"),
        ("settings: {unmached: deny}", "at '/settings': additional properties 'unmached' not allowed"),
        ("settings: {unmatched: maybe}", "at '/settings/unmatched': value must be one of 'deny', 'unavailable', 'allow'"),
        // What the chart says itself.
        ("settings: {kubernetes: true}", "at '/settings': additional properties 'kubernetes' not allowed"),
        ("settings: {http-dialects: nginx}", "at '/settings/http-dialects': got string, want array"),
        ("secretReader: {namespaces: [Contoso]}", "at '/secretReader/namespaces/0': 'Contoso' does not match pattern"),
        ("admission: {certificate: None}", "at '/admission/certificate': value must be one of 'SelfSigned', 'CertManager', 'Secret'"),
        (
            "admission: {enabled: true, certificate: Secret}",
            "admission.secret: name the Secret with the webhook's certificate, and give the authority",
        ),
        ("tls: {clientAuthority: {secretName: x}}", "tls.clientAuthority.secretName: client certificates need TLS"),
        ("tls: {secretName: x, clientNames: [envoy]}", "tls.clientNames: names are read from client certificates"),
        ("networkPolicy: {enabled: true}", "networkPolicy.checksFrom: say which gateways may ask"),
        ("autoscaling: {enabled: true, maxReplicas: 2}", "autoscaling.maxReplicas: it must not be less than"),
        ("monitoring: {apiVersion: monitoring.coreos.com/v2}", "at '/monitoring/apiVersion': value must be one of"),
        (
            "monitoring: {apiVersion: azmonitoring.coreos.com/v1, prometheusRule: {enabled: true}}",
            "monitoring.prometheusRule.enabled: Azure's managed Prometheus has no such kind",
        ),
    ] {
        let refused = helm(&["template", "ringfence", ringfence.to_str().unwrap()], values).unwrap_err();
        assert!(refused.contains(said), "{values}: {refused}");
    }
}

/// The variables of the container, as the kubelet would set them.
fn variables(values: &str) -> BTreeMap<String, String> {
    let objects = objects(&render(values));
    let deployment = objects.iter().find(|object| object["kind"] == "Deployment").unwrap();
    let list = deployment["spec"]["template"]["spec"]["containers"][0]["env"].as_array().unwrap();
    let value = |variable: &Value| match &variable["valueFrom"]["fieldRef"]["fieldPath"] {
        Value::Null => variable["value"].as_str().unwrap().to_owned(),
        path => {
            assert_eq!(path, "metadata.namespace");
            "ringfence".to_owned()
        }
    };
    list.iter().map(|variable| (variable["name"].as_str().unwrap().to_owned(), value(variable))).collect()
}

/// The variables of the image.
fn image_variables() -> Vec<(String, String)> {
    let dockerfile = fs::read_to_string(deploy().join("Dockerfile")).unwrap();
    let words = dockerfile.split_whitespace().filter(|word| word.starts_with("RINGFENCE_"));
    words.map(|word| word.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())).unwrap()).collect()
}

/// The settings that the program takes from them, started as the container is.
fn settings(values: &str) -> Settings {
    let command = Settings::augment_args(clap::Command::new("serve"));
    let matches = command.try_get_matches_from(["serve", "--kubernetes"]).unwrap();
    let mut all: BTreeMap<_, _> = image_variables().into_iter().collect();
    all.extend(variables(values));
    let all = all.into_iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    Settings::read(&matches, all).unwrap_or_else(|problem| panic!("{problem}\n{values}"))
}

#[test]
fn the_program_takes_what_the_chart_says() {
    for (_, values) in COMBINATIONS {
        let settings = settings(values);
        assert!(settings.cluster.kubernetes);
        assert_eq!(settings.policies.rules.resource_namespace, "ringfence");
        assert_eq!(settings.grpc_listener().address.to_string(), "0.0.0.0:9001");
        assert_eq!(settings.metrics_listen().to_string(), "0.0.0.0:9003");
        // With --kubernetes: hosts are granted, and keys are fetched from Microsoft's issuers unless somebody says otherwise.
        assert!(settings.compile_options().hosts_are_granted && settings.compile_options().issuer_origins.is_some());
    }
    assert!(settings("").http_listener().is_none() && settings("").admission_listener().is_none());

    let all = settings(include_str!("fixtures/everything.yaml"));
    let http = all.http_listener().unwrap();
    assert_eq!((http.address.to_string().as_str(), http.dialects.len()), ("0.0.0.0:9002", 2));
    assert_eq!(http.connections.allow_from.len(), 2);
    let tls = http.connections.tls.unwrap();
    assert_eq!(tls.certificate.to_str(), Some("/certificates/checks/tls.crt"));
    assert_eq!(tls.client_ca.unwrap().to_str(), Some("/certificates/clients/authorities.pem"));
    assert_eq!(tls.client_names, ["envoy.example", "spiffe://example/envoy"]);
    assert_eq!(all.admission_certificates(), Some(("ringfence-admission".to_owned(), "ringfence".to_owned())));
    assert_eq!(all.cluster.watch_namespace, ["contoso", "fabrikam"]);
    assert_eq!((all.log.decision_log_rate, all.log.decision_log_sample, all.limits.max_in_flight.get()), (1_000_000, 0.01, 4_096));
    assert_eq!((all.shutdown_times().announce.as_secs(), all.shutdown_times().drain.as_secs()), (15, 30));
    assert!(all.listen.reason_header);
    assert_eq!(all.grpc_listener().metadata, ToldDecisions::All);
}

#[test]
fn every_setting_is_a_value_or_the_charts_own() {
    let command = Settings::augment_args(clap::Command::new("settings"));
    let schema: Value = serde_json::from_str(&fs::read_to_string(chart("ringfence").join("values.schema.json")).unwrap()).unwrap();
    let free = schema["properties"]["settings"]["properties"].as_object().unwrap();
    let template = fs::read_to_string(chart("ringfence").join("templates/deployment.yaml")).unwrap();
    // Settings that a pod of the chart has no use for.
    let none = ["config", "kubeconfig", "settings"];
    for argument in command.get_arguments() {
        let name = argument.get_long().unwrap();
        let variable = format!("RINGFENCE_{}", name.replace('-', "_").to_uppercase());
        let of_image = image_variables().iter().any(|(image, _)| *image == variable);
        let own = of_image || none.contains(&name) || template.contains(&format!("{variable},")) || template.contains(&format!("{variable}\n"));
        let own = own || template.contains(&format!("--{name}]"));
        assert!(
            free.contains_key(name) != own,
            "`{name}` is the chart's own ({own}), or stands in values.schema.json below `settings`: one of the two"
        );
        if let Some(values) = free.get(name).map(|schema| schema["items"].get("enum").or(schema.get("enum"))) {
            let possible: Vec<_> = argument.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
            // A switch is a boolean there.
            let are_words = !possible.is_empty() && !possible.contains(&"true".to_owned());
            assert!(!are_words || values == Some(&json!(possible)), "{name}: {values:?} and {possible:?}");
        }
    }
    for name in free.keys() {
        assert!(command.get_arguments().any(|argument| argument.get_long() == Some(name)), "there is no setting `{name}`");
    }
}

#[test]
fn the_pod_is_left_enough_time_to_leave() {
    for (_, values) in COMBINATIONS {
        let objects = objects(&render(values));
        let deployment = objects.iter().find(|object| object["kind"] == "Deployment").unwrap();
        let grace = deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap();
        let times = settings(values).shutdown_times();
        // The Lease is handed over first, and may take a call's time.
        assert!(grace >= (times.announce + times.drain).as_secs() + 15, "{grace} s");
    }
}

#[test]
fn the_webhook_is_asked_under_the_name_that_its_certificate_is_for() {
    let objects = objects(&render(include_str!("fixtures/another-name.yaml")));
    let service = object(&objects, "ValidatingWebhookConfiguration", "edge")["webhooks"][0]["clientConfig"]["service"].clone();
    assert_eq!(service, json!({"name": "edge-admission", "namespace": "ringfence", "port": 9443}));
    object(&objects, "Service", "edge-admission");
    let values = include_str!("fixtures/another-name.yaml");
    assert_eq!(settings(values).admission_certificates(), Some(("edge-admission".to_owned(), "edge".to_owned())));
    let rights = &object(&objects, "Role", "edge-admission")["rules"][1]["resourceNames"];
    assert_eq!(rights, &json!([ringfence::admission::secret_name("edge-admission")]));
    assert_eq!(object(&objects, "ClusterRole", "edge-admission")["rules"][0]["resourceNames"], json!(["edge"]));
}

#[test]
fn the_notes_tell_the_next_commands() {
    let ringfence = chart("ringfence");
    let install = ["install", "ringfence", ringfence.to_str().unwrap(), "--namespace", "edge", "--dry-run=client"];
    let said = helm(&install, "{fullnameOverride: gate, settings: {http-dialects: [nginx]}}").unwrap();
    let notes = said.split("NOTES:").nth(1).unwrap();
    for part in [
        "gate.edge.svc:9001   gRPC (envoy.service.auth.v3), h2c",
        "gate.edge.svc:9002   HTTP, for nginx",
        "kubectl --namespace edge rollout status deployment/gate",
        "kind: HostGrant",
        "kind: CallbackPolicy",
        "--clusterrole ringfence-secret-reader --serviceaccount edge:gate",
        "is on nodes that it was loaded into, and in no registry",
    ] {
        assert!(notes.contains(part), "{part}\n{notes}");
    }
}

#[test]
fn values_in_the_documentation_can_be_used() {
    let mut count = 0;
    for page in [chart("ringfence").join("README.md"), deploy().join("examples/envoy-kubernetes/README.md")] {
        let text = fs::read_to_string(&page).unwrap();
        for values in text.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()) {
            let rendered = render(values);
            // The last word of each block arrives.
            let word = values.split(|letter: char| !letter.is_alphanumeric() && letter != '.').rfind(|word| !word.is_empty()).unwrap();
            assert!(rendered.contains(word), "{}: {values}{rendered}", page.display());
            count += 1;
        }
    }
    assert_eq!(count, 3);
}
