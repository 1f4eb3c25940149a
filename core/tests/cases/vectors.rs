//! The examples of the RFCs: which tokens and keys are taken, which are refused, and why.
//!
//! RFC 7515 (JWS), 7517 (JWK), 7519 (JWT), 7520 (the cookbook: signatures and keys), 7797 (unencoded payloads) and 8037 (Ed25519). Nearly every
//! token of theirs is refused, since a `kid` and a payload of claims are required here; whether its signature is good is looked at apart. Private
//! halves are cut short: that they are there is what matters.

use super::*;

/// The claims of RFC 7515 appendix A: issuer `joe`, expired in 2011.
const JOE: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
/// The payload of RFC 7520 section 4: a sentence, and no JSON.
const FRODO: &str = "SXTigJlzIGEgZGFuZ2Vyb3VzIGJ1c2luZXNzLCBGcm9kbywgZ29pbmcgb3V0IHlvdXIgZG9vci4gWW91IHN0ZXAgb250byB0aGUgcm9hZCwgYW5kIGlmIHlvdSBkb24ndCBrZWVwIHlvdXIgZmVldCwgdGhlcmXigJlzIG5vIGtub3dpbmcgd2hlcmUgeW91IG1pZ2h0IGJlIHN3ZXB0IG9mZiB0by4";
/// RFC 7520 section 3.3.
const BILBO_N: &str = "n4EPtAOCc9AlkeQHPzHStgAbgs7bTZLwUBZdR8_KuKPEHLd4rHVTeT-O-XV2jRojdNhxJWTDvNd7nqQ0VEiZQHz_AJmSCpMaJMRBSFKrKb2wqVwGU_NsYOYL-QtiWN2lbzcEe6XC0dApr5ydQLrHqkHHig3RBordaZ6Aj-oBHqFEHYpPe7Tpe-OfVfHd1E6cS6M1FZcD1NNLYD5lFHpPI9bTwJlsde3uhGqC0ZCuEHg8lhzwOHrtIQbS0FVbb9k3-tVTU4fg_3L_vniUFAKwuCLqKnS2BYwdq_mzSnbLY7h_qixoR7jig3__kRhuaxwUkRz5iaiQkqgc5gHdrNP5zw";
/// RFC 7515 appendix A.2.
const JOE_N: &str = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";
const BILBO: &str = "bilbo.baggins@hobbiton.example";

/// A token of an RFC.
struct Example {
    place: &'static str,
    /// Header and payload, encoded.
    signed: String,
    signature: &'static str,
    /// Why it is refused.
    refused: &'static str,
    /// The key and the algorithm that the signature is good with; `None` where no such key is taken.
    good_with: Option<(Algorithm, Value)>,
}

