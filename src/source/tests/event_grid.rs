use ringfence_core::decide::{Audience, ClaimRule, HandshakeMode, KeySource, MethodRule};

use super::*;

const TENANT: &str = "11111111-2222-3333-4444-555555555555";

/// A policy whose one sender is of Event Grid; `rest` follows `eventGrid` in the sender.
fn event_grid(spec: &str, rest: &str) -> Compiled {
    let policy = format!(
        "apiVersion: ringfence.dev/v1alpha1\nkind: CallbackPolicy\nmetadata: {{name: events, namespace: contoso}}\nspec:\n  \
         match: {{hosts: [events.contoso.com]}}\n  senders:\n    - name: incoming-call\n      type: EventGrid\n      eventGrid: {{{spec}}}\n{rest}"
    );
    compile(&[("a.yaml", &policy)], &Options { insecure_http_issuers: true, ..Options::default() })
}

fn issuers(compiled: &Compiled) -> [String; 2] {
    let token = checks(holder(compiled), "incoming-call").token.as_ref().unwrap();
    let KeySource::Fetched(id) = &token.keys else { panic!("{:?}", token.keys) };
    [token.issuers.to_string(), id.to_string()]
}

#[test]
fn a_tenant_and_an_audience_are_enough() {
    let compiled = event_grid(&format!("tenantId: {}, audiences: [\"api://x\"]", TENANT.to_uppercase()), "");
    assert_eq!(said(&compiled), Vec::<String>::new());
    let sender = &senders(holder(&compiled))[0];
    assert_eq!(sender.methods, MethodRule::OneOf(["POST".into(), "OPTIONS".into()].into()));
    let checks = sender.checks.as_ref().unwrap();
    let (token, rule) = (checks.token.as_ref().unwrap(), checks.event_grid.as_ref().unwrap());
    assert_eq!((rule.handshake, rule.subscriptions.len()), (HandshakeMode::Answer, 0));
    assert_eq!(*rule.origins, [Box::<str>::from("eventgrid.azure.net")]);
    assert_eq!((token.clock_skew_ms, token.max_lifetime_ms), (30_000, Some(90_000_000)));
    assert_eq!(token.audiences.find("api://x"), Some(&Audience { value: "api://x".into(), name: None }));
    let ClaimRule::Entra(entra) = &token.claims else { panic!("{:?}", token.claims) };
    assert_eq!(entra.tenant, 0x11111111_2222_3333_4444_555555555555);
    assert_eq!((&*entra.issuer_v1, entra.roles.len()), ("https://sts.windows.net/11111111-2222-3333-4444-555555555555/", 0));
    assert_eq!(*entra.applications, [0x4962773b_9cdb_44cf_a8bf_237846a00ab7]);
    assert_eq!(
        issuers(&compiled),
        [
            "`https://sts.windows.net/11111111-2222-3333-4444-555555555555/` or \
             `https://login.microsoftonline.com/11111111-2222-3333-4444-555555555555/v2.0`",
            "https://login.microsoftonline.com/11111111-2222-3333-4444-555555555555/discovery/v2.0/keys"
        ]
    );
}

#[test]
fn each_cloud_has_its_own_names() {
    let of = |cloud: &str| event_grid(&format!("cloud: {cloud}, tenantId: {TENANT}, audiences: [a], applicationIds: [{TENANT}]"), "");
    let [names, keys] = issuers(&of("USGovernment"));
    assert!(names.contains("`https://sts.windows.net/") && names.contains("`https://login.microsoftonline.us/"), "{names}");
    assert!(keys.starts_with("https://login.microsoftonline.us/"), "{keys}");
    let [names, keys] = issuers(&of("China"));
    assert!(names.contains("`https://sts.chinacloudapi.cn/") && names.contains("`https://login.partner.microsoftonline.cn/"), "{names}");
    assert!(keys.starts_with("https://login.partner.microsoftonline.cn/"), "{keys}");
    let own = "authority: {issuerV1: one, issuerV2: two, jwksUri: \"http://127.0.0.1:9/keys\"}";
    let own = event_grid(&format!("tenantId: {TENANT}, audiences: [a], {own}"), "");
    assert_eq!((said(&own), issuers(&own)), (Vec::new(), ["`one` or `two`".to_owned(), "http://127.0.0.1:9/keys".to_owned()]));
}

