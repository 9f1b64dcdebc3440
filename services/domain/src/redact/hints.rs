//! What an object's key suggests about the value beneath it.

use serde_json::{Map, Value};

use super::words::{self, Words};

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

/// How much a key says that its value is a person's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PersonHint {
    /// Nothing.
    No,
    /// `customer`, `name`: the value is one if it has the form of a full name.
    Maybe,
    /// `first_name`, `surname`: one word is enough.
    Yes,
}

/// The hints of one key, or of the keys above a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hints {
    pub(super) secret: SecretHint,
    pub(super) person: PersonHint,
    pub(super) card: bool,
    pub(super) phone: bool,
    pub(super) ssn: bool,
    pub(super) version: bool,
    pub(super) address: bool,
    pub(super) identity: bool,
    pub(super) birth: bool,
}

/// Keys whose value names what stands under `value` beside them.
const NAMING: &[&str] = &["name", "key", "field", "header", "type", "label", "kind"];

impl Hints {
    /// No hint at all.
    pub(super) const NONE: Self = Self {
        secret: SecretHint::No,
        person: PersonHint::No,
        card: false,
        phone: false,
        ssn: false,
        version: false,
        address: false,
        identity: false,
        birth: false,
    };

    /// What the name `key` suggests.
    pub(super) fn of_key(key: &str) -> Self {
        Self::of_words(&Words::of(key))
    }

    fn of_words(words: &Words) -> Self {
        if words.is_plain() {
            return Self::NONE;
        }
        let secret = match () {
            () if words.has(words::ABOUT) => SecretHint::No,
            () if words.has(words::SECRET) => SecretHint::Yes,
            () if words.has(words::MAYBE_SECRET) => SecretHint::Maybe,
            () => SecretHint::No,
        };
        let person = match () {
            () if words.has(words::NOBODY) => PersonHint::No,
            () if words.has(words::NAME_PART) => PersonHint::Yes,
            () if words.has(words::PERSON) || words.only(words::NAME) => PersonHint::Maybe,
            () => PersonHint::No,
        };
        Self {
            secret,
            person,
            card: words.has(words::CARD),
            phone: words.has(words::PHONE),
            ssn: words.has(words::SSN),
            version: words.has(words::VERSION),
            address: words.has(words::ADDRESS) && !words.has(words::NO_PLACE),
            identity: words.has(words::IDENTITY),
            birth: words.has(words::BIRTH),
        }
    }

    /// The hints for the member `key` of an object that stands under `self`; `named` is what
    /// a naming member beside it says.
    pub(super) fn below(self, key: &str, named: Self) -> Self {
        let words = Words::of(key);
        if words.begins(words::GENERIC) {
            self.or(named)
        } else {
            Self::of_words(&words)
        }
    }

    /// What `{"name": "password", "value": …}` says about its `value`.
    pub(super) fn of_pair(members: &Map<String, Value>) -> Self {
        let naming = members
            .iter()
            .filter(|(key, _)| NAMING.contains(&key.as_str()));
        Self::of_names(naming.filter_map(|(_, value)| value.as_str()))
    }

    /// What a member says about the `value` beside it; nothing if its key does not name.
    pub(super) fn of_member(key: &str, value: &str) -> Self {
        let named = NAMING.contains(&key).then_some(value);
        Self::of_names(named.into_iter())
    }

    fn of_names<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        names
            .filter(|named| named.len() <= 64)
            .fold(Self::NONE, |hints, named| hints.or(Self::of_key(named)))
    }

    pub(super) fn or(self, other: Self) -> Self {
        Self {
            secret: self.secret.max(other.secret),
            person: self.person.max(other.person),
            card: self.card || other.card,
            phone: self.phone || other.phone,
            ssn: self.ssn || other.ssn,
            version: self.version || other.version,
            address: self.address || other.address,
            identity: self.identity || other.identity,
            birth: self.birth || other.birth,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn keys_suggest_people_and_places() {
        for (name, expected) in [
            ("name", PersonHint::Maybe),
            ("name2", PersonHint::Maybe),
            ("customer", PersonHint::Maybe),
            ("customerName", PersonHint::Maybe),
            ("full_name", PersonHint::Maybe),
            ("first_name", PersonHint::Yes),
            ("lastName", PersonHint::Yes),
            ("file_name", PersonHint::No),
            ("hostname", PersonHint::No),
            ("customer_id", PersonHint::No),
            ("owner_email", PersonHint::No),
            ("project name", PersonHint::No),
        ] {
            assert_eq!(Hints::of_key(name).person, expected, "{name}");
        }
        for (name, expected) in [
            ("address", true),
            ("shippingAddress", true),
            ("ship_to", true),
            ("street", true),
            ("email_address", false),
            ("ip_address", false),
            ("wallet address", false),
        ] {
            assert_eq!(Hints::of_key(name).address, expected, "{name}");
        }
    }

    #[test]
    fn keys_suggest_numbers_of_people() {
        assert!(Hints::of_key("tax_id").ssn && Hints::of_key("tax_id").identity);
        assert!(Hints::of_key("passportNumber").identity);
        assert!(Hints::of_key("date_of_birth").birth && Hints::of_key("dob").birth);
        assert!(!Hints::of_key("update_of_birthdays").identity);
        assert!(Hints::of_key("payment_method").card);
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
