//! Recall by country, on values made from its own forms: names of people by their key, numbers
//! and streets both by their key and in running text.

use serde_json::json;

use super::super::detect::checksum as check;
use super::forge::Dice;
use super::measure::{Case, Planted, Scores};
use super::redactor;

const ROWS: usize = 200;

type Check = fn(&[u8]) -> bool;

struct Locale {
    name: &'static str,
    given: &'static [&'static str],
    family: &'static [&'static str],
    phones: &'static [&'static str],
    /// `@` stands for one of `streets`.
    places: &'static [&'static str],
    streets: &'static [&'static str],
    /// Whether the rules were written for it: floors hold there, the others show what is left.
    known: bool,
    /// The form of a national number, what it is called, its type and its check digits.
    number: (&'static str, &'static str, &'static str, Check),
}

fn any(_: &[u8]) -> bool {
    true
}

const LOCALES: &[Locale] = &[
    Locale {
        name: "en_US",
        known: true,
        given: &["Grace", "Marcus", "Tyler", "Denise"],
        family: &["Whitfield", "O'Rourke", "Nguyen", "Castellanos"],
        phones: &[
            "(!12) !!!-####",
            "!15-!!!-####",
            "+1 !03 !!! ####",
            "!1!.!!!.####",
        ],
        places: &["#!# @ St", "!### N. @ Ave Apt 4B", "1# @ Road"],
        streets: &["Maple", "Old Mill", "Jefferson", "Cedar Hill"],
        number: ("!1!-!!-####", "social security number", "ssn", any),
    },
    Locale {
        name: "en_GB",
        known: true,
        given: &["Imogen", "Alistair", "Nigel", "Siân"],
        family: &["Fairweather", "MacLeod", "Hughes-Jones", "Patel"],
        phones: &[
            "020 7!## ####",
            "0!!1 4## ####",
            "+44 7!## ######",
            "07!## ######",
        ],
        places: &["!# @ Close", "Flat 3, !# @ Road", "1## @ Lane"],
        streets: &["Church", "Victoria", "Mill", "Station"],
        number: (
            "AB !# !# !# C",
            "national insurance number",
            "national_id",
            check::nino,
        ),
    },
    Locale {
        name: "de_DE",
        known: true,
        given: &["Jürgen", "Annegret", "Florian", "Käthe"],
        family: &["Groß", "Müller-Lüdenscheidt", "von Thal", "Krause"],
        phones: &[
            "+49 30 !#######",
            "0!! !######",
            "0171 !######",
            "(089) !## ## ##",
        ],
        places: &["@straße !#", "@weg !a", "@platz 1#"],
        streets: &["Linden", "Goethe", "Birken", "Schiller"],
        number: ("{11#}", "Steuer-ID", "national_id", check::steuer_id),
    },
    Locale {
        name: "fr_FR",
        known: true,
        given: &["Maëlle", "Jean-Luc", "Thierry", "Océane"],
        family: &["Lefèvre", "de la Fontaine", "Dubois", "N'Diaye"],
        phones: &["0! !# !# ## ##", "+33 ! !# !# ## ##", "06.!#.!#.##.##"],
        places: &["!# rue @", "1#, avenue @", "!# bis boulevard @"],
        streets: &["Victor Hugo", "de Rivoli", "des Lilas", "Jean Jaurès"],
        number: (
            "2 8# 0! !5 ### ### ##",
            "numéro de sécurité sociale",
            "national_id",
            check::nir,
        ),
    },
    Locale {
        name: "es_ES",
        known: true,
        given: &["Lucía", "José María", "Íñigo", "Rocío"],
        family: &["García Márquez", "Fernández", "de la Cruz", "Ibáñez"],
        phones: &["+34 6## ### ###", "9!! ### ###", "6## ## ## ##"],
        places: &["Calle @ !#", "Avenida @, 1#", "Plaza @ #"],
        streets: &["de la Luna", "Mayor", "del Sol", "Cervantes"],
        number: ("{8#}Z", "DNI", "national_id", check::dni),
    },
    Locale {
        name: "it_IT",
        known: true,
        given: &["Chiara", "Niccolò", "Giuseppe", "Donatella"],
        family: &["Bianchi", "De Luca", "D'Angelo", "Esposito"],
        phones: &["+39 02 !#######", "06 !#######", "+39 3!# #######"],
        places: &["Via @ !#", "Viale @, 1#", "Piazza @ #"],
        streets: &["Roma", "Garibaldi", "dei Mille", "Dante Alighieri"],
        number: (
            "RSSMRA{2#}A{2#}H{3#}A",
            "codice fiscale",
            "national_id",
            check::codice_fiscale,
        ),
    },
    Locale {
        name: "nl_NL",
        known: true,
        given: &["Sanne", "Joost", "Fleur", "Willem-Jan"],
        family: &["van der Berg", "de Vries", "'t Hart", "Bakker"],
        phones: &["+31 6 !#######", "020-!######", "06-!#######"],
        places: &["@straat !#", "@gracht 1#", "@laan !# a"],
        streets: &["Kerk", "Prinsen", "Beatrix", "Molen"],
        number: ("{9#}", "BSN", "national_id", check::bsn),
    },
    Locale {
        name: "pl_PL",
        known: true,
        given: &["Łucja", "Grzegorz", "Małgorzata", "Jan"],
        family: &["Wróbel", "Kowalska-Nowak", "Żak", "Zieliński"],
        phones: &["+48 !## ### ###", "!## ### ###", "22 !## ## ##"],
        places: &["ul. @ !#", "al. @ 1#/4", "ulica @ #"],
        streets: &["Długa", "Mickiewicza", "Jana Pawła II", "Polna"],
        number: ("{11#}", "PESEL", "national_id", check::pesel),
    },
    Locale {
        name: "sv_SE",
        known: true,
        given: &["Åsa", "Göran", "Linnéa", "Björn"],
        family: &["Öberg", "Lindqvist", "af Klint", "Sjöström"],
        phones: &["08-!## ### ##", "+46 70 !## ## ##", "070-!## ## ##"],
        places: &["@gatan !#", "@vägen 1#", "@torget #"],
        streets: &["Stor", "Kungs", "Björk", "Ny"],
        number: (
            "8#0!1!-####",
            "personnummer",
            "national_id",
            check::personnummer,
        ),
    },
    Locale {
        name: "pt_BR",
        known: true,
        given: &["João", "Conceição", "Thiago", "Beatriz"],
        family: &["da Silva Pereira", "Gonçalves", "dos Santos", "Araújo"],
        phones: &["+55 11 9####-####", "(11) 9####-####", "(21) !###-####"],
        places: &["Rua @ !#", "Avenida @, 1##", "Travessa @ #"],
        streets: &["das Flores", "Paulista", "São João", "Sete de Setembro"],
        number: ("###.###.###-##", "CPF", "national_id", check::cpf),
    },
    Locale {
        name: "cs_CZ",
        known: false,
        given: &["Jiří", "Zdeňka", "Ondřej", "Markéta"],
        family: &["Dvořáková", "Novotný", "Řezníček", "Šťastná"],
        phones: &["+420 !## ### ###", "!## ### ###", "00420 !########"],
        places: &["@ ulice !#", "nám. @ 1#", "@ !##/1#"],
        streets: &["Dlouhá", "Husova", "Míru", "Vinohradská"],
        number: (
            "8#0!1!/####",
            "rodné číslo",
            "national_id",
            check::rodne_cislo,
        ),
    },
    Locale {
        name: "fi_FI",
        known: false,
        given: &["Päivi", "Jukka-Pekka", "Aino", "Veikko"],
        family: &["Mäkinen", "Hämäläinen", "Virtanen", "af Forselles"],
        phones: &["+358 40 !######", "09 !## ####", "044 !######"],
        places: &["@katu !# A 1#", "@tie 1#", "@polku #"],
        streets: &["Manner", "Koivu", "Aleksanterin", "Ranta"],
        number: ("1#0!8#-###^", "henkilötunnus", "national_id", check::hetu),
    },
    Locale {
        name: "hu_HU",
        known: false,
        given: &["Zsófia", "László", "Ágnes", "Gergő"],
        family: &["Szabó", "Kovács-Tóth", "Nagy", "Őry"],
        phones: &["+36 30 !## ####", "06 1 !## ####", "(06-20) !##-####"],
        places: &["@ utca !#.", "@ út 1#", "@ tér #"],
        streets: &["Kossuth Lajos", "Petőfi", "Rákóczi", "Váci"],
        number: ("{3#} {3#} {3#}", "TAJ szám", "national_id", any),
    },
    Locale {
        name: "ja_JP",
        known: false,
        given: &["太郎", "Haruka", "美咲", "Kenji"],
        family: &["Yamamoto", "佐藤", "Watanabe", "鈴木"],
        phones: &["+81 90-!###-####", "03-!###-####", "0120-!##-###"],
        places: &["@ 1-2-#", "@ #丁目1#番地", "1-#-1# @"],
        streets: &["Shibuya", "新宿区西新宿", "Ginza", "Umeda"],
        number: ("{4#} {4#} {4#}", "マイナンバー", "national_id", any),
    },
];

