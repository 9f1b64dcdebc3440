//! The words of a key, and what each of them says.

use std::sync::LazyLock;

/// A key of more bytes is read to here: longer ones are no names.
const KEY_BYTES_MAX: usize = 128;
/// Bytes of the longest word in a list, and some.
const WORD_BYTES_MAX: usize = 24;

pub(super) const SECRET: u32 = 1;
pub(super) const MAYBE_SECRET: u32 = 1 << 1;
/// Turns a secret's name into the name of something about it.
pub(super) const ABOUT: u32 = 1 << 2;
pub(super) const CARD: u32 = 1 << 3;
pub(super) const PHONE: u32 = 1 << 4;
pub(super) const SSN: u32 = 1 << 5;
pub(super) const VERSION: u32 = 1 << 6;
pub(super) const PERSON: u32 = 1 << 7;
/// `first_name` and the like: one word of the value is a name.
pub(super) const NAME_PART: u32 = 1 << 8;
/// `name` itself, which names people and things alike.
pub(super) const NAME: u32 = 1 << 9;
/// Turns a person's key into the key of something else.
pub(super) const NOBODY: u32 = 1 << 10;
pub(super) const ADDRESS: u32 = 1 << 11;
/// Turns an address into one that is no place: of mail, of a machine.
pub(super) const NO_PLACE: u32 = 1 << 12;
pub(super) const IDENTITY: u32 = 1 << 13;
pub(super) const BIRTH: u32 = 1 << 14;
/// Keys that only hold the value that the key above names.
pub(super) const GENERIC: u32 = 1 << 15;
/// May be the first of a pair.
const FIRST: u32 = 1 << 16;
/// Says before a secret's name what it is the secret of, and behind it that it is none:
/// `file_password`, `password_file`.
pub(super) const BESIDE: u32 = 1 << 17;
/// Names a service whose secrets have no form of their own.
pub(super) const SERVICE: u32 = 1 << 18;
/// Turns a service's name into that of something public: a commit, a release.
pub(super) const PUBLIC: u32 = 1 << 19;
/// What a name under this key names is no person.
pub(super) const THING: u32 = 1 << 20;
/// Stands beside the name of a thing that is sold or stored, and never of a person.
pub(super) const OF_THING: u32 = 1 << 21;
/// Stands beside the name of a person.
pub(super) const OF_PERSON: u32 = 1 << 22;

/// Services whose secrets have no form of their own: what is given to one of their names, such
/// as `sonar.login`, is a secret if it looks random.
pub(super) const SERVICES: &str = "adobe algolia amplitude artifactory asana assemblyai azure beamer bitbucket bittrex \
    braintree bugsnag cloudflare cloudinary codacy codecov cohere coinbase confluent \
    contentful coveralls datadog deepgram discord dropbox fastly finicity finnhub freshbooks \
    gitea gitter gocardless gumroad heroku hetzner honeycomb hubspot intercom ipinfo jfrog \
    kraken kucoin launchdarkly linkedin linode mailchimp mailgun mailjet mandrill mapbox \
    mattermost meraki messagebird mistral mixpanel netlify newrelic nexmo ngrok okta onesignal \
    opsgenie pagerduty paypal pinecone plaid plivo postmark pubnub pusher rapidapi razorpay \
    rollbar salesforce scaleway sendbird sendgrid sentry shodan snyk sonar sonarqube \
    sourcegraph spotify splunk squarespace strava stripe sumologic telegram travis trello \
    twilio twitch twitter typeform vercel virustotal vonage vultr wakatime zendesk";

