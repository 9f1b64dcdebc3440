//! Postal addresses of streets: whole where the key says so, else by the words that streets
//! are named with and their number.

use std::sync::LazyLock;

use regex::Regex;

use super::{Hit, Kind, canonical};
use crate::redact::Failed;
use crate::redact::hints::Hints;
use crate::redact::work::spend;

/// Bytes of the longest value that a key makes an address as a whole.
const KEYED_BYTES_MAX: usize = 512;

/// Parts of words that every address below has, but for the English ones, which begin with a
/// number and a capital; compared without case.
pub(super) const KEYWORDS: &[&str] = &[
    "stra",
    "str.",
    "weg ",
    "allee",
    "platz",
    "gasse",
    "ring ",
    "damm ",
    "ufer ",
    "chaussee",
    "laan ",
    "plein ",
    "gracht",
    "kade ",
    "dijk ",
    "singel",
    "hof ",
    "pad ",
    "hage ",
    "steeg",
    "dreef",
    "steig",
    "pfad",
    "graben",
    "tie ",
    "gatan",
    "vägen",
    "gränd",
    "torget",
    "stigen",
    "backen",
    "vej ",
    "gade ",
    "veien",
    "vegen",
    "gata ",
    "katu",
    "kuja",
    "polku",
    "calle",
    "c/ ",
    "avenida",
    "avda",
    "paseo",
    "plaza",
    "pza.",
    "rambla",
    "camino",
    "carrera",
    "ronda",
    "pasaje",
    "alameda",
    "glorieta",
    "via ",
    "viale",
    "piazza",
    "corso",
    "vicolo",
    "largo ",
    "contrada",
    "borgo",
    "rotonda",
    "canale",
    "stretto",
    "incrocio",
    "urbaniz",
    "acceso",
    "rua ",
    "travessa",
    "praça",
    "estrada",
    "ul. ",
    "ulica",
    "al. ",
    "aleja",
    "pl. ",
    "plac ",
    "os. ",
    "osiedle",
    "rondo",
    "rue",
    "avenue",
    "av. ",
    "boulevard",
    "bd ",
    "bd. ",
    "place",
    "chemin",
    "impasse",
    "allée",
    "quai",
    "cours ",
    "passage",
    "route",
    "square",
    "voie",
    "sentier",
    "esplanade",
    " box ",
];