fn placed(kind: &'static str, text: String, value: &str) -> Case {
    let at = text.find(value).unwrap();
    let start = text.split_at(at).0.chars().count();
    let end = start + value.chars().count();
    Case::new(text, vec![Planted::new(kind, start, end)])
}

impl Locale {
    fn person(&self, dice: &mut Dice, row: usize) -> Case {
        let name = format!("{} {}", dice.pick(self.given), dice.pick(self.family));
        let key = ["customer", "full_name", "recipient", "name"][row % 4];
        placed("person", json!({ key: name, "n": row }).to_string(), &name)
    }

    fn phone(&self, dice: &mut Dice, row: usize) -> Case {
        let form = dice.pick(self.phones);
        let value = dice.fill(form);
        let text = match row % 2 {
            0 => json!({"args": {"mobile": value}}).to_string(),
            _ => format!("they left {value} as theirs"),
        };
        placed("phone", text, &value)
    }

    fn address(&self, dice: &mut Dice, row: usize) -> Case {
        let form = dice.pick(self.places);
        let street = dice.pick(self.streets);
        let value = dice.fill(form).replace('@', street);
        let text = match row % 2 {
            0 => json!({"order": {"ship_to": value}}).to_string(),
            _ => format!("the parcel went to {value} today"),
        };
        placed("address", text, &value)
    }

