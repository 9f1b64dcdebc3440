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
    /// What is called `name` under this is a thing.
    pub(super) thing: bool,
    /// The key names a service whose secrets have no form, and nothing public of it.
    pub(super) service: bool,
}

/// Bytes of the longest key that is nothing but `name`, with digits and signs.
const NAME_KEY_BYTES_MAX: usize = 8;
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
        thing: false,
        service: false,
    };

    /// What the name `key` suggests.
    pub(super) fn of_key(key: &str) -> Self {
        Self::of_words(&Words::of(key))
    }

    /// Whether nothing is known of a value with these hints.
    pub(super) fn is_none(self) -> bool {
        let value = Self {
            thing: false,
            service: false,
            ..self
        };
        value == Self::NONE
    }

    fn of_words(words: &Words) -> Self {
        if words.is_plain() {
            return Self::NONE;
        }
        let secret = match () {
            () if words.has(words::ABOUT | words::BESIDE) => SecretHint::No,
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
            thing: words.has(words::THING),
            service: words.has(words::SERVICE)
                && !words.has(words::ABOUT | words::BESIDE | words::PUBLIC),
        }
    }

    /// The hints for the member `key` of an object that stands under `self`; `named` is what
    /// a naming member beside it says.
    pub(super) fn below(self, key: &str, named: Self) -> Self {
        let words = Words::of(key);
        if words.begins(words::GENERIC) {
            return Self {
                thing: self.thing,
                ..self.or(named)
            };
        }
        let hints = Self::of_words(&words);
        // The name of a product has the form of a person's.
        let thing = self.thing || named.thing;
        match words.only(words::NAME) && thing && self.person == PersonHint::No {
            true => Self {
                person: PersonHint::No,
                ..hints
            },
            false => hints,
        }
    }

    /// What the keys of one object say of the member `name` among them: nothing if there is
    /// none.
    fn of_siblings<'a>(keys: impl Iterator<Item = &'a str> + Clone) -> Self {
        let named = |key: &str| key.len() <= NAME_KEY_BYTES_MAX && Words::of(key).only(words::NAME);
        if !keys.clone().any(named) {
            return Self::NONE;
        }
        let words = || keys.clone().map(Words::of);
        let thing = words().any(|words| words.has(words::OF_THING))
            && !words().any(|words| words.has(words::OF_PERSON));
        Self {
            thing,
            ..Self::NONE
        }
    }

    /// What `{"name": "password", "value": …}` says about its `value`.
    pub(super) fn of_pair(members: &Map<String, Value>) -> Self {
        let members = members.iter();
        Self::of_members(members.map(|(key, value)| (key.as_str(), value.as_str())))
    }

    /// The same of members as they are written; one that is no text has no value.
    pub(super) fn of_members<'a>(
        members: impl Iterator<Item = (&'a str, Option<&'a str>)> + Clone,
    ) -> Self {
        let naming = members.clone().filter(|(key, _)| NAMING.contains(key));
        let named = Self::of_names(naming.filter_map(|(_, value)| value));
        Self {
            thing: false,
            ..named
        }
        .or(Self::of_siblings(members.map(|(key, _)| key)))
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
            thing: self.thing || other.thing,
            service: self.service || other.service,
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
            ("file_password", SecretHint::Yes),
            ("real_time_api_key", SecretHint::Yes),
            ("password_file", SecretHint::No),
            ("api_key_id", SecretHint::No),
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
    fn a_name_beside_what_only_things_have_is_no_persons() {
        let person = |value: serde_json::Value| {
            let named = Hints::of_pair(value.as_object().unwrap());
            Hints::NONE.below("name", named).person
        };
        for (value, expected) in [
            (serde_json::json!({"name": "x"}), PersonHint::Maybe),
            (serde_json::json!({"name": "x", "sku": 1}), PersonHint::No),
            (
                serde_json::json!({"name": "x", "unitPrice": 1}),
                PersonHint::No,
            ),
            (
                serde_json::json!({"name": "x", "price": 1, "email": 2}),
                PersonHint::Maybe,
            ),
        ] {
            assert_eq!(person(value.clone()), expected, "{value}");
        }
        for (above, expected) in [
            ("product", PersonHint::No),
            ("line_items", PersonHint::No),
            ("file", PersonHint::No),
            ("customer", PersonHint::Maybe),
            ("productOwner", PersonHint::Maybe),
            ("result", PersonHint::Maybe),
        ] {
            let hints = Hints::of_key(above).below("name", Hints::NONE);
            assert_eq!(hints.person, expected, "{above}");
        }
        let inner = Hints::of_key("product").below("items", Hints::NONE);
        assert_eq!(inner.below("name", Hints::NONE).person, PersonHint::No);
        let first = Hints::of_key("product").below("first_name", Hints::NONE);
        assert_eq!(first.person, PersonHint::Yes);
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
