//! One table per type: what must be found, what must be left alone.

use countersign_schemas::json::JsonObject;
use serde_json::{Value, json};

use super::{classes, redactor};
use crate::redact::{
    ClassError, FieldClass, FieldClasses, FingerprintKey, KeyError, REDACTION_FAILED,
};

/// Each text must become `expected`, where `<type>` stands for a mark of that type.
fn check(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        let out = redactor().text(text).text;
        assert_eq!(shape(&out), *expected, "for {text}");
    }
}

/// Marks without their fingerprints.
fn shape(text: &str) -> String {
    let mark = regex::Regex::new(r"\[([a-z_]+):k1:[0-9a-f]{12}\]").unwrap();
    mark.replace_all(text, "<$1>").into_owned()
}

fn untouched(texts: &[&str]) {
    for text in texts {
        let out = redactor().text(text);
        assert_eq!(out.text, *text);
        assert!(out.findings.is_empty(), "{text}");
    }
}

#[test]
fn emails_are_found() {
    check(&[
        (
            "write to Bob.Smith+tag@Mail.example.com.",
            "write to <email>.",
        ),
        ("<bob@example.co.uk>", "<<email>>"),
        (
            "mailto:bob@example.org?subject=hi",
            "mailto:<email>?subject=hi",
        ),
        ("email=a_b%c@example.net&x=1", "email=<email>&x=1"),
        ("josé@exämple.de", "<email>"),
        ("a@b.co", "<email>"),
        ("one@example.com,two@example.com", "<email>,<email>"),
        ("bob%40example.com", "<email>"),
        ("bob\\u0040example.com", "<email>"),
        ("bob&#64;example.com", "<email>"),
        ("b\u{200b}ob@exam\u{200d}ple.com", "<email>"),
        ("ｂｏｂ＠ｅｘａｍｐｌｅ．ｃｏｍ", "<email>"),
        ("ref Ym9iQGV4YW1wbGUuY29t end", "ref <email> end"),
        ("ref Ym9iQGV4YW1wbGUub3Jn== end", "ref <email> end"),
    ]);
}

#[test]
fn what_only_looks_like_an_email_stays() {
    untouched(&[
        "@types/node@1.2.3",
        "icon@2x.png",
        "git@github.com:org/repo.git",
        "user@localhost",
        "a @ b.com",
        "@channel please",
        "5 apples @ 3.50",
    ]);
}

#[test]
fn cards_are_found() {
    check(&[
        ("4111111111111111", "<card>"),
        ("pay 4111 1111 1111 1111 now", "pay <card> now"),
        ("4111-1111-1111-1111", "<card>"),
        ("378282246310005", "<card>"),
        ("3782 822463 10005", "<card>"),
        ("30569309025904", "<card>"),
        ("6011111111111117", "<card>"),
        ("3530111333300000", "<card>"),
        ("2223003122003222", "<card>"),
        ("4222222222222", "<card>"),
        ("6304000000000000", "<card>"),
        ("4111%201111%201111%201111", "<card>"),
        ("４１１１１１１１１１１１１１１１", "<card>"),
        ("4111\u{200b}111111111111", "<card>"),
        ("٤١١١١١١١١١١١١١١١", "<card>"),
        ("NDExMTExMTExMTExMTExMQ==", "<card>"),
        ("Visa4111111111111111", "Visa<card>"),
        ("{\"n\":4111111111111111}", "{\"n\":<card>}"),
        ("card 100000000008", "card <card>"),
    ]);
}

#[test]
fn numbers_that_are_no_cards_stay() {
    untouched(&[
        "4111111111111112",
        "order 1723107283246",
        "1699999999995",
        "62f911abc9c2ffe07c19a9a75e8096134697f5eb",
        "41111111-1111-4111-8111-111111111111",
        "44444444-4444-4444-4444-444444444448",
        "a4111111111111111f",
        "0000000000000000",
        "ORD-9373488187",
        "INV/2024/23365",
        "2026-02-10T10:59:00Z",
        "41111111111111111111111111111111",
        "29135.20",
    ]);
}