/// Kinds of streets in English: the suffixes of USPS Publication 28, appendix C1, and what
/// Royal Mail's addresses add.
const ENGLISH: &str = r"Alley|Annex|Arcade|Avenue|Ave|Bayou|Beach|Bend|Bluffs?|Bottom|Boulevard|Blvd|Branch|Bridge|Brooks?|Burgs?|Bypass|Camp|Canyon|Cape|Causeway|Centers?|Circles?|Cir|Cliffs?|Close|Club|Commons?|Corners?|Course|Courts?|Ct|Coves?|Creek|Crescent|Crest|Crossing|Crossroads?|Curve|Dale|Dam|Divide|Drives?|Dr|Estates?|Expressway|Extensions?|Falls?|Ferry|Fields?|Flats?|Fords?|Forest|Forges?|Forks?|Fort|Freeway|Gardens?|Gateway|Glens?|Greens?|Groves?|Harbors?|Haven|Heights|Highway|Hwy|Hills?|Hollow|Inlet|Islands?|Isle|Junctions?|Keys?|Knolls?|Lakes?|Land|Landing|Lane|Ln|Lights?|Loaf|Locks?|Lodge|Loop|Mall|Manors?|Meadows?|Mews|Mills?|Mission|Motorway|Mount|Mountains?|Neck|Orchard|Oval|Overpass|Parade|Parks?|Parkways?|Pkwy|Pass|Passage|Path|Pike|Pines?|Place|Pl|Plains?|Plaza|Points?|Ports?|Prairie|Radial|Ramp|Ranch|Rapids?|Rest|Ridges?|Rise|River|Roads?|Rd|Route|Row|Rue|Run|Shoals?|Shores?|Skyway|Springs?|Spurs?|Squares?|Sq|Station|Stravenue|Stream|Streets?|St|Summit|Terrace|Ter|Throughway|Trace|Track|Trafficway|Trail|Trl|Tunnel|Turnpike|Underpass|Unions?|Vale|Valleys?|Viaduct|Views?|Villages?|Ville|Vista|Walks?|Wall|Ways?|Wells?";
/// Kinds of streets that end a word: German, Dutch, Swedish, Danish, Norwegian, Finnish.
const ENDING: &str = r"(?:stra(?:ß|ss)e|str\.|weg|allee|platz|gasse|ring|damm|ufer|chaussee|steig|pfad|hof|graben|straat|laan|plein|gracht|kade|dijk|singel|steeg|dreef|pad|hage|gatan|vägen|gränd|torget|stigen|backen|vej|gade|veien|vegen|gata|katu|kuja|polku|tie)";
/// Those of them that no English word with a number behind it ends with.
const JOINED: &str = r"(?:stra(?:ß|ss)e|str\.|weg|allee|platz|gasse|damm|ufer|chaussee|steig|pfad|hof|straat|laan|plein|gracht|kade|dijk|singel|steeg|dreef|gatan|vägen|gränd|torget|stigen|backen|vej|gade|veien|vegen|gata|katu|kuja|polku)";
/// Kinds of streets that begin an address: Spanish, Italian, Portuguese, Polish.
const LEADING: &str = r"(?:Calle|C/|Avenida|Avda\.?|Paseo|Plaza|Pza\.|Rambla|Camino|Carrera|Ronda|Pasaje|Alameda|Glorieta|Urbanización|Acceso|Via|Viale|Piazza|Piazzale|Corso|Vicolo|Strada|Largo|Contrada|Borgo|Rotonda|Canale|Stretto|Incrocio|Rua|Travessa|Praça|Estrada|[Uu]l\.|[Uu]lica|[Aa]l\.|[Aa]leja|[Pp]l\.|[Pp]lac|[Oo]s\.|[Oo]siedle|[Rr]ondo)";
const FRENCH: &str = r"(?:rue|avenue|av\.|boulevard|bd\.?|place|chemin|impasse|allée|quai|cours|passage|route|square|voie|sentier|ruelle|esplanade)";
/// A word of a street's name, or a small word inside it; what begins with another stands before
/// that.
const NAME: &str = r"(?:\p{Lu}[\p{L}'’.-]*|de los|de las|de la|dell'|della|dei|del|des|de|di|du|d'|las|les|los|la|le|dos|das|da|do|van|von|der|i|y|e|św\.|gen\.)";
const FLAT: &str = r"(?:,? ?(?:Apt|Apartment|Suite|Ste|Unit|Flat|Floor|Room|Rm|Piso|Puerta|Interno|Appartamento|m\.|#)\.? ?[0-9A-Za-z-]{1,6})?";

static STREET: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let number = r"[0-9]{1,5}(?: ?[A-Za-z])?(?:[-/][0-9]{1,4}[A-Za-z]?)?";
    let words = r"(?:(?:\p{Lu}[\p{L}'’.-]*|[0-9]{1,3}(?:st|nd|rd|th)) )";
    let flat = r"(?:Studio|Flat|Apartment|Apt\.?|Unit|Suite|Room) [0-9]{1,4}[A-Za-z]?,?\s";
    let forms = [
        format!(r"\b{flat}(?:{number},? )?{words}{{1,3}}(?:{ENGLISH})\b"),
        format!(r"\b{number},? (?:[NSEW]\.? )?{words}{{1,4}}(?:{ENGLISH})\b\.?{FLAT}"),
        format!(r"\b\p{{Lu}}[\p{{L}}.'-]+{JOINED},? {number}\b{FLAT}"),
        format!(r"\b(?:\p{{Lu}}[\p{{L}}.'-]*[ -]){{1,3}}(?i:{ENDING}),? {number}\b{FLAT}"),
        format!(r"\b{LEADING} ?(?:{NAME} ){{0,5}}?{NAME},? (?:n[º°.]? ?)?{number}\b{FLAT}"),
        format!(r"\b{number}(?: ?(?:bis|ter))?,? (?i:{FRENCH}) (?:{NAME} ?){{1,5}}"),
        r"(?i:\bP\.? ?O\.? ?Box [0-9]{1,6}\b)".to_owned(),
    ];
    Regex::new(&forms.join("|")).ok()
});

/// Whether a number stands before a word with a capital or before another number, as in
/// every English address.
pub(super) fn is_numbered(text: &str) -> bool {
    text.as_bytes().windows(3).any(|near| match near {
        [digit, b' ' | b'\n', next] => {
            digit.is_ascii_digit() && (next.is_ascii_uppercase() || *next > 127)
        }
        [digit, b'A'..=b'Z' | b'a'..=b'z' | b',', b' '] => digit.is_ascii_digit(),
        _ => false,
    })
}