/// One group of words and what they say.
const WORDS: &[(u32, &str)] = &[
    (
        SECRET,
        "password passwd passphrase pwd pass secret secrets apikey cvv cvc cvv2 otp passcode \
         privatekey secretkey accesskey credential credentials clientsecret authtoken \
         accesstoken refreshtoken bearertoken secrettoken privatetoken apitoken apisecret \
         appsecret authkey authsecret consumersecret accesssecret sharedsecret webhooksecret \
         signingsecret signingkey encryptionkey masterkey dbpassword dbpass userpass \
         adminpassword rootpassword passkey licensekey servicekey contraseña contrasena passwort kennwort \
         wachtwoord senha lösenord hasło haslo adgangskode mnemonic",
    ),
    (
        MAYBE_SECRET,
        "token auth authorization bearer key cookie jwt signature creds seed pat session sid sas \
         pin webhook dsn",
    ),
    (
        ABOUT,
        "count length len expiry expires policy hash digest hint required enabled public max min \
         ref arn version limit usage changed reset rotated fingerprint",
    ),
    (
        BESIDE,
        "id ids name names type url uri path file at status field created updated date time",
    ),
    (
        PUBLIC,
        "commit sha rev revision release build digest image trace span host hostname server \
         region tag branch user username email domain org organization team project workspace \
         slug client app bucket channel page issue ticket order event number model repo",
    ),
    (
        THING,
        "product products item items article articles file files folder document documents \
         project projects tool tools plan plans channel channels repository repo \
         repositories service services bucket template templates workflow workflows pipeline \
         pipelines job jobs task tasks campaign campaigns course courses book books movie song \
         game recipe dish menu room rooms store shop brand category categories tag tags label \
         labels feature features release releases package packages module plugin extension device \
         devices machine cluster node nodes database table column index queue topic dataset \
         experiment rule rules role roles permission policy policies server servers variant \
         sku skus part parts asset assets catalog collection report reports dashboard widget \
         widgets board sprint milestone epic step steps stage city country company organization \
         org department vendor",
    ),
    (
        OF_THING,
        "sku price quantity qty stock barcode ean upc gtin isbn brand mime extension checksum \
         discount warehouse inventory",
    ),
    (
        OF_PERSON,
        "email mail phone mobile birth birthday dob gender age nationality passport ssn salutation",
    ),
    (CARD, "card cc pan creditcard cardnumber ccnumber ccn"),
    (
        PHONE,
        "phone phones tel telephone mobile cell cellphone fax msisdn whatsapp sms phonenumber \
         telefon telefono teléfono téléphone telefoon handy móvil movil cellulare komórka landline \
         callback mobil puhelin telefone celular",
    ),
    (SSN, "ssn socialsecurity itin taxid"),
    (VERSION, "version ver release build semver"),
    (
        PERSON,
        "customer client assignee recipient cardholder beneficiary payee payer patient employee \
         contact author reporter requester applicant candidate attendee sender signatory tenant \
         buyer seller consignee consignor passenger guest student physician doctor nominee spouse \
         mother father insured policyholder accountholder fullname holder owner driver person \
         manager supervisor debtor creditor subscriber visitor attn lawyer teacher donor \
         approver displayname realname legalname cliente kunde klient destinataire destinatario \
         empfänger mottagare ontvanger",
    ),
    (
        NAME_PART,
        "firstname lastname surname forename middlename maidenname givenname familyname nachname \
         vorname prénom prenom apellido apellidos cognome achternaam voornaam nazwisko efternamn \
         förnamn sobrenome",
    ),
    (NAME, "name"),
    (
        NOBODY,
        "id ids email mail phone tel type count status url uri number no code key token ref date \
         time at version since segment tier group role address ip host account company org \
         organization department city country region zip method note notes message card iban ssn \
         tax amount total price currency language locale timezone",
    ),
    (
        ADDRESS,
        "address addr street streetaddress addressline shippingaddress billingaddress \
         homeaddress residence adresse anschrift direccion dirección indirizzo adres adress \
         endereço domicile strasse straße rue calle ulica straat postaladdress",
    ),
    (
        NO_PLACE,
        "email mail e ip ipv web http url mac wallet memory bitcoin btc eth crypto host network \
         server reply from bcc cc smtp id type status line_type contract token remote local \
         peer bind listen source dest gateway subnet",
    ),
    (
        IDENTITY,
        "passport ssn nino nhs aadhaar aadhar pesel cpf cnpj dni nie nif bsn nir sin tfn \
         personnummer hetu steuerid codicefiscale codfis curp rut cuil cuit nationalid licence \
         license idnumber identitycard taxid itin personnel fodselsnummer cpr oib egn jmbg",
    ),
    (
        BIRTH,
        "dob birthdate birthday dateofbirth geburtsdatum geboortedatum birth",
    ),
    (
        GENERIC,
        "value data val text content raw number current new old v values before after default \
         items item list entries input args arguments body",
    ),
];