fn examples() -> Vec<Example> {
    let joe = |header: &str| format!("{header}.{JOE}");
    let frodo = |header: &str| format!("{header}.{FRODO}");
    let rsa = |n: &str| json!({"kty": "RSA", "kid": "a", "n": n, "e": "AQAB"});
    vec![
        Example {
            place: "RFC 7515 A.1 and RFC 7519 3.1: HS256",
            signed: joe("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9"),
            signature: "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
            refused: "algorithm_refused",
            good_with: None,
        },
        Example {
            place: "RFC 7515 A.2: RS256, without a kid",
            signed: joe("eyJhbGciOiJSUzI1NiJ9"),
            signature: "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
            refused: "token_malformed",
            good_with: Some((Algorithm::RS256, rsa(JOE_N))),
        },
        Example {
            place: "RFC 7515 A.3: ES256, without a kid",
            signed: joe("eyJhbGciOiJFUzI1NiJ9"),
            signature: "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
            refused: "token_malformed",
            good_with: Some((
                Algorithm::ES256,
                json!({"kty": "EC", "kid": "a", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}),
            )),
        },
        Example {
            place: "RFC 7515 A.4: ES512",
            signed: "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA".to_owned(),
            signature: "AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn",
            refused: "algorithm_refused",
            good_with: None,
        },
        Example {
            place: "RFC 7515 A.5 and RFC 7519 6.1: unsecured",
            signed: joe("eyJhbGciOiJub25lIn0"),
            signature: "",
            refused: "algorithm_refused",
            good_with: None,
        },
        Example {
            place: "RFC 7519 A.1, its encrypted key cut short: five parts",
            signed: "eyJhbGciOiJSU0ExXzUiLCJlbmMiOiJBMTI4Q0JDLUhTMjU2In0.QR1Owv2ug2WyPBnbQrRARTeEk9kDO2w8qDcjiHnSJflSdv1iNqhWXaKH4MqAkQtM.AxY8DCtDaGlsbGljb3RoZQ"
                .to_owned(),
            signature: "MKOle7UQrG6nSxTLX6Mqwt0orbHvAKeWnDYvpIAeZ72deHxz3roJDXQyhxx0wKaMHDjUEOKIwrtkHthpqEanSBNYHZgmNOV7sln1Eu9g3J8.fiK51VwhsxJ-siBMR-YFiA",
            refused: "token_malformed",
            good_with: None,
        },
        Example {
            place: "RFC 7520 4.1: RS256 over a text",
            signed: frodo("eyJhbGciOiJSUzI1NiIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9"),
            signature: "MRjdkly7_-oTPTS3AXP41iQIGKa80A0ZmTuV5MEaHoxnW2e5CZ5NlKtainoFmKZopdHM1O2U4mwzJdQx996ivp83xuglII7PNDi84wnB-BDkoBwA78185hX-Es4JIwmDLJK3lfWRa-XtL0RnltuYv746iYTh_qHRD68BNt1uSNCrUCTJDt5aAE6x8wW1Kt9eRo4QPocSadnHXFxnt8Is9UzpERV0ePPQdLuW3IS_de3xyIrDaLGdjluPxUAhb6L2aXic1U12podGU0KLUQSE_oI-ZnmKJ3F4uOZDnd6QZWJushZ41Axf_fcIe8u9ipH84ogoree7vjbU5y18kDquDg",
            refused: "token_malformed",
            good_with: Some((Algorithm::RS256, rsa(BILBO_N))),
        },
        Example {
            place: "RFC 7520 4.2: PS384 over a text",
            signed: frodo("eyJhbGciOiJQUzM4NCIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9"),
            signature: "cu22eBqkYDKgIlTpzDXGvaFfz6WGoz7fUDcfT0kkOy42miAh2qyBzk1xEsnk2IpN6-tPid6VrklHkqsGqDqHCdP6O8TTB5dDDItllVo6_1OLPpcbUrhiUSMxbbXUvdvWXzg-UD8biiReQFlfz28zGWVsdiNAUf8ZnyPEgVFn442ZdNqiVJRmBqrYRXe8P_ijQ7p8Vdz0TTrxUeT3lm8d9shnr2lfJT8ImUjvAA2Xez2Mlp8cBE5awDzT0qI0n6uiP1aCN_2_jLAeQTlqRHtfa64QQSUmFAAjVKPbByi7xho0uTOcbH510a6GYmJUAfmWjwZ6oD4ifKo8DYM-X72Eaw",
            refused: "token_malformed",
            good_with: Some((Algorithm::PS384, rsa(BILBO_N))),
        },
        Example {
            place: "RFC 7520 4.3: ES512",
            signed: frodo("eyJhbGciOiJFUzUxMiIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9"),
            signature: "AE_R_YZCChjn4791jSQCrdPZCNYqHXCTZH0-JZGYNlaAjP2kqaluUIIUnC9qvbu9Plon7KRTzoNEuT4Va2cmL1eJAQy3mtPBu_u_sDDyYjnAMDxXPn7XrT0lw-kvAD890jl8e2puQens_IEKBpHABlsbEPX6sFY8OcGDqoRuBomu9xQ2",
            refused: "algorithm_refused",
            good_with: None,
        },
        Example {
            place: "RFC 7520 4.4: HS256",
            signed: frodo("eyJhbGciOiJIUzI1NiIsImtpZCI6IjAxOGMwYWU1LTRkOWItNDcxYi1iZmQ2LWVlZjMxNGJjNzAzNyJ9"),
            signature: "s0h6KThzkfBBBkLspW1h84VsJZFTsPPqMDA7g1Md7p0",
            refused: "algorithm_refused",
            good_with: None,
        },
        Example {
            place: "RFC 7515 appendix F, made of RFC 7520 4.1: the payload is elsewhere",
            signed: "eyJhbGciOiJSUzI1NiIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9.".to_owned(),
            signature: "MRjdkly7_-oTPTS3AXP41iQIGKa80A0ZmTuV5MEaHoxnW2e5CZ5NlKtainoFmKZopdHM1O2U4mwzJdQx996ivp83xuglII7PNDi84wnB",
            refused: "token_malformed",
            good_with: None,
        },
        Example {
            place: "RFC 7797 4.2: the payload is not encoded",
            signed: "eyJhbGciOiJIUzI1NiIsImI2NCI6ZmFsc2UsImNyaXQiOlsiYjY0Il19.".to_owned(),
            signature: "A5dxf2s96_n5FLueVuW1Z_vh161FwXZC4YLPff6dmDY",
            refused: "token_malformed",
            good_with: None,
        },
        Example {
            place: "RFC 8037 A.4: EdDSA over a text, without a kid",
            signed: "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc".to_owned(),
            signature: "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
            refused: "token_malformed",
            good_with: Some((Algorithm::EdDSA, json!({"kty": "OKP", "kid": "a", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}))),
        },
    ]
}