#[test]
fn what_is_wrong_is_said_and_denies() {
    let authority = |v1: &str, v2: &str, keys: &str| format!("authority: {{issuerV1: {v1:?}, issuerV2: {v2:?}, jwksUri: {keys:?}}}");
    let many = |count: usize, text: &str| vec![format!("{text:?}"); count].join(", ");
    let (tenant, audiences) = (format!("tenantId: {TENANT}"), "audiences: [\"api://x\"]");
    let cases: &[(String, &str)] = &[
        (audiences.to_owned(), "spec.senders[0].eventGrid: there is no `tenantId`"),
        (tenant.clone(), "spec.senders[0].eventGrid: there is no audience"),
        (format!("tenantId: common, {audiences}"), "eventGrid.tenantId: `common` stands for every tenant"),
        (format!("tenantId: contoso.onmicrosoft.com, {audiences}"), "eventGrid.tenantId: `contoso.onmicrosoft.com` is no GUID"),
        (format!("{tenant}, audiences: [\"a b\"]"), "eventGrid.audiences[0]: an audience is 1 to 256"),
        (format!("{tenant}, audiences: [{}]", many(33, "a")), "eventGrid.audiences: 33 audiences; at most 32"),
        (format!("{tenant}, audiences: []"), "an empty list means nothing"),
        (format!("{tenant}, {audiences}, cloud: China"), "eventGrid: the id of Event Grid's application in this cloud is not known"),
        (format!("{tenant}, {audiences}, applicationIds: [x]"), "eventGrid.applicationIds[0]: `x` is no application id"),
        (format!("{tenant}, {audiences}, applicationIds: []"), "an empty list means nothing"),
        (format!("{tenant}, {audiences}, applicationIds: [{}]", many(17, TENANT)), "17 applications; at most 16"),
        (format!("{tenant}, {audiences}, roles: ['']"), "eventGrid.roles[0]: a name is 1 to 256 characters"),
        (format!("{tenant}, {audiences}, roles: [{}]", many(17, "r")), "eventGrid.roles: 17 names; at most 16"),
        (format!("{tenant}, {audiences}, subscriptionNames: [' x']"), "eventGrid.subscriptionNames[0]: a name is 1 to 256 characters"),
        (format!("{tenant}, {audiences}, subscriptionNames: []"), "an empty list means nothing"),
        (format!("{tenant}, {audiences}, maxLifetime: 0s"), "eventGrid.maxLifetime: no token lives for `0s`"),
        (format!("{tenant}, {audiences}, clockSkew: 6m"), "eventGrid.clockSkew: `6m` is too long"),
        (format!("{tenant}, {audiences}, handshake: Maybe"), "unknown variant `Maybe`"),
        (format!("{tenant}, {audiences}, token: null"), "null is no value"),
        (format!("{tenant}, {audiences}, issuer: x"), "unknown field `issuer`"),
        (format!("{tenant}, {audiences}, {}", authority("a b", "c", "https://k.example")), "authority.issuerV1: an issuer is 1 to 256"),
        (
            format!("{tenant}, {audiences}, {}", authority("a", "https://x/{tenantid}/", "https://k.example")),
            "authority.issuerV2: `https://x/{tenantid}/`",
        ),
        (format!("{tenant}, {audiences}, {}", authority("https://x/Common/", "c", "https://k.example")), "is that of every tenant"),
        (format!("{tenant}, {audiences}, {}", authority("a", "b", "https://k.example/organizations/keys")), "is that of every tenant"),
        (format!("{tenant}, {audiences}, {}", authority("a", "b", "ftp://k.example")), "authority.jwksUri: `ftp://k.example`: must be a URL"),
        (format!("{tenant}, {audiences}, authority: {{issuerV1: a, issuerV2: b}}"), "missing field `jwksUri`"),
        ("token: None".to_owned(), "eventGrid.token: without a token anybody may deliver; add an `apiKey`"),
    ];
    for (spec, message) in cases {
        let compiled = event_grid(spec, "");
        assert!(said(&compiled).iter().any(|said| said.starts_with("error ") && said.contains(message)), "{spec}: {:?}", said(&compiled));
        assert!(senders(holder(&compiled))[0].checks.is_err(), "{spec}");
        assert!(compiled.key_sets.len() == 1, "{spec}: who denies needs no keys");
    }
}

#[test]
fn keys_come_from_allowed_origins_only() {
    let policy = "apiVersion: ringfence.dev/v1alpha1\nkind: CallbackPolicy\nmetadata: {name: events, namespace: contoso}\nspec:\n  \
         match: {hosts: [events.contoso.com]}\n  senders:\n    - name: incoming-call\n      type: EventGrid\n      eventGrid: {tenantId: TENANT, audiences: [a]}\n";
    let options = Options { issuer_origins: Some(vec!["https://idp.example".into()]), ..Options::default() };
    let compiled = compile(&[("a.yaml", &policy.replace("TENANT", TENANT))], &options);
    assert!(said(&compiled)[0].starts_with("error IssuerNotAllowed spec.senders[0].eventGrid.authority.jwksUri: "), "{:?}", said(&compiled));
    assert!(senders(holder(&compiled))[0].checks.is_err());
}

#[test]
fn without_a_token_a_key_decides_and_what_is_about_tokens_is_pointed_out() {
    let key = format!("      apiKey: {{query: key, sha256: [{SHA}]}}\n");
    let compiled = event_grid("token: None, handshake: PassThrough, subscriptionNames: [Incoming-Calls]", &key);
    assert_eq!(said(&compiled), Vec::<String>::new());
    let checks = checks(holder(&compiled), "incoming-call");
    let rule = checks.event_grid.as_ref().unwrap();
    assert_eq!((rule.handshake, &*rule.subscriptions), (HandshakeMode::PassThrough, &[Box::<str>::from("incoming-calls")][..]));
    assert!(checks.token.is_none() && checks.api_key.is_some());
    // What an API server writes where nothing was written.
    let compiled = event_grid("token: None, clockSkew: 30s, requireIssuedAt: false, tokenReuse: Observe, cloud: Public, handshake: Answer", &key);
    assert_eq!(said(&compiled), Vec::<String>::new());
    let compiled = event_grid(&format!("token: None, tenantId: {TENANT}, maxLifetime: 1h"), &key);
    let said = said(&compiled);
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said.iter().all(|said| said.starts_with("warning LikelyMistake") && said.contains("which `token: None` does not look at")), "{said:?}");
    // A key that cannot be read is no key.
    let compiled = event_grid("token: None", "      apiKey: {query: key, secretRefs: [{name: missing, key: x}]}\n");
    assert!(senders(holder(&compiled))[0].checks.is_err());
}
