//! Seeds: what the table cases of the tests ask (`tests/cases`), in the form of each target, and a few documents and corner cases beside them.
//!
//! A target that is started with `RINGFENCE_FUZZ_SEEDS=DIR` writes its own into DIR before libFuzzer reads it, so nothing of this is kept in the
//! repository.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use prost::Message;
use ringfence::{
    cases::{Case, CaseFile},
    client,
    issuer::{Issuer, IssuerOptions},
};

/// Writes the seeds of `target` into the folder that the variable names, if it is set.
pub fn write(target: &str) {
    let Some(folder) = env::var_os("RINGFENCE_FUZZ_SEEDS").map(PathBuf::from) else { return };
    fs::create_dir_all(&folder).expect("a folder for seeds");
    let seeds = of(target);
    assert!(seeds.len() >= 3, "{} seeds of {target}", seeds.len());
    for (number, seed) in seeds.iter().enumerate() {
        fs::write(folder.join(format!("seed-{number:04}")), seed).expect("a seed is written");
    }
}

fn of(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/cases");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let _inside = runtime.enter();
    let issuer = runtime.block_on(Issuer::start(IssuerOptions::default())).expect("an issuer");
    let mut seeds = own(target, &issuer);
    let mut files: Vec<_> = fs::read_dir(&folder).expect("the cases").map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    for path in files.iter().filter(|path| path.extension().is_some_and(|extension| extension == "yaml")) {
        let file = CaseFile::read(path).expect("sound cases");
        if target == "resources" {
            for entry in fs::read_dir(&file.config).expect("policies") {
                let text = fs::read_to_string(entry.expect("a file").path()).expect("a text");
                // Each document of its own as well: small inputs are changed to better effect.
                seeds.extend(text.split("\n---\n").map(|document| document.as_bytes().to_vec()));
                seeds.push(text.into_bytes());
            }
        }
        for case in &file.cases {
            let token = case.request.token.as_ref().map(|spec| issuer.mint(spec).expect("a token"));
            seeds.extend(of_case(target, case, token.as_deref()));
        }
    }
    seeds.sort();
    seeds.dedup();
    seeds
}

fn of_case(target: &str, case: &Case, token: Option<&str>) -> Vec<Vec<u8>> {
    let request = &case.request;
    let lines = request.header_lines(token);
    let query = || request.target().split_once('?').map(|(_, query)| query.as_bytes().to_vec());
    match target {
        "token" => lines.iter().filter(|(name, _)| name == "authorization").flat_map(|(_, value)| tokens(value)).collect(),
        "host_and_path" => vec![format!("{}\n{}", request.authority(), request.target()).into_bytes()],
        "query_key" => query().into_iter().collect(),
        "signed_url" => {
            let value = query().and_then(|query| String::from_utf8(query).ok()).and_then(|query| Some(query.split_once("sig=")?.1.to_owned()));
            value.map(|value| [&[0], value.as_bytes()].concat()).into_iter().collect()
        }
        "check_request" => [true, false].map(|raw| client::check_request(request, &lines, raw).encode_to_vec()).into(),
        "http_dialects" => dialects(case, &lines),
        "handshake" => request.body_text().into_iter().flat_map(|body| [0, 1, 2, 128].map(|kind| [&[kind], body.as_bytes()].concat())).collect(),
        _ => Vec::new(),
    }
}

/// A token as it is, and its header and payload to be signed anew.
fn tokens(authorization: &str) -> Vec<Vec<u8>> {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let token = authorization.get(7..).unwrap_or_default();
    let mut parts = token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap_or_default());
    let signed_anew = [&[1], parts.next().unwrap_or_default().as_slice(), b"\n", &parts.next().unwrap_or_default()].concat();
    vec![[&[0], token.as_bytes()].concat(), signed_anew]
}

/// The case as each proxy asks it.
fn dialects(case: &Case, lines: &[(String, String)]) -> Vec<Vec<u8>> {
    let request = &case.request;
    let (method, host, target) = (request.method_name(), request.authority(), request.target());
    let pin = request.pinned().map_or_else(|| "any".to_owned(), |pin| format!("by/{pin}"));
    let client = request.client().map_or_else(|| "unix:".to_owned(), |client| client.to_string());
    let headers: String = lines.iter().map(|(name, value)| format!("\n{name}: {value}")).collect();
    let forwarded = format!("x-forwarded-method: {method}\nx-forwarded-host: {host}\nx-forwarded-uri: {target}\nx-forwarded-for: {client}");
    [
        format!("GET /auth/nginx/{pin}/{client}/{method}/{host}{target}/.end{headers}"),
        format!("GET /auth/haproxy/{pin}/{client}/{method}/{host}{target}/.end{headers}"),
        format!("GET /auth/ingress-nginx/by/n/p\nx-original-method: {method}\nx-original-url: https://{host}{target}\nx-real-ip: {client}{headers}"),
        format!("GET /auth/traefik/{pin}\n{forwarded}{headers}"),
        format!("GET /auth/caddy/{pin}\nhost: {host}\n{forwarded}{headers}"),
        format!("{method} /auth/envoy/{pin}{target}\nhost: {host}{headers}"),
    ]
    .map(String::into_bytes)
    .into()
}

/// What no case has.
fn own(target: &str, issuer: &Issuer) -> Vec<Vec<u8>> {
    let texts: Vec<String> = match target {
        "key_set" => {
            let rsa = issuer.key_set().to_string();
            vec![
                rsa.replace("RS256", "PS256"),
                rsa,
                r#"{"keys":[{"kty":"EC","crv":"P-256","kid":"1","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM","use":"sig"}]}"#.into(),
                r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","key_ops":["verify"]},{"kty":"oct","k":"AA","kid":"b"}]}"#.into(),
            ]
        }
        "discovery" => vec![
            r#"{"issuer":"https://a.example","jwks_uri":"https://a.example/keys"}"#.into(),
            r#"{"issuer":"https://a.example","jwks_uri":"https://a.example/keys","id_token_signing_alg_values_supported":["RS256"],"x":{"issuer":1}}"#.into(),
            r#"{"issuer":"i","issuer":"j","jwks_uri":"k"}"#.into(),
            // JSON, though no double holds it.
            r#"{"issuer":"i","x":6E22222,"jwks_uri":"k"}"#.into(),
        ],
        "query_key" => ["key=0123456789abcdef", "a=1&key=0123456789abcdef&b", "k%65y=0123456789abcdef", "key=%30123456789abcdef", "a;key=0123456789abcdef"]
            .map(str::to_owned)
            .into(),
        "token" => vec![
            "\u{1}{\"alg\":\"ES256\",\"kid\":\"k\"}\n{\"iss\":\"https://idp.example\",\"aud\":\"callbacks\",\"exp\":9999999999}".into(),
            format!(
                "\u{1}{{\"alg\":\"ES256\",\"kid\":\"k\"}}\n{{\"iss\":\"https://idp.example\",\"aud\":[\"callbacks\"],\"exp\":{}}}",
                std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |now| now.as_secs() + 1800)
            ),
        ],
        "signed_url" => vec!["\u{1}\u{0}\u{0}\u{0}\u{0}".into(), "\u{1}\u{10}\u{e}\u{0}\u{0}\u{3}9".into(), "\u{0}v1.1800000060.AAAA".into()],
        _ => Vec::new(),
    };
    texts.into_iter().map(String::into_bytes).collect()
}