#[test]
fn provider_secrets_are_found() {
    let run = |n: usize| {
        "aB3dE5gH7jK9mN1pQ2rS4tU6vW8xY0zA"
            .chars()
            .cycle()
            .take(n)
            .collect::<String>()
    };
    let hex = |n: usize| {
        "0a1b2c3d4e5f6789"
            .chars()
            .cycle()
            .take(n)
            .collect::<String>()
    };
    let base32 = |n: usize| {
        "ABCDEFGH2345IJKL67MNOPQRSTUVWXYZ"
            .chars()
            .cycle()
            .take(n)
            .collect::<String>()
    };
    let secrets = [
        format!("AKIA{}", base32(16)),
        format!("ghp_{}", run(36)),
        format!("github_pat_{}", run(60)),
        format!("glpat-{}", run(20)),
        format!("xoxb-123456789012-123456789012-{}", run(24)),
        format!("sk_live_{}", run(24)),
        format!("rk_live_{}", run(24)),
        format!("AIza{}", run(35)),
        format!("sk-proj-{}", run(48)),
        format!("sk-ant-api03-{}", run(95)),
        format!("npm_{}", run(36)),
        format!("pypi-AgEIcHlwaS5vcmc{}", run(60)),
        format!("SG.{}.{}", run(22), run(43)),
        format!("SK{}", hex(32)),
        format!("hvs.{}", run(30)),
        format!("hf_{}", run(34)),
        format!("dop_v1_{}", hex(64)),
        format!("SU{}", base32(56)),
        format!("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.{}", run(43)),
        format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----",
            run(64)
        ),
        format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{}", run(64)),
    ];
    for secret in &secrets {
        let out = redactor().text(&format!("use {secret} here"));
        assert!(
            out.text.starts_with("use [secret:k1:"),
            "{secret}: {}",
            out.text
        );
        assert!(!out.text.contains(secret.get(12..).unwrap()), "{secret}");
    }
}

#[test]
fn a_checksum_finds_a_token_inside_a_word_and_clears_none_by_its_form() {
    let random = "aB3dE5gH7jK9mN1pQ2rS4tU6vW8xY0";
    for prefix in ["ghp_", "ghs_", "npm_"] {
        let right = format!("{prefix}{random}3LmEn5");
        let wrong = format!("{prefix}{random}3LmEnA");
        let glued = redactor().text(&format!("id7{right}")).text;
        assert!(glued.starts_with("id7[secret:k1:"), "{glued}");
        for token in [right, wrong] {
            let apart = redactor().text(&token).text;
            assert!(apart.starts_with("[secret:k1:"), "{apart}");
        }
    }
}

#[test]
fn secrets_are_found_by_what_stands_before_them() {
    check(&[
        (
            "postgres://app:hunter2@db.internal/x",
            "postgres://<secret>/x",
        ),
        (
            "amqp://app:hunter2@localhost/x",
            "amqp://<secret>@localhost/x",
        ),
        (
            "Authorization: Bearer abcdef0123456789",
            "Authorization: Bearer <secret>",
        ),
        ("password=Tr0ub4dor&3x", "password=<secret>"),
        (
            "password: hunter2, user: bob",
            "password: <secret>, user: bob",
        ),
        (
            "{\"api_key\": \"zK8vQ2mN4p\"}",
            "{\"api_key\": \"<secret>\"}",
        ),
        (
            "{\\\"client_secret\\\": \\\"zK8vQ2mN4p\\\"}",
            "{\\\"client_secret\\\": \\\"<secret>\\\"}",
        ),
        (
            "DB_PASSWORD=s3cr3t!x; HOST=db",
            "DB_PASSWORD=<secret>; HOST=db",
        ),
        ("my password is hunter2x", "my password is <secret>"),
        (
            "curl -u admin:hunter22 https://example.com",
            "curl -u <secret> https://example.com",
        ),
        ("password=\"two words 1\"", "password=\"<secret>\""),
    ]);
}

#[test]
fn talk_about_secrets_stays() {
    untouched(&[
        "password: ${DB_PASSWORD}",
        "password=<your-password>",
        "password: ********",
        "the token: expired",
        "max_tokens: 4096",
        "password_changed_at: 2026-02-25T10:32:00Z",
        "secret_name=billing-db",
        "api_key = os.environ[\"KEY\"]",
        "monkey=banana99",
        "Bearer authentication is required",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "/var/lib/countersign/archive/v1/date=2026-11-22/hour=10",
    ]);
}