/// Two words that say together what neither says alone.
const PAIRS: &[(u32, &str, &str)] = &[
    (SECRET, "api", "key"),
    (SECRET, "api", "token"),
    (SECRET, "private", "key"),
    (SECRET, "secret", "key"),
    (SECRET, "access", "key"),
    (SECRET, "access", "token"),
    (SECRET, "refresh", "token"),
    (SECRET, "auth", "token"),
    (SECRET, "bearer", "token"),
    (SECRET, "signing", "key"),
    (SECRET, "encryption", "key"),
    (SECRET, "master", "key"),
    (SECRET, "connection", "string"),
    (SECRET, "account", "key"),
    (SECRET, "recovery", "phrase"),
    (SECRET, "seed", "phrase"),
    (CARD, "payment", "method"),
    (SSN, "social", "security"),
    (SSN | IDENTITY, "tax", "id"),
    (SSN | IDENTITY, "national", "id"),
    (SSN | IDENTITY, "taxpayer", "id"),
    (IDENTITY, "id", "card"),
    (IDENTITY, "identity", "number"),
    (IDENTITY, "id", "number"),
    (IDENTITY, "identification", "number"),
    (IDENTITY, "national", "insurance"),
    (IDENTITY, "social", "insurance"),
    (IDENTITY, "steuer", "id"),
    (IDENTITY, "codice", "fiscale"),
    (IDENTITY, "personal", "number"),
    (IDENTITY, "insurance", "number"),
    (ADDRESS, "ship", "to"),
    (ADDRESS, "bill", "to"),
    (ADDRESS, "deliver", "to"),
    (ADDRESS, "delivery", "address"),
    (NAME_PART, "first", "name"),
    (NAME_PART, "last", "name"),
    (NAME_PART, "middle", "name"),
    (NAME_PART, "given", "name"),
    (NAME_PART, "family", "name"),
    (NAME_PART, "maiden", "name"),
    (PERSON, "full", "name"),
    (PERSON, "display", "name"),
    (PERSON, "real", "name"),
    (PERSON, "legal", "name"),
    (PERSON, "billing", "name"),
    (PERSON, "shipping", "name"),
    (PERSON, "user", "name"),
    (PERSON, "assigned", "to"),
];

/// Places of the table of words: four times as many as words, so that most are found or
/// missed at the first look.
const PLACES: usize = 4096;

