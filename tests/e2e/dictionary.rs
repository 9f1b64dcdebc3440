//! Whoever reads the archive, and every event that people and agents are told, and knows how
//! each digest and fingerprint is made, cannot find a value by trying a dictionary.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_domain::approvals::ApprovalView;
use countersign_domain::archive::ManifestKey;
use countersign_domain::input::input_digest;
use countersign_domain::keys::HmacKey;
use countersign_domain::redact::{FingerprintKey, prints};
use countersign_schemas::{Digest, JsonObject};
use countersign_tests::{Deployment, Event};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

const EMAIL: &str = "wilma.petersen@private.example";
const PHONE: &str = "+49 30 9018 2077";

/// All e-mail addresses and phone numbers that the attacker tries, the right ones among them.
fn dictionary() -> Vec<String> {
    let names = ["anna", "bert", "carl", "wilma"];
    let families = ["jansen", "petersen", "winter"];
    let emails = names.iter().flat_map(|name| {
        families
            .iter()
            .map(move |family| format!("{name}.{family}@private.example"))
    });
    let phones = (2_070..2_082).map(|line| format!("+49 30 9018 {line}"));
    emails.chain(phones).collect()
}

/// What an attacker has read.
#[derive(Default)]
struct Read {
    /// Every word: each may be a digest, a salt or a key.
    words: BTreeSet<String>,
    /// Everything in one piece.
    all: String,
}

impl Read {
    fn value(&mut self, value: &Value) {
        match value {
            Value::String(text) => {
                // Cells and bodies hold JSON as text.
                if let Ok(inner @ (Value::Object(_) | Value::Array(_))) = serde_json::from_str(text)
                {
                    self.value(&inner);
                }
                self.text(text);
            }
            Value::Array(items) => items.iter().for_each(|item| self.value(item)),
            Value::Object(members) => members.iter().for_each(|(key, value)| {
                self.text(key);
                self.value(value);
            }),
            Value::Number(number) => self.text(&number.to_string()),
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn text(&mut self, text: &str) {
        self.all.push_str(text);
        self.all.push('\n');
        for word in text.split(|c: char| !(c.is_ascii_alphanumeric() || "_-".contains(c))) {
            self.words.insert(word.to_owned());
        }
    }

    fn holds(&self, digest: &str) -> bool {
        self.words.contains(digest.trim_start_matches("sha256:"))
    }
}

/// What the attacker knows of one intent: all of it but one value.
struct Known {
    /// The request as the agent sent it.
    request: Value,
    /// Where and when it was stored.
    head: String,
    /// What approvers are shown, where people were asked; its salt does not count.
    view: Option<Value>,
    /// The value.
    value: &'static str,
}

impl Known {
    /// The same with another value in its place.
    fn with(&self, of: &Value, guess: &str) -> Value {
        let domain = |value: &str| value.split('@').next_back().map(str::to_owned);
        let text = of.to_string().replace(self.value, guess);
        let (Some(ours), Some(theirs)) = (domain(self.value), domain(guess)) else {
            return of.clone();
        };
        serde_json::from_str(&text.replace(&ours, &theirs)).unwrap()
    }
}

/// What the attacker has besides.
struct Means<'a> {
    salts: Vec<&'a str>,
    keys: Vec<[u8; 32]>,
}

impl<'a> Means<'a> {
    /// Everything that was read, and what it might be made into.
    fn of(read: &'a Read) -> Self {
        let words = read.words.iter().map(String::as_str);
        let words = words.filter(|word| (8..=64).contains(&word.len()));
        let salts: Vec<&str> = std::iter::once("").chain(words).collect();
        let decoded = salts.iter().filter_map(|text| {
            let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
            <[u8; 32]>::try_from(bytes.as_slice()).ok()
        });
        let hashed = salts.iter().map(|text| Sha256::digest(text).into());
        let keys = decoded.chain(hashed).collect();
        Self { salts, keys }
    }