    fn number(&self, dice: &mut Dice, row: usize) -> Case {
        let (form, called, kind, check) = self.number;
        let value = dice.checked(form, check);
        let text = match row % 2 {
            0 => json!({"customer": {called: value}}).to_string(),
            _ => format!("{called}: {value}"),
        };
        placed(kind, text, &value)
    }
}

#[test]
fn values_of_every_country_are_found() {
    eprintln!("| | person | phone | address | national number |");
    let mut all = Vec::new();
    for locale in LOCALES {
        let mut dice = Dice::new(17);
        let mut of = |make: fn(&Locale, &mut Dice, usize) -> Case| {
            let cases: Vec<Case> = (0..ROWS).map(|row| make(locale, &mut dice, row)).collect();
            Scores::of(&redactor(), cases.iter())
        };
        let these = [
            ("person", of(Locale::person), 90),
            ("phone", of(Locale::phone), 85),
            ("address", of(Locale::address), 85),
            (locale.number.2, of(Locale::number), 90),
        ];
        let shown: Vec<String> = these
            .iter()
            .map(|(kind, scores, _)| format!("{:.2}", scores.recall(kind)))
            .collect();
        eprintln!("| {} | {} |", locale.name, shown.join(" | "));
        if locale.known {
            all.extend(these);
        }
    }
    for (kind, scores, floor) in all {
        scores.at_least(kind, floor, 0);
    }
}