/// Finds streets with their numbers.
pub(super) fn find(text: &str, hits: &mut Vec<Hit>) -> Result<(), Failed> {
    let street = STREET.as_ref().ok_or(Failed)?;
    spend(text.len());
    for found in street.find_iter(text) {
        let end = found.start() + found.as_str().trim_end().len();
        hits.push(hit(text, found.start(), end));
    }
    Ok(())
}

/// A value that its key calls an address, unless it is plainly of another kind.
pub(super) fn find_keyed(text: &str, hints: Hints, hits: &mut Vec<Hit>) {
    let value = text.trim();
    let letters = value.chars().filter(|c| c.is_alphabetic()).count();
    let words = value.split_whitespace().count();
    let numbered = value.bytes().any(|b| b.is_ascii_digit());
    let other = value.contains('@') || value.contains("://") || value.contains("0x");
    let long = value.len() > KEYED_BYTES_MAX;
    if hints.address && letters >= 3 && words >= 2 && (numbered || words <= 8) && !other && !long {
        hits.push(hit(text, 0, text.len()));
    }
}

fn hit(text: &str, start: usize, end: usize) -> Hit {
    let address = text.get(start..end).unwrap_or_default();
    let value = canonical(Kind::Address.word(), address);
    Hit::new(start, end, Kind::Address, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<&str> {
        let mut hits = Vec::new();
        find(text, &mut hits).unwrap();
        hits.iter()
            .filter_map(|hit| text.get(hit.start..hit.end))
            .collect()
    }

    #[test]
    fn streets_are_known_by_their_words_and_numbers() {
        for (text, expected) in [
            ("to 12 Baker Street, please", Some("12 Baker Street")),
            (
                "at 4120 N. Old Mill Rd Apt 4B today",
                Some("4120 N. Old Mill Rd Apt 4B"),
            ),
            ("wohnt Lindenstraße 7a in Ulm", Some("Lindenstraße 7a")),
            (
                "Unter-den-Eichen-Ring 34/92",
                Some("Unter-den-Eichen-Ring 34/92"),
            ),
            ("naar Keizersgracht 112", Some("Keizersgracht 112")),
            ("till Storgatan 14", Some("Storgatan 14")),
            ("en Calle de la Luna 5", Some("Calle de la Luna 5")),
            ("a Via Roma, 22", Some("Via Roma, 22")),
            ("na ul. Długa 15", Some("ul. Długa 15")),
            ("au 15, rue de Rivoli", Some("15, rue de Rivoli")),
            ("au 15, rue des Lilas", Some("15, rue des Lilas")),
            ("na Rua das Flores 12", Some("Rua das Flores 12")),
            ("P.O. Box 1234", Some("P.O. Box 1234")),
            ("Flat 12a\nOld Mill Lane", Some("Flat 12a\nOld Mill Lane")),
            ("During 1971, sales", None),
            ("walk 5 miles", None),
            ("Via email on Monday 5", None),
            ("3 new ways", None),
            ("version 4 of the drive", None),
        ] {
            assert_eq!(found(text).first().copied(), expected, "{text}");
        }
    }

    #[test]
    fn every_address_has_a_keyword() {
        for text in [
            "12 Baker Street",
            "1 Oak Rd",
            "Lindenstraße 7",
            "Hauptstr. 7",
            "Keizersgracht 112",
            "Calle Luna 5",
            "15 rue de Rivoli",
            "P.O. Box 1234",
            "ul. Długa 15",
            "9 Elm Ct",
        ] {
            let small = text.to_lowercase();
            let keyword = KEYWORDS.iter().any(|word| small.contains(word));
            assert!(keyword || is_numbered(text), "{text}");
            assert!(!found(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn a_key_makes_a_whole_value_an_address() {
        let keyed = |text: &str| {
            let mut hits = Vec::new();
            let hints = Hints {
                address: true,
                ..Hints::NONE
            };
            find_keyed(text, hints, &mut hits);
            !hits.is_empty()
        };
        assert!(keyed("Flat 3, The Old Mill") && keyed("12 Some Place\nTown"));
        for text in [
            "bob@example.com",
            "10.0.0.1",
            "https://example.com/a b",
            "0x52908400",
            "yes",
        ] {
            assert!(!keyed(text), "{text}");
        }
    }
}