#[test]
fn other_personal_numbers_are_found() {
    check(&[
        ("IBAN DE89 3704 0044 0532 0130 00", "IBAN <iban>"),
        ("gb82west12345698765432", "<iban>"),
        ("219-09-9999 on file", "<ssn> on file"),
        ("ssn 219099999", "ssn <ssn>"),
        ("from 192.168.17.4:8080", "from <ip>:8080"),
        ("2001:db8::8a2e:370:7334", "<ip>"),
        ("+44 20 7946 0958", "<phone>"),
        ("call (415) 555-2671 today", "call <phone> today"),
        ("tel: 06938 493739", "tel: <phone>"),
    ]);
}

#[test]
fn numbers_of_other_kinds_stay() {
    untouched(&[
        "DE89370400440532013001",
        "000-12-3456",
        "version 1.2.3.4",
        "1.14.84",
        "10:32:00",
        "2026-02-25 10:32",
        "std::net::Ipv4Addr",
        "300.1.2.3",
        "17231072832",
        "seq 100200300",
    ]);
}

#[test]
fn equal_values_agree_and_other_types_do_not() {
    let redactor = redactor();
    let one = redactor.text("Bob@Example.com").text;
    assert_eq!(one, redactor.text("bob@example.com").text);
    assert_eq!(one, redactor.text("bob%40example.com").text);
    assert_eq!(one, redactor.mark("email", " BOB@example.com "));
    assert_eq!(
        redactor.text("4111 1111 1111 1111").text,
        redactor.text("4111-1111-1111-1111").text
    );
    assert_ne!(redactor.mark("email", "x"), redactor.mark("name", "x"));
    let other = crate::redact::Redactor::new(FingerprintKey::new("k1", [8; 32]).unwrap());
    assert_ne!(one, other.text("bob@example.com").text);
}

#[test]
fn classed_fields_are_replaced_whatever_they_hold() {
    let classes = classes(&[
        ("/customer/name", "personal:person"),
        ("/pin", "secret"),
        ("/rows/*/tag", "personal:tag"),
        ("/open", "public"),
        ("/blob", "secret"),
    ]);
    let input = json!({
        "customer": {"name": "Ann", "tier": "gold"},
        "pin": 1234,
        "rows": [{"tag": true}, {"tag": null}, {"note": "ok"}],
        "open": "bob@example.com",
        "blob": {"deep": ["x", 1]},
    });
    let out = redactor().value(&input, &classes);
    let shaped: Value = serde_json::from_str(&shape(&out.value.to_string())).unwrap();
    assert_eq!(
        shaped,
        json!({
            "customer": {"name": "<person>", "tier": "gold"},
            "pin": "<secret>",
            "rows": [{"tag": "<tag>"}, {"tag": "<tag>"}, {"note": "ok"}],
            "open": "<email>",
            "blob": "<secret>",
        })
    );
    let found: Vec<_> = out
        .findings
        .redactions()
        .into_iter()
        .map(|finding| (finding.kind, finding.path, finding.count))
        .collect();
    let expected = [
        ("email", "/open", 1),
        ("person", "/customer/name", 1),
        ("secret", "/blob", 1),
        ("secret", "/pin", 1),
        ("tag", "/rows/*/tag", 2),
    ];
    assert_eq!(
        found,
        expected.map(|(kind, path, count)| (kind.to_owned(), path.to_owned(), count))
    );
    assert_eq!(out.findings.fingerprints().len(), 6);
}

#[test]
fn everything_is_replaced_when_no_catalog_is_known() {
    let input = JsonObject::from_value(json!({"a": 1, "b": {"c": "x"}, "d": [null]})).unwrap();
    let out = redactor().json(&input, &FieldClasses::everything());
    assert_eq!(
        shape(&out.value.to_value().to_string()),
        r#"{"a":"<secret>","b":"<secret>","d":"<secret>"}"#
    );
}