#[test]
fn tokens_of_the_rfcs_are_refused_for_the_right_reason_and_their_signatures_are_good() {
    let algorithms: Vec<_> = Algorithm::ALL.iter().map(|algorithm| algorithm.name()).collect();
    let jwt = json!({"issuer": "https://idp.example", "jwksUri": "https://idp.example/keys", "algorithms": algorithms, "audiences": ["a"]});
    let spec = json!({"match": {"hosts": ["a.example"]}, "senders": [{"name": "s", "type": "JWT", "jwt": jwt}]});
    let policy = json!({"apiVersion": "ringfence.dev/v1alpha1", "kind": "CallbackPolicy", "metadata": {"name": "p", "namespace": "n"}, "spec": spec});
    let compiled = compile::compile(&[object(policy)], &Options::default());
    for Example { place, signed, signature, refused, good_with } in examples() {
        let request = CaseRequest::new("https://a.example/").header("authorization", &format!("Bearer {signed}.{signature}"));
        let lines = request.header_lines(None);
        let raw = request.raw(Wire::Grpc, &lines, Instant::now());
        let (verdict, _) = ask(&raw, &compiled, &KeyRing::default(), Now::settled(1_300_819_379_000), &mut HashSet::new());
        assert_eq!((verdict.label(), verdict.reason_label()), ("denied", refused), "{place}");
        let Some((algorithm, jwk)) = good_with else { continue };
        let reading = read_key_set(json!({"keys": [jwk]}).to_string().as_bytes()).unwrap();
        let key = reading.keys.get("a").unwrap_or_else(|| panic!("{place}: {:?}", reading.rejected));
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        for other in Algorithm::ALL {
            assert_eq!(key.verifies(*other, signed.as_bytes(), &signature), *other == algorithm, "{place} as {other:?}");
        }
        assert!(!key.verifies(algorithm, format!("{signed}A").as_bytes(), &signature), "{place}");
    }
}

