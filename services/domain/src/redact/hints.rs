//! What an object's key suggests about the value beneath it.

use serde_json::{Map, Value};

/// How much a key says that its value is a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SecretHint {
    /// Nothing.
    No,
    /// `token`, `key`, `auth`: the value is one if it looks random.
    Maybe,
    /// `password`, `api_key`: the value is one unless it is plainly a placeholder.
    Yes,
}

/// The hints of one key, or of the keys above a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hints {
    pub(super) secret: SecretHint,
    pub(super) card: bool,
    pub(super) phone: bool,
    pub(super) ssn: bool,
    pub(super) version: bool,
}

/// Keys that only hold the value that the key above names.
const GENERIC: &[&str] = &[
    "value", "data", "val", "text", "content", "raw", "number", "current", "new", "old", "v",
    "values", "before", "after", "default",
];
/// Keys whose value names what stands under `value` beside them.
const NAMING: &[&str] = &["name", "key", "field", "header", "type", "label", "kind"];

const SECRET_WORDS: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "pass",
    "secret",
    "secrets",
    "apikey",
    "cvv",
    "cvc",
    "cvv2",
    "otp",
    "passcode",
    "privatekey",
    "secretkey",
    "accesskey",
    "credential",
    "credentials",
    "clientsecret",
    "authtoken",
    "accesstoken",
    "refreshtoken",
    "bearertoken",
];
const SECRET_PAIRS: &[(&str, &str)] = &[
    ("api", "key"),
    ("api", "token"),
    ("private", "key"),
    ("secret", "key"),
    ("access", "key"),
    ("access", "token"),
    ("refresh", "token"),
    ("auth", "token"),
    ("bearer", "token"),
    ("signing", "key"),
    ("encryption", "key"),
    ("master", "key"),
    ("connection", "string"),
];
const MAYBE_WORDS: &[&str] = &[
    "token",
    "auth",
    "authorization",
    "bearer",
    "key",
    "cookie",
    "jwt",
    "signature",
    "creds",
    "seed",
];
/// Words that turn a secret's name into the name of something about it.
const ABOUT_WORDS: &[&str] = &[
    "id",
    "ids",
    "name",
    "names",
    "type",
    "count",
    "length",
    "len",
    "url",
    "uri",
    "path",
    "file",
    "at",
    "expiry",
    "expires",
    "policy",
    "hash",
    "digest",
    "hint",
    "required",
    "enabled",
    "public",
    "max",
    "min",
    "ref",
    "arn",
    "version",
    "status",
    "field",
    "limit",
    "usage",
    "changed",
    "reset",
    "rotated",
    "created",
    "updated",
    "date",
    "time",
    "fingerprint",
];
const CARD_WORDS: &[&str] = &[
    "card",
    "cc",
    "pan",
    "creditcard",
    "cardnumber",
    "ccnumber",
    "ccn",
];
const PHONE_WORDS: &[&str] = &[
    "phone",
    "phones",
    "tel",
    "telephone",
    "mobile",
    "cell",
    "cellphone",
    "fax",
    "msisdn",
    "whatsapp",
    "sms",
    "phonenumber",
    "telefon",
    "telefono",
    "handy",
    "landline",
    "callback",
];
const SSN_WORDS: &[&str] = &["ssn", "socialsecurity", "itin", "taxid"];
const SSN_PAIRS: &[(&str, &str)] = &[("social", "security"), ("tax", "id"), ("national", "id")];
const VERSION_WORDS: &[&str] = &["version", "ver", "release", "build", "semver"];

impl Hints {
    /// No hint at all.
    pub(super) const NONE: Self = Self {
        secret: SecretHint::No,
        card: false,
        phone: false,
        ssn: false,
        version: false,
    };

    /// What the name `key` suggests.
    pub(super) fn of_key(key: &str) -> Self {
        let words = words(key);
        let any = |list: &[&str]| words.iter().any(|word| list.contains(&word.as_str()));
        let pair = |list: &[(&str, &str)]| {
            words
                .iter()
                .zip(words.iter().skip(1))
                .any(|(a, b)| list.contains(&(a.as_str(), b.as_str())))
        };
        let secret = match () {
            () if any(ABOUT_WORDS) => SecretHint::No,
            () if any(SECRET_WORDS) || pair(SECRET_PAIRS) => SecretHint::Yes,
            () if any(MAYBE_WORDS) => SecretHint::Maybe,
            () => SecretHint::No,
        };
        Self {
            secret,
            card: any(CARD_WORDS),
            phone: any(PHONE_WORDS),
            ssn: any(SSN_WORDS) || pair(SSN_PAIRS),
            version: any(VERSION_WORDS),
        }
    }

    /// The hints for the member `key` of an object that stands under `self`; `named` is what
    /// a naming member beside it says.
    pub(super) fn below(self, key: &str, named: Self) -> Self {
        let generic = words(key)
            .first()
            .is_some_and(|word| GENERIC.contains(&word.as_str()));
        if generic {
            self.or(named)
        } else {
            Self::of_key(key)
        }
    }

    /// What `{"name": "password", "value": …}` says about its `value`.
    pub(super) fn of_pair(members: &Map<String, Value>) -> Self {
        NAMING
            .iter()
            .filter_map(|name| members.get(*name)?.as_str())
            .filter(|named| named.len() <= 64)
            .fold(Self::NONE, |hints, named| hints.or(Self::of_key(named)))
    }

    fn or(self, other: Self) -> Self {
        Self {
            secret: self.secret.max(other.secret),
            card: self.card || other.card,
            phone: self.phone || other.phone,
            ssn: self.ssn || other.ssn,
            version: self.version || other.version,
        }
    }
}

/// The words of a name: split at case changes, digits and everything that is no letter.
fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut word = String::new();
    let mut previous_lower = false;
    for c in name.chars().take(128) {
        let starts = c.is_uppercase() && previous_lower;
        if (!c.is_alphabetic() || starts) && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        if c.is_alphabetic() {
            word.extend(c.to_lowercase());
        }
        previous_lower = c.is_lowercase();
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_split_into_words() {
        for (name, expected) in [
            ("cardNumber", vec!["card", "number"]),
            ("API_KEY2", vec!["api", "key"]),
            ("x-auth-token", vec!["x", "auth", "token"]),
            ("", vec![]),
            ("123", vec![]),
        ] {
            assert_eq!(words(name), expected, "{name}");
        }
    }

    #[test]
    fn keys_suggest_secrets() {
        for (name, expected) in [
            ("password", SecretHint::Yes),
            ("dbPassword1", SecretHint::Yes),
            ("client_secret", SecretHint::Yes),
            ("api-key", SecretHint::Yes),
            ("token", SecretHint::Maybe),
            ("Authorization", SecretHint::Maybe),
            ("secret_name", SecretHint::No),
            ("password_changed_at", SecretHint::No),
            ("public_key", SecretHint::No),
            ("monkey", SecretHint::No),
            ("session_id", SecretHint::No),
            ("compass", SecretHint::No),
        ] {
            assert_eq!(Hints::of_key(name).secret, expected, "{name}");
        }
    }

    #[test]
    fn generic_keys_inherit_and_others_do_not() {
        let phone = Hints::of_key("mobilePhone");
        assert!(phone.phone);
        assert!(phone.below("value", Hints::NONE).phone);
        assert!(!phone.below("country", Hints::NONE).phone);
        let members = serde_json::json!({"name": "password", "value": "x"});
        let named = Hints::of_pair(members.as_object().unwrap());
        assert_eq!(Hints::NONE.below("value", named).secret, SecretHint::Yes);
    }
}