#[test]
fn keys_and_numbers_are_read_too() {
    let input = json!({
        "bob@example.com": "x",
        "BOB@example.com": "y",
        "n": 4_111_111_111_111_111_u64,
        "f": 4.111_111_111_111_111e15,
        "ms": 1_723_107_283_246_u64,
        "password": "hunter2",
        "mobile": 4_155_552_671_u64,
        "headers": [{"name": "X-Api-Key", "value": "zK8vQ2mN4p"}],
    });
    let out = redactor().value(&input, &FieldClasses::none());
    let text = shape(&out.value.to_string());
    for expected in [
        r#""<email>":"#,
        r#""<email>~2":"#,
        r#""n":"<card>""#,
        r#""f":"<card>""#,
        r#""ms":1723107283246"#,
        r#""password":"<secret>""#,
        r#""mobile":"<phone>""#,
        r#""value":"<secret>""#,
    ] {
        assert!(text.contains(expected), "{expected} in {text}");
    }
    assert!(!redactor().rescan(&out.value));
    assert!(redactor().rescan(&input));
    let paths: Vec<_> = out
        .findings
        .redactions()
        .into_iter()
        .map(|f| f.path)
        .collect();
    assert!(paths.iter().all(|path| !path.contains('@')), "{paths:?}");
}

#[test]
fn marks_and_surrogates_pass_and_are_reported() {
    let surrogate = "tok_email_abcdefghijklmnopqrstuvwxyz";
    let mark = redactor().mark("email", "bob@example.com");
    let text = format!("{surrogate} and {mark}");
    let out = redactor().text(&text);
    assert_eq!(out.text, text);
    assert_eq!(out.findings.surrogates(), [surrogate]);
    assert_eq!(out.findings.fingerprints(), [mark.trim_matches(['[', ']'])]);
    let classed = classes(&[("/a", "personal:email")]);
    let out = redactor().value(&json!({"a": surrogate}), &classed);
    assert_eq!(out.value, json!({"a": surrogate}));
    // What only resembles one is no way past the detectors.
    check(&[
        (
            "[card:k4111111111111111:000000000000]",
            "[card:k<card>:000000000000]",
        ),
        ("tok_4111111111111111", "tok_<card>"),
    ]);
}

#[test]
fn too_long_and_too_deep_fail_closed() {
    let long = "x".repeat(countersign_schemas::limits::STORED_BYTES_MAX + 1);
    assert_eq!(redactor().text(&long).text, REDACTION_FAILED);
    let deep = (0..70).fold(json!("bob@example.com"), |value, _| json!([value]));
    let out = redactor().value(&deep, &FieldClasses::none());
    assert!(out.value.to_string().contains(REDACTION_FAILED));
    assert!(!out.value.to_string().contains("bob"));
    assert!(out.findings.has("redaction_failed"));
    assert!(redactor().rescan(&deep));
}

#[test]
fn keys_are_read_from_a_line_and_never_shown() {
    let line = format!("k2:{}", "A".repeat(43));
    let key = FingerprintKey::parse(&line).unwrap();
    assert_eq!(key.id(), "k2");
    assert!(!format!("{key:?}").contains('0'));
    for (line, expected) in [
        ("k1", KeyError::Form),
        ("k1:AAAA", KeyError::Form),
        ("K 1:AAAA", KeyError::Form),
    ] {
        assert_eq!(FingerprintKey::parse(line).unwrap_err(), expected, "{line}");
    }
    for id in ["", "K1", "1k", "k4111111111111111", "a-b"] {
        assert_eq!(
            FingerprintKey::new(id, [0; 32]).unwrap_err(),
            KeyError::Id,
            "{id}"
        );
    }
}

#[test]
fn classes_are_read_and_the_most_sensitive_counts() {
    let classes = classes(&[
        ("/a/*", "internal"),
        ("/a/b", "secret"),
        ("/c~1d", "personal:x"),
    ]);
    for (steps, expected) in [
        (vec!["a", "b"], Some(FieldClass::Secret)),
        (vec!["a", "z"], Some(FieldClass::Internal)),
        (vec!["a"], None),
        (vec!["a", "b", "deeper"], Some(FieldClass::Secret)),
        (vec!["c/d"], Some(FieldClass::Personal("x".to_owned()))),
        (vec!["other"], None),
    ] {
        assert_eq!(
            classes.class_at(steps.iter().copied()).cloned(),
            expected,
            "{steps:?}"
        );
    }
    for word in [
        "",
        "Secret",
        "personal",
        "personal:",
        "personal:A1",
        "pii:x",
    ] {
        assert!(
            matches!(FieldClass::parse(word), Err(ClassError::Class(_))),
            "{word}"
        );
    }
    for pattern in ["", "a", "*"] {
        let read = FieldClasses::parse([(pattern, "secret")]);
        assert!(matches!(read, Err(ClassError::Pointer(_))), "{pattern}");
    }
}
