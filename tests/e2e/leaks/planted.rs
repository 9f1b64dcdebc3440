//! Values of every type that the engine knows, as they come and in disguise.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::forms::percent;

/// A value in a text.
#[derive(Debug, Clone)]
pub(crate) struct Planted {
    /// What it is.
    pub(crate) name: String,
    /// As it stands in a text, with what tells a reader what it is.
    pub(crate) text: String,
    /// What must be nowhere.
    pub(crate) value: String,
    /// Whether not even approvers may see it.
    pub(crate) secret: bool,
}

/// What secrets look like: `9` becomes a digit, `x` a letter or digit, `h` a hex digit, `B`
/// one of base32; a number in braces before it repeats it. Filled in here, so that no scanner
/// finds a secret in this file.
const SECRETS: &[(&str, &[&str], &str)] = &[
    ("AWS", &["AK", "IA"], "{16B}"),
    ("AWS, temporary", &["AS", "IA"], "{16B}"),
    ("GitHub", &["gh", "p_"], "{36x}"),
    ("GitHub, fine-grained", &["github", "_pat_"], "{22x}_{59x}"),
    ("GitLab", &["gl", "pat-"], "{20x}"),
    ("Slack", &["xo", "xb-"], "{12!}-{12!}-{24x}"),
    ("Stripe", &["sk_", "live_"], "{24x}"),
    ("Google", &["AI", "za"], "{35x}"),
    ("OpenAI", &["sk-", "proj-"], "{48x}"),
    ("Anthropic", &["sk-", "ant-api03-"], "{93x}AA"),
    ("npm", &["np", "m_"], "{36x}"),
    ("PyPI", &["py", "pi-AgEIcHlwaS5vcmc"], "{60x}"),
    ("SendGrid", &["S", "G."], "{22x}.{43x}"),
    ("Twilio", &["S", "K"], "{32h}"),
    ("Vault", &["hv", "s."], "{30x}"),
    ("Hugging Face", &["h", "f_"], "{34x}"),
    ("DigitalOcean", &["dop", "_v1_"], "{64h}"),
    ("Databricks", &["da", "pi"], "{32h}"),
    ("Shopify", &["shp", "at_"], "{32h}"),
    ("Telegram", &[], "{10!}:AA{33x}"),
    ("age", &["AGE-SECRET-", "KEY-1"], "{58B}"),
    ("Grafana", &["gl", "sa_"], "{32x}_{8h}"),
    (
        "a JWT",
        &["ey", "JhbGciOiJIUzI1NiJ9.eyJzdWIi"],
        "{20x}.{43x}",
    ),
];

/// Secrets without a form of their own, by what stands around them.
const NAMED: &[(&str, &str, &str, &str)] = &[
    ("a password", "password=", "{14x}Q7z", ""),
    ("an API key", "api_key: ", "{32x}", ""),
    ("a bearer token", "Authorization: Bearer ", "{40x}", ""),
    ("a basic login", "Authorization: Basic ", "{32x}==", ""),
    (
        "a user of a URL",
        "postgres://app:",
        "{18x}",
        "@db.acme.example/books",
    ),
    (
        "a user of curl",
        "curl -u admin:",
        "{18x}",
        " https://acme.example",
    ),
    ("a connection", "AccountKey=", "{86x}==", ""),
    ("a token in JSON", "{\"access_token\": \"", "{40x}", "\"}"),
];

/// Personal data, with what tells a reader what it is.
const PERSONAL: &[(&str, &str, &str)] = &[
    ("a card", "card ", "4111 1111 1111 1111"),
    ("a card with dashes", "card ", "5500-0055-5555-5559"),
    ("a card without spaces", "pay with ", "378282246310005"),
    ("an IBAN", "to ", "DE89 3704 0044 0532 0130 00"),
    ("an IBAN without spaces", "to ", "GB82WEST12345698765432"),
    (
        "an e-mail address",
        "tell ",
        "wilma.petersen@private.example",
    ),
    (
        "an odd e-mail address",
        "tell ",
        "o'hara+books@mail.private.example",
    ),
    ("a phone number", "phone ", "+49 30 9018 2077"),
    ("an American phone number", "call ", "(312) 555-0187"),
    ("an SSN", "SSN ", "536-22-1145"),
    ("a Brazilian number", "CPF ", "529.982.247-25"),
    ("an Italian number", "codice fiscale ", "RSSMRA85T10A562S"),
    ("a Swedish number", "personnummer ", "811218-9876"),
    ("a Spanish number", "DNI ", "12345678Z"),
    ("an IP address", "from ", "203.0.113.77"),
    ("an IPv6 address", "from ", "2001:db8:85a3::8a2e:370:7334"),
    ("a person by title", "ask Mrs ", "Hedwig Sommerfeld"),
    ("a street", "ships to ", "221 Baker Street"),
];

/// Numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    /// A number below `bound` (SplitMix64).
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % bound as u64).unwrap()
    }

    fn one_of(&mut self, alphabet: &str) -> char {
        let all: Vec<char> = alphabet.chars().collect();
        all[self.below(all.len())]
    }

    fn fill(&mut self, form: &str) -> String {
        let mut out = String::new();
        let mut rest = form;
        while let Some(at) = rest.find('{') {
            let (before, after) = rest.split_at(at);
            let (inner, behind) = after[1..].split_once('}').unwrap();
            let (count, sign) = inner.split_at(inner.len() - 1);
            out.push_str(before);
            for _ in 0..count.parse().unwrap() {
                out.push(match sign {
                    "!" => self.one_of("0123456789"),
                    "h" => self.one_of("0123456789abcdef"),
                    "B" => self.one_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"),
                    _ => self
                        .one_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"),
                });
            }
            rest = behind;
        }
        out + rest
    }
}

/// Every value that is found by its form or by what stands around it.
pub(crate) fn values() -> Vec<Planted> {
    let mut dice = Dice(0x5eed);
    let mut all = Vec::new();
    for (name, prefix, form) in SECRETS {
        let value = prefix.concat() + &dice.fill(form);
        all.push(secret(name, "key ", &value, ""));
    }
    for (name, before, form, behind) in NAMED {
        let value = dice.fill(form);
        all.push(secret(name, before, &value, behind));
    }
    let body: Vec<String> = (0..3).map(|_| dice.fill("{64x}")).collect();
    for label in ["PRIVATE KEY", "OPENSSH PRIVATE KEY"] {
        all.push(secret(
            label,
            &format!("-----BEGIN {label}-----\n"),
            &body.join("\n"),
            &format!("\n-----END {label}-----"),
        ));
    }
    for (name, before, value) in PERSONAL {
        all.push(Planted {
            name: (*name).to_owned(),
            text: format!("{before}{value}"),
            value: (*value).to_owned(),
            secret: false,
        });
    }
    let plain = all.clone();
    for planted in &plain {
        all.extend(disguised(planted));
    }
    all
}

fn secret(name: &str, before: &str, value: &str, behind: &str) -> Planted {
    Planted {
        name: name.to_owned(),
        text: format!("{before}{value}{behind}"),
        value: value.to_owned(),
        secret: true,
    }
}

/// The types that are planted in disguise, too.
const DISGUISED: [&str; 7] = [
    "AWS",
    "GitHub",
    "Stripe",
    "a card",
    "an IBAN",
    "an e-mail address",
    "an SSN",
];

/// The same value in disguise. What is planted is the disguise, and what is looked for the
/// disguise as well as the value.
fn disguised(planted: &Planted) -> Vec<Planted> {
    if !DISGUISED.contains(&planted.name.as_str()) {
        return Vec::new();
    }
    let hint = planted.text.replace(&planted.value, "");
    let wide = |c: char| match u32::from(c) {
        code @ 0x21..=0x7e => char::from_u32(code + 0xfee0).unwrap(),
        _ => c,
    };
    let disguises = [
        ("percent", percent(&planted.value, &|_| false)),
        ("base64", STANDARD.encode(&planted.value)),
        ("zero-width", spaced(&planted.value)),
        ("full-width", planted.value.chars().map(wide).collect()),
    ];
    let one = |(how, value): (&str, String)| Planted {
        name: format!("{}, {how}", planted.name),
        text: format!("{hint}{value}"),
        value,
        secret: planted.secret,
    };
    disguises.into_iter().map(one).collect()
}

/// With an invisible character after each third.
fn spaced(value: &str) -> String {
    let mut out = String::new();
    for (n, c) in value.chars().enumerate() {
        write!(out, "{}{c}", if n % 3 == 2 { "\u{200b}" } else { "" }).unwrap();
    }
    out
}

/// What only a catalog's class tells: a name, a street and a word.
pub(crate) fn classed() -> [Planted; 3] {
    let one = |name: &str, value: &str, secret| Planted {
        name: name.to_owned(),
        text: value.to_owned(),
        value: value.to_owned(),
        secret,
    };
    [
        one("a person", "Philippa Nightingale", false),
        one("an address", "Rosenwinkel, third house, Oberdorf", false),
        one("a secret without form", "plain-words-only", true),
    ]
}

/// Sentences that together hold every value, each shorter than a purpose may be.
pub(crate) fn sentences(values: &[Planted]) -> Vec<String> {
    const LONGEST: usize = 1_200;
    let mut sentences = vec![String::new()];
    for planted in values {
        let last = sentences.last_mut().unwrap();
        match last.len() + planted.text.len() > LONGEST {
            true => sentences.push(planted.text.clone()),
            false => write!(last, " ; {}", planted.text).unwrap(),
        }
    }
    sentences
}

/// One sentence with a value of each kind that people have at hand.
pub(crate) fn sample(values: &[Planted]) -> String {
    let some = [
        "AWS",
        "a password",
        "a card",
        "an IBAN",
        "an e-mail address",
        "an SSN",
    ];
    let texts = values
        .iter()
        .filter(|planted| some.contains(&planted.name.as_str()));
    texts
        .map(|planted| planted.text.as_str())
        .collect::<Vec<_>>()
        .join(" ; ")
}