    /// The guesses that something in `read` confirms.
    fn confirmed(&self, read: &Read, known: &[Known]) -> BTreeSet<String> {
        let guesses = dictionary();
        let right = |guess: &&String| {
            self.by_mark(read, guess) || known.iter().any(|one| self.by_digest(read, one, guess))
        };
        guesses.iter().filter(right).cloned().collect()
    }

    /// Whether a fingerprint is that of the guess.
    fn by_mark(&self, read: &Read, guess: &str) -> bool {
        let plain = |text: &str| {
            let sum = data_hex(&Sha256::digest(text));
            read.holds(&sum[..12])
        };
        let bare: String = guess.chars().filter(char::is_ascii_digit).collect();
        let forms = [guess, &guess.to_lowercase(), bare.as_str()];
        let kinds = ["email", "phone", "secret", "person"];
        let hashed = forms.iter().any(|form| {
            let spelled = kinds.iter().map(|kind| format!("{kind}\0{form}"));
            plain(form) || spelled.into_iter().any(|text| plain(&text))
        });
        hashed
            || self.keys.iter().any(|key| {
                let key = FingerprintKey::new("k1", *key).unwrap();
                let made = prints(&[key], guess, None).unwrap();
                made.iter().any(|print| {
                    let sum = print.fingerprint.rsplit(':').next().unwrap();
                    read.holds(sum)
                })
            })
    }

    /// Whether a digest is that of the intent with the guess in it.
    fn by_digest(&self, read: &Read, known: &Known, guess: &str) -> bool {
        let request = known.with(&known.request, guess);
        let input = JsonObject::from_value(request["input"].clone()).unwrap();
        let id = request["intent_id"].as_str().unwrap().parse().unwrap();
        let tool = request["tool"].as_str().unwrap().parse().unwrap();
        let body = [known.head.as_bytes(), request.to_string().as_bytes()].concat();
        let unsalted = [
            Digest::of_json(&request).unwrap(),
            Digest::of_json(&request["input"]).unwrap(),
            Digest::of_bytes(guess.as_bytes()),
            Digest::of_bytes(request.to_string().as_bytes()),
            Digest::of_bytes(&body),
        ];
        let view = known.view.as_ref().map(|view| known.with(view, guess));
        let mut view: Option<ApprovalView> = view.map(|v| serde_json::from_value(v).unwrap());
        unsalted
            .iter()
            .any(|digest| read.holds(&digest.to_string()))
            || self.salts.iter().any(|salt| {
                let digest = input_digest(id, &tool, &input, salt).unwrap();
                read.holds(&digest.to_string())
                    || view.as_mut().is_some_and(|view| {
                        (*salt).clone_into(&mut view.salt);
                        read.holds(&view.digest().unwrap().to_string())
                    })
            })
            || self.keys.iter().any(|key| {
                let key = HmacKey::new("any", *key).unwrap();
                let digest = Digest::of_bytes(&key.mac(&body));
                read.holds(&digest.to_string())
            })
    }
}

fn data_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads what the attacker may read.
async fn read(deployment: &Deployment, told: &[Event]) -> Read {
    let mut read = Read::default();
    for table in ["events", "actions", "approvals"] {
        for row in deployment.rows(&format!("SELECT * FROM {table}")).await {
            read.value(&row);
        }
    }
    let manifest = deployment.archive().join("manifest");
    for entry in std::fs::read_dir(manifest).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        read.value(&Value::String(text));
    }
    let outside = [
        "approval.",
        "handoff.",
        "tool.blocked.",
        "tool.refused.",
        "control.",
    ];
    let seen = told.iter().filter(|event| {
        let subject = event.subject.as_str();
        outside.iter().any(|start| subject.starts_with(start))
    });
    for event in seen {
        read.text(&event.subject);
        read.value(&event.body);
    }
    read
}