#[test]
fn keys_of_the_rfcs_are_taken_or_refused_for_a_reason() {
    let with = |mut jwk: Value, members: Value| {
        members.as_object().unwrap().iter().for_each(|(name, value)| jwk[name] = value.clone());
        jwk
    };
    let seven_n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
    let rsa = json!({"kty": "RSA", "n": seven_n, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"});
    let ec = json!({"kty": "EC", "crv": "P-256", "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM", "use": "enc", "kid": "1"});
    let bilbo = json!({"kty": "RSA", "kid": BILBO, "use": "sig", "n": BILBO_N, "e": "AQAB"});
    let p_521 = json!({
        "kty": "EC", "kid": BILBO, "use": "sig", "crv": "P-521",
        "x": "AHKZLLOsCOzz5cY97ewNUajB957y-C-U88c3v13nmGZx6sYl_oJXu9A5RkTKqjqvjyekWF-7ytDyRXYgCF5cj0Kt",
        "y": "AdymlHvOiLxXkEhayXQnNCvDX4h9htZaCJN34kfmC6pV5OhQHiraVySsUdaQkAgDPrwQrJmbnX9cwlGfP-HqHZR1"
    });
    let ed25519 = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    let rows: Vec<(&str, Value, Option<&str>)> = vec![
        ("RFC 7517 A.1: EC, for encryption", ec.clone(), Some("its `use` is not `sig`")),
        ("RFC 7517 A.1: the same, for signatures", with(ec.clone(), json!({"use": "sig"})), None),
        ("RFC 7517 A.1: RSA", rsa.clone(), None),
        ("RFC 7517 A.2: EC, private", with(ec, json!({"use": "sig", "d": "870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE"})), Some("private part")),
        ("RFC 7517 A.2: RSA, private", with(rsa.clone(), json!({"d": "X4cTteJY_gn4FYPsXB8rdXix5vwsg1FLN5E3EaG6RJoVH"})), Some("private part")),
        ("RFC 7517 A.3: for key wrapping", json!({"kty": "oct", "alg": "A128KW", "k": "GawgguFyGrWKav7AX4VKUg", "kid": "a"}), Some("symmetric key")),
        (
            "RFC 7517 A.3: for HMAC",
            json!({"kty": "oct", "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow", "kid": "HMAC key used in JWS spec Appendix A.1 example"}),
            Some("symmetric key"),
        ),
        ("RFC 7517 4.4: for another algorithm", with(rsa, json!({"alg": "RSA-OAEP"})), Some("its `alg` is not a signature algorithm")),
        ("RFC 7520 3.1: P-521", p_521, Some("its `crv` is neither `P-256` nor `P-384`")),
        ("RFC 7520 3.3: RSA", bilbo.clone(), None),
        ("RFC 7520 3.4: RSA, private", with(bilbo, json!({"p": "3Slxg_DwTXJcb6095RoXygQCAZ5RnAvZlno1yhHtnUex"})), Some("private part")),
        (
            "RFC 7520 3.5: for HMAC",
            json!({"kty": "oct", "kid": "018c0ae5-4d9b-471b-bfd6-eef314bc7037", "use": "sig", "alg": "HS256", "k": "hJtXIZ2uSN5kbQfbtTNWbpdmhkV8FJG-Onbc6mxCcYg"}),
            Some("symmetric key"),
        ),
        (
            "RFC 8037 A.1: Ed25519, private",
            with(ed25519.clone(), json!({"kid": "a", "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"})),
            Some("private part"),
        ),
        ("RFC 8037 A.2: Ed25519, without a kid", ed25519.clone(), Some("it has no `kid`")),
        ("RFC 8037 A.2: Ed25519", with(ed25519, json!({"kid": "a"})), None),
        (
            "RFC 8037 A.6: X25519",
            json!({"kty": "OKP", "crv": "X25519", "kid": "Bob", "x": "3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08"}),
            Some("its `crv` is not `Ed25519`"),
        ),
    ];
    for (place, jwk, refused) in rows {
        let reading = read_key_set(json!({"keys": [jwk]}).to_string().as_bytes()).unwrap();
        assert_eq!(reading.keys.len(), usize::from(refused.is_none()), "{place}");
        let why = reading.rejected.first().map(|rejected| rejected.why.as_str());
        assert!(why.zip(refused).is_some_and(|(why, refused)| why.contains(refused)) || why.is_none() && refused.is_none(), "{place}: {why:?}");
    }
}