/// Every word and what it says, by its hash: every key of every record is looked up.
struct Meanings(Vec<(&'static str, u32)>);

static MEANINGS: LazyLock<Meanings> = LazyLock::new(|| {
    let mut meanings = Meanings(vec![("", 0); PLACES]);
    for (meaning, words) in WORDS {
        for word in words.split_ascii_whitespace() {
            meanings.add(word, *meaning);
        }
    }
    for (_, first, _) in PAIRS {
        meanings.add(first, FIRST);
    }
    for service in SERVICES.split_ascii_whitespace() {
        meanings.add(service, SERVICE);
    }
    meanings
});

impl Meanings {
    /// The places of a word, from the one that its hash (FNV-1a) names.
    fn places(word: &[u8]) -> impl Iterator<Item = usize> {
        let hash = word.iter().fold(0x811c_9dc5_u32, |hash, b| {
            (hash ^ u32::from(*b)).wrapping_mul(0x0100_0193)
        });
        let hash = usize::try_from(hash ^ (hash >> 15)).unwrap_or_default();
        (0..PLACES).map(move |step| (hash.wrapping_add(step)) % PLACES)
    }

    fn add(&mut self, word: &'static str, meaning: u32) {
        for place in Self::places(word.as_bytes()) {
            if let Some((there, said)) = self.0.get_mut(place)
                && (there.is_empty() || *there == word)
            {
                *there = word;
                *said |= meaning;
                return;
            }
        }
    }

    /// What the word says; 0 for one that is in no list.
    fn of(&self, word: &[u8]) -> u32 {
        Self::places(word)
            .find_map(|place| match self.0.get(place)? {
                ("", _) => Some(0),
                (there, said) if there.as_bytes() == word => Some(*said),
                _ => None,
            })
            .unwrap_or(0)
    }
}

/// What the words of a name say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Words {
    all: u32,
    first: u32,
    count: usize,
}

impl Words {
    /// Reads a name: words end at case changes, digits and everything that is no letter.
    pub(super) fn of(name: &str) -> Self {
        let mut read = Reading::default();
        if name.is_ascii() {
            read.ascii(name.as_bytes());
            return read.words;
        }
        let mut previous_lower = false;
        for (at, c) in name.char_indices() {
            if at >= KEY_BYTES_MAX {
                break;
            }
            if !c.is_alphabetic() || c.is_uppercase() && previous_lower {
                read.end();
            }
            if c.is_alphabetic() {
                c.to_lowercase().for_each(|c| read.word.push(c));
            }
            previous_lower = c.is_lowercase();
        }
        read.end();
        read.words
    }

    /// Whether no word says anything.
    pub(super) fn is_plain(self) -> bool {
        self.all == 0
    }

    /// Whether some word says this.
    pub(super) fn has(self, meaning: u32) -> bool {
        self.all & meaning != 0
    }

    /// Whether the name is one word, which says this.
    pub(super) fn only(self, meaning: u32) -> bool {
        self.count == 1 && self.has(meaning)
    }

    /// Whether the first word says this.
    pub(super) fn begins(self, meaning: u32) -> bool {
        self.first & meaning != 0
    }
}

/// One word, as far as it fits: longer ones are in no list.
#[derive(Clone, Copy, Default)]
struct Word {
    bytes: [u8; WORD_BYTES_MAX],
    length: usize,
}

impl Word {
    fn push(&mut self, c: char) {
        let end = self.length + c.len_utf8();
        if let Some(place) = self.bytes.get_mut(self.length..end) {
            c.encode_utf8(place);
        }
        self.length = end;
    }

    fn push_ascii(&mut self, b: u8) {
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = b;
        }
        self.length += 1;
    }

    /// The word, or nothing that is in a list.
    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

#[derive(Default)]
struct Reading {
    words: Words,
    word: Word,
    before: Word,
    before_first: bool,
}

impl Reading {
    /// Reads a name in ASCII, as most are.
    fn ascii(&mut self, name: &[u8]) {
        let mut previous_lower = false;
        for b in name.iter().take(KEY_BYTES_MAX) {
            if !b.is_ascii_alphabetic() || b.is_ascii_uppercase() && previous_lower {
                self.end();
            }
            if b.is_ascii_alphabetic() {
                self.word.push_ascii(b.to_ascii_lowercase());
            }
            previous_lower = b.is_ascii_lowercase();
        }
        self.end();
    }

    fn end(&mut self) {
        if self.word.length == 0 {
            return;
        }
        let word = self.word.bytes();
        let mut meaning = MEANINGS.of(word);
        if self.before_first {
            let before = self.before.bytes();
            let pairs = PAIRS
                .iter()
                .filter(|pair| pair.1.as_bytes() == before && pair.2.as_bytes() == word);
            meaning = pairs.fold(meaning, |all, pair| all | pair.0);
        }
        if meaning & SECRET != 0 {
            self.words.all &= !BESIDE;
        }
        if self.words.count == 0 {
            self.words.first = meaning;
        }
        self.words.all |= meaning & !FIRST;
        self.words.count += 1;
        self.before_first = meaning & FIRST != 0;
        self.before = self.word;
        self.word.length = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_split_into_words() {
        for (name, count, meaning) in [
            ("cardNumber", 2, CARD),
            ("API_KEY2", 2, SECRET),
            ("x-auth-token", 3, MAYBE_SECRET),
            ("téléphone", 1, PHONE),
            ("", 0, 0),
            ("123", 0, 0),
            ("postcard", 1, 0),
        ] {
            let words = Words::of(name);
            assert_eq!(words.count, count, "{name}");
            assert_eq!(words.all & meaning, meaning, "{name}");
        }
        assert!(Words::of("postcard").is_plain());
    }

    #[test]
    fn every_word_of_the_lists_fits() {
        for (_, words) in WORDS {
            for word in words.split_ascii_whitespace() {
                assert!(word.len() <= WORD_BYTES_MAX, "{word}");
                assert!(!Words::of(word).is_plain(), "{word}");
            }
        }
    }

    #[test]
    fn a_pair_says_more_than_its_words() {
        assert!(Words::of("apiKey").has(SECRET));
        assert!(!Words::of("key_api").has(SECRET));
        assert!(Words::of("ship_to").has(ADDRESS));
        assert!(!Words::of("ship").has(ADDRESS));
    }
}
