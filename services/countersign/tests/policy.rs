//! `policy check` judges by a bundle alone: no server, no keys, nothing sent.

#[cfg(test)]
mod checks {
    use std::path::{Path, PathBuf};
    use std::process::Command;

    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use countersign_domain::keys::{KeySet, SigningKey};
    use countersign_runtime::clock::{Clock as _, SystemClock};
    use serde_json::{Value, json};

    fn bundle() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/harness/bundle")
    }

    fn check(dir: &Path, call: [&str; 3], more: &[&str]) -> (i32, Value, String) {
        let [agent, tool, input] = call;
        let ended = Command::new(env!("CARGO_BIN_EXE_countersign"))
            .args(["policy", "check", "--agent", agent, "--tool", tool])
            .args(["--input", input])
            .arg("--dir")
            .arg(dir)
            .args(more)
            .output()
            .unwrap();
        let json = serde_json::from_slice(&ended.stdout).unwrap_or_default();
        let told = [ended.stdout, ended.stderr].concat();
        (
            ended.status.code().unwrap(),
            json,
            String::from_utf8(told).unwrap(),
        )
    }

    fn copy(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let target = to.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                copy(&entry.path(), &target);
            } else {
                std::fs::copy(entry.path(), target).unwrap();
            }
        }
    }

    const READ: [&str; 3] = ["billing", "crm.read_contact", r#"{"contact_id":"C-1"}"#];
    const EDIT: [&str; 3] = [
        "billing",
        "crm.update_contact",
        r#"{"id":"C-1","email":"jo@secret.example"}"#,
    ];
    const BOOK: [&str; 3] = [
        "billing",
        "ledger.book",
        r#"{"account":"A-1","amount":150000}"#,
    ];

    #[test]
    fn each_verdict_has_its_exit() {
        for (call, code, verdict) in [(READ, 0, "allow"), (EDIT, 20, "deny"), (BOOK, 21, "ask")] {
            let (exit, json, told) = check(&bundle(), call, &["--json"]);
            assert_eq!(exit, code, "{told}");
            assert_eq!(json["verdict"], verdict);
            let digest = json["policy_digest"].as_str().unwrap();
            assert!(digest.starts_with("sha256:"), "{digest}");
            assert_eq!(json["ask"].is_null(), verdict != "ask", "{json}");
        }
    }

    #[test]
    fn a_deny_says_which_rule_and_what_is_needed_but_no_value() {
        let (_, json, _) = check(&bundle(), EDIT, &["--json"]);
        let rules: Vec<_> = json["reasons"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|reason| reason["policy_id"].as_str())
            .collect();
        assert!(rules.contains(&"phone-only"), "{json}");
        assert!(
            json["needs"].to_string().contains("a role that may change"),
            "{json}"
        );
        let (_, _, text) = check(&bundle(), EDIT, &[]);
        assert!(text.starts_with("verdict: deny"), "{text}");
        assert!(!text.contains("secret.example"), "{text}");
    }

    #[test]
    fn an_ask_names_the_people() {
        let (_, json, _) = check(&bundle(), BOOK, &["--json", "--requester", "ana"]);
        assert_eq!(json["ask"]["approvers"][0]["team"], "finance");
        assert_eq!(json["ask"]["expires_in_s"], 300);
        let (_, _, text) = check(&bundle(), BOOK, &[]);
        assert!(text.contains("of finance within 300 s"), "{text}");
    }

    #[test]
    fn the_bundle_may_stand_in_a_deployment() {
        let dir = tempfile::tempdir().unwrap();
        copy(&bundle(), &dir.path().join("policy"));
        assert_eq!(check(dir.path(), READ, &[]).0, 0);
        std::fs::rename(dir.path().join("policy"), dir.path().join("rules")).unwrap();
        std::fs::write(
            dir.path().join("countersign.toml"),
            "[policy]\ndir = \"rules\"\n",
        )
        .unwrap();
        assert_eq!(check(dir.path(), READ, &[]).0, 0);
    }

    /// A mandate of kim for `agent`, which ends `seconds` from now.
    fn mandate(agent: &str, seconds: i64) -> String {
        let key = SigningKey::from_seed(&[1; 32]);
        let now = SystemClock.now().seconds();
        let header = json!({"alg": "EdDSA", "typ": "mandate+jwt", "kid": key.id()});
        let claims = json!({
            "iss": "https://id.example", "aud": "cs", "sub": "kim", "act": {"sub": agent},
            "jti": "m-1", "iat": now - 60, "exp": now + seconds, "scope": "operation:read"
        });
        let encode = |part: Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let signed = format!("{}.{}", encode(header), encode(claims));
        let signature = URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    #[test]
    fn a_mandate_is_judged_with_the_issuers_of_the_deployment() {
        let dir = tempfile::tempdir().unwrap();
        copy(&bundle(), &dir.path().join("policy"));
        let keys = KeySet::new([SigningKey::from_seed(&[1; 32]).public()]);
        std::fs::write(dir.path().join("company.jwks"), keys.to_jwks()).unwrap();
        let settings = "[mandates.issuers.company]\nissuer = \"https://id.example\"\n\
            audience = \"cs\"\njwks_file = \"company.jwks\"\n";
        std::fs::write(dir.path().join("countersign.toml"), settings).unwrap();
        let judged = |dir: &Path, token: &str, call| {
            let more = ["--json", "--requester", "kim", "--mandate", token];
            check(dir, call, &more)
        };
        let good = mandate("billing", 600);
        assert_eq!(judged(dir.path(), &good, READ).0, 0);
        let file = dir.path().join("kim.jwt");
        std::fs::write(&file, format!("{good}\n")).unwrap();
        assert_eq!(
            judged(dir.path(), &format!("@{}", file.display()), READ).0,
            0
        );
        // Out of scope, out of time, for another agent, and where nobody is trusted.
        let table = [
            (dir.path().to_owned(), good.clone(), BOOK),
            (dir.path().to_owned(), mandate("billing", -6), READ),
            (dir.path().to_owned(), mandate("crm", 600), READ),
            (bundle(), good, READ),
        ];
        for (dir, token, call) in table {
            let (exit, json, told) = judged(&dir, &token, call);
            assert_eq!(exit, 20, "{told}");
            assert_eq!(json["reasons"][0]["code"], "mandate_invalid");
            assert!(!told.contains(&token));
        }
        assert_eq!(judged(dir.path(), "@nowhere", READ).0, 2);
    }

    const GUARDED: &str = r#"
[[tools."ledger.book".guardrails]]
kind = "match_fact"
field = "/account"
key = "agents.{agent}.account"

[[tools."ledger.book".guardrails]]
kind = "budget"
name = "bookings"
window = "1d"
amount = "/amount"
max = "1000.00"
"#;
    const SEEN: &str = r#"
@id("after-reading")
@ask("finance:2")
@because("The agent has read customer data.")
forbid (principal, action == Action::"crm.read_contact", resource)
when { context.labels.contains("customer_pii") };
"#;

    #[test]
    fn what_a_server_would_tell_can_be_said() {
        let dir = tempfile::tempdir().unwrap();
        copy(&bundle(), dir.path());
        let append = |file: &str, more: &str| {
            let path = dir.path().join(file);
            let text = std::fs::read_to_string(&path).unwrap();
            std::fs::write(path, text + more).unwrap();
        };
        let labels = "[tools.\"crm.read_contact\"]\n";
        let catalog = dir.path().join("catalog/company.toml");
        let text = std::fs::read_to_string(&catalog).unwrap();
        let marked = text.replacen(labels, &format!("{labels}labels = [\"customer_pii\"]\n"), 1);
        assert_ne!(text, marked);
        std::fs::write(&catalog, marked).unwrap();
        append("catalog/company.toml", GUARDED);
        append("policies/company.cedar", SEEN);
        let book = ["billing", "ledger.book", r#"{"account":"A-1","amount":10}"#];
        let own = r#"agents.billing.account="A-1""#;
        for (call, more, exit) in [
            (READ, &[][..], 0),
            (READ, &["--seen", "customer_pii"], 21),
            (READ, &["--label", "customer_pii"], 21),
            (READ, &["--label", "other"], 0),
            (book, &[], 20),
            (book, &["--fact", own], 0),
            (book, &["--fact", r#"agents.billing.account="A-2""#], 20),
            (book, &["--fact", r#"agents.crm.account="A-1""#], 20),
            (book, &["--fact", own, "--used", "bookings=990"], 0),
            (book, &["--fact", own, "--used", "bookings=990.01"], 20),
            (book, &["--fact", "no-value"], 2),
            (book, &["--fact", "a={"], 2),
            (book, &["--used", "bookings=many"], 2),
        ] {
            let (ended, _, told) = check(dir.path(), call, more);
            assert_eq!(ended, exit, "{more:?}: {told}");
        }
        let over = ["--json", "--fact", own, "--used", "bookings=990.01"];
        let (_, json, told) = check(dir.path(), book, &over);
        assert_eq!(json["reasons"][0]["code"], "budget_exceeded", "{told}");
    }

    #[test]
    fn what_cannot_be_judged_is_told_apart() {
        let not_an_object = ["billing", "crm.read_contact", "[]"];
        assert_eq!(check(&bundle(), not_an_object, &[]).0, 2);
        let dir = tempfile::tempdir().unwrap();
        copy(&bundle(), dir.path());
        let cedar = dir.path().join("policies/company.cedar");
        std::fs::write(cedar, "permit (principal,").unwrap();
        let (exit, _, told) = check(dir.path(), READ, &["--json"]);
        assert_eq!(exit, 64, "{told}");
        assert!(told.contains("company.cedar"), "{told}");
        assert_eq!(check(&dir.path().join("none"), READ, &[]).0, 64);
    }

    fn lint(dir: &Path) -> (i32, Value, String) {
        let run = |more: &[&str]| {
            Command::new(env!("CARGO_BIN_EXE_countersign"))
                .args(["policy", "lint", "--dir"])
                .arg(dir)
                .args(more)
                .output()
                .unwrap()
        };
        let (json, text) = (run(&["--json"]), run(&[]));
        assert_eq!(json.status.code(), text.status.code());
        (
            json.status.code().unwrap(),
            serde_json::from_slice(&json.stdout).unwrap_or_default(),
            String::from_utf8(text.stdout).unwrap(),
        )
    }

    #[test]
    fn lint_refuses_an_admin_permit_with_its_line_and_how_to_mend_it() {
        let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("policy");
        let (code, json, told) = lint(&sample);
        assert_eq!((code, &json["refused"]), (0, &Value::from(0)), "{told}");
        let dir = tempfile::tempdir().unwrap();
        copy(&sample, dir.path());
        let admin = "\n@id(\"admin\")\npermit (principal, action, resource);\n";
        std::fs::write(dir.path().join("policies/admin.cedar"), admin).unwrap();
        let (code, json, told) = lint(dir.path());
        assert_eq!(code, 20, "{told}");
        let one = &json["findings"][0];
        assert_eq!(
            (&one["file"], &one["line"]),
            (&"policies/admin.cedar".into(), &2.into())
        );
        assert_eq!(
            (&one["level"], &one["check"]),
            (&"refused".into(), &"unbounded".into())
        );
        assert!(told.contains("policies/admin.cedar:2: refused:"), "{told}");
        assert!(told.contains("@reviewed("), "{told}");
    }

    #[test]
    fn lint_measures_times_against_the_deployments_retention() {
        let dir = tempfile::tempdir().unwrap();
        copy(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join("policy"),
            &dir.path().join("policy"),
        );
        let settings = |seconds: u32| {
            let text = format!("[deployment]\nraw_retention_s = {seconds}\n");
            std::fs::write(dir.path().join("countersign.toml"), text).unwrap();
        };
        settings(86_400);
        assert_eq!(lint(dir.path()).0, 0);
        settings(3_600);
        let (code, json, told) = lint(dir.path());
        assert_eq!(
            (code, &json["findings"][0]["check"]),
            (20, &"retention".into()),
            "{told}"
        );
    }
}