/// One intent that runs, one that people decide and one that is blocked, each the last message
/// of its stream when a commit names it.
async fn intents(deployment: &Deployment) -> Vec<Known> {
    let agent = deployment.agent("billing").await;
    let mail = json!({"to": EMAIL, "subject": "news", "body": "hello"});
    let mut all = Vec::new();
    for (tool, input, value) in [
        (
            "crm.update_contact",
            json!({"id": "C-1", "phone": PHONE}),
            PHONE,
        ),
        ("mail.send", mail, EMAIL),
        (
            "crm.update_contact",
            json!({"id": "C-1", "email": EMAIL}),
            EMAIL,
        ),
    ] {
        let request = agent.intent(tool, input);
        let id = agent.publish(&request).await;
        let view = match tool {
            "mail.send" => {
                let dora = deployment.approver("dora").await;
                let asked = dora.asked(&id).await;
                let show = json!({"op": "show", "approval_id": asked.text("/approval_id")});
                let shown = dora.view(&show).await;
                let view = shown.pointer("/approval/view").cloned().unwrap_or_default();
                assert!(view["salt"].is_string(), "{shown}");
                Some(view)
            }
            _ => {
                agent.end(&id).await;
                None
            }
        };
        let sql = format!(
            "SELECT CAST(time AS BIGINT) AS t FROM events \
             WHERE event = 'tool.requested' AND intent_id = '{id}'"
        );
        let rows = deployment.rows_once_there(&sql, 1).await;
        let head = format!("tool.requested.billing\0{}\0", rows[0]["t"]);
        all.push(Known {
            request,
            head,
            view,
            value,
        });
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn no_dictionary_finds_a_value_in_what_can_be_read() {
    let deployment = Deployment::start().await;
    let mut known = intents(&deployment).await;
    let events = deployment.observer().await.events().await;
    // Only approvers are shown the salt of a view.
    let mut salts = Vec::new();
    for view in known.iter_mut().filter_map(|one| one.view.as_mut()) {
        salts.push(view["salt"].as_str().unwrap().to_owned());
        view["salt"] = json!("");
    }
    let read = read(&deployment, &events).await;
    for digest in [
        "input_digest",
        "[email:k1:",
        "[phone:k1:",
        "last_message_hmac",
    ] {
        assert!(read.all.contains(digest), "{digest} was read");
    }
    let means = Means::of(&read);
    assert!(means.salts.len() > 50, "{}", means.salts.len());
    assert_eq!(means.confirmed(&read, &known), BTreeSet::new());

    // Each of the attacks works with what is kept from the attacker.
    let with = |salts: &[String], keys: Vec<[u8; 32]>| {
        let salts = salts.iter().map(String::as_str).collect();
        Means { salts, keys }.confirmed(&read, &known)
    };
    let both: BTreeSet<String> = [EMAIL.to_owned(), PHONE.to_owned()].into();
    let of_inputs: Vec<String> = events
        .iter()
        .filter(|event| event.is("policy.checked"))
        .map(|event| event.text("/salt").to_owned())
        .collect();
    assert_eq!(with(&of_inputs, Vec::new()), both, "by input digests");
    assert!(!with(&salts, Vec::new()).is_empty(), "by approval digests");
    let keys = deployment.files().dir().join("keys");
    let line = std::fs::read_to_string(keys.join("fingerprint.key")).unwrap();
    let secret = line.trim().split(':').next_back().unwrap();
    let secret = URL_SAFE_NO_PAD.decode(secret).unwrap();
    let secret = <[u8; 32]>::try_from(secret.as_slice()).unwrap();
    assert_eq!(with(&[], vec![secret]), both, "by fingerprints");
    let pem = std::fs::read_to_string(keys.join("manifest.pem")).unwrap();
    let positions = ManifestKey::from_pem(&pem).unwrap().positions().unwrap();
    assert_eq!(with(&[], vec![*positions.secret()]), both, "by positions");
}
