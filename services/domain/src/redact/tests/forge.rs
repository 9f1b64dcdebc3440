//! Values of every type, made from the published formats by a seeded generator.

use std::fmt::Write as _;

/// A small generator of numbers; the same seed gives the same values for ever.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `bound` (SplitMix64).
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % bound as u64).unwrap()
    }

    pub(super) fn pick<'a, T: ?Sized>(&mut self, list: &[&'a T]) -> &'a T {
        list[self.below(list.len())]
    }

    /// `#` becomes a digit, `?` a letter or digit, `%` a hex digit, `^` one of base32, `!` a
    /// digit above 1, `_` inside braces nothing: `{36?}` is `?` 36 times.
    pub(super) fn fill(&mut self, form: &str) -> String {
        const ALNUM: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        let mut out = String::new();
        let mut rest = form;
        while let Some(c) = rest.chars().next() {
            let (times, sign, length) = match rest.strip_prefix('{').and_then(|r| r.split_once('}'))
            {
                Some((inner, _)) if inner.len() > 1 => {
                    let (count, sign) = inner.split_at(inner.len() - 1);
                    (
                        count.parse().unwrap(),
                        sign.chars().next().unwrap(),
                        inner.len() + 2,
                    )
                }
                _ => (1, c, c.len_utf8()),
            };
            for _ in 0..times {
                out.push(match sign {
                    '#' => char::from(b"0123456789"[self.below(10)]),
                    '!' => char::from(b"23456789"[self.below(8)]),
                    '?' => char::from(ALNUM[self.below(ALNUM.len())]),
                    '%' => char::from(b"0123456789abcdef"[self.below(16)]),
                    '^' => char::from(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[self.below(32)]),
                    '&' => char::from(b"abcdefghijklmnopqrstuvwxyz"[self.below(26)]),
                    other => other,
                });
            }
            rest = rest.split_at(length).1;
        }
        out
    }

    /// Fills forms until one passes the check.
    pub(super) fn checked(&mut self, form: &str, check: impl Fn(&[u8]) -> bool) -> String {
        loop {
            let value = self.fill(form);
            let compact: Vec<u8> = value.bytes().filter(u8::is_ascii_alphanumeric).collect();
            if check(&compact) {
                return value;
            }
        }
    }
}

pub(super) fn email(dice: &mut Dice) -> String {
    let local = [
        "&&&&&",
        "{4&}.{6&}",
        "{3&}+{5&}",
        "{6&}##",
        "o'{5&}",
        "{3&}_{4&}",
    ];
    let domain = [
        "{7&}.co.uk",
        "mail.{6&}.io",
        "{5&}.com.br",
        "{8&}.museum",
        "{4&}-{4&}.org",
    ];
    let (local, domain) = (dice.pick(&local), dice.pick(&domain));
    dice.fill(&format!("{local}@{domain}"))
}

pub(super) fn card(dice: &mut Dice) -> String {
    let forms = [
        "4{15#}",
        "4### #### #### ####",
        "51## #### #### ####",
        "55{14#}",
        "2221{12#}",
        "37## ###### #####",
        "34{13#}",
        "6011-####-####-####",
        "65## #### #### ####",
        "3528{12#}",
        "36{12#}",
        "6304{8#}",
        "6759{15#}",
        "4{12#}",
        "62{17#}",
        "5018 #### ####",
    ];
    let form = dice.pick(&forms);
    dice.checked(form, super::super::detect::checksum::luhn)
}

pub(super) fn iban(dice: &mut Dice) -> String {
    let forms = [
        ("AT", "{16#}"),
        ("BE", "{12#}"),
        ("CH", "{5#}{12#}"),
        ("CZ", "{20#}"),
        ("DK", "{14#}"),
        ("EE", "{16#}"),
        ("GR", "{7#}{16#}"),
        ("IE", "^^^^{14#}"),
        ("LU", "{16#}"),
        ("NO", "{11#}"),
        ("PT", "{21#}"),
        ("TR", "{22#}"),
        ("SA", "{20#}"),
        ("MT", "^^^^{5#}{18#}"),
    ];
    let (country, form) = forms[dice.below(forms.len())];
    let body = dice.fill(form);
    let value = |check: usize| format!("{country}{check:02}{body}");
    let compact = (2..99)
        .map(value)
        .find(|iban| super::super::detect::checksum::iban(iban))
        .unwrap();
    match dice.below(3) {
        0 => compact,
        style => {
            let join = if style == 1 { " " } else { "-" };
            let chars: Vec<char> = compact.chars().collect();
            let groups: Vec<String> = chars.chunks(4).map(|g| g.iter().collect()).collect();
            groups.join(join)
        }
    }
}

pub(super) fn ssn(dice: &mut Dice) -> String {
    let (area, group) = (1 + dice.below(665), 1 + dice.below(99));
    let join = dice.pick(&["-", " "]);
    let serial = 1 + dice.below(9999);
    format!("{area:03}{join}{group:02}{join}{serial:04}")
}

pub(super) fn ip(dice: &mut Dice) -> String {
    match dice.below(4) {
        0 | 1 => {
            let octets: Vec<String> = (0..4).map(|_| dice.below(256).to_string()).collect();
            octets.join(".")
        }
        2 => {
            let groups: Vec<String> = (0..8).map(|_| dice.fill("a%%%")).collect();
            groups.join(":")
        }
        _ => dice.fill("2001:db8:%%%%::%%%a:1"),
    }
}

/// National numbers as people write them in countries that the open sets do not have.
pub(super) fn phone(dice: &mut Dice) -> String {
    let forms = [
        "+61 2 !### ####",
        "(02) !### ####",
        "+91 !#### #####",
        "+55 11 9####-####",
        "03-!###-####",
        "044 !## ## ##",
        "+47 !! ## ## ##",
        "0475 !# ## ##",
        "+351 91# ### ###",
        "+81-90-!###-####",
        "(312) 5!#-####",
        "!1!-!!!-####",
        "+1 (6!!) !!!-####",
        "0043 1 !######",
        "+420 !## ### ###",
        "+358 40 !######",
        "+27 82 !## ####",
        "+65 6### ####",
        "021 !## ####",
        "01 !## ## ## ##",
    ];
    let form = dice.pick(&forms);
    dice.fill(form)
}

/// Formats as their providers publish them.
pub(super) fn secret(dice: &mut Dice) -> String {
    let forms = [
        "AKIA{16^}",
        "ASIA{16^}",
        "ghp_{36?}",
        "gho_{36?}",
        "ghs_{36?}",
        "github_pat_{22?}_{59?}",
        "glpat-{20?}",
        "glrt-{20?}",
        "xoxb-{12#}-{12#}-{24?}",
        "xapp-1-A{10^}-{13#}-{64%}",
        "sk_live_{24?}",
        "rk_live_{24?}",
        "npm_{36?}",
        "pypi-AgEIcHlwaS5vcmc{60?}",
        "AIza{35?}",
        "sk-ant-api03-{93?}AA",
        "sk-proj-{40?}T3BlbkFJ{40?}",
        "SG.{22?}.{43?}",
        "SK{32%}",
        "hf_{34?}",
        "dop_v1_{64%}",
        "dapi{32%}",
        "shpat_{32%}",
        "sq0atp-{22?}",
        "lin_api_{40?}",
        "{10#}:AA{33?}",
        "dp.pt.{43?}",
        "hvs.{24?}",
        "AGE-SECRET-KEY-1{58^}",
        "GOCSPX-{28?}",
        "ya29.{60?}",
        "rubygems_{48%}",
        "PMAK-{24%}-{34%}",
        "figd_{40?}",
        "glsa_{32?}_{8%}",
        "NRAK-{27^}",
        "sntrys_{64?}",
        "tskey-auth-{12?}-{20?}",
        "pul-{40%}",
        "dckr_pat_{27?}",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI{20?}In0.{43?}",
        "xkeysib-{64%}-{16?}",
        "key-{32%}",
        "whsec_{32?}",
        "{14?}.atlasv1.{64?}",
        "ATATT3xFfGF0{180?}",
        "sgp_{40%}",
        "rdme_{70%}",
        "pnu_{36?}",
    ];
    let form = dice.pick(&forms);
    dice.fill(form)
}

pub(super) fn pem(dice: &mut Dice, label: &str) -> String {
    let mut out = format!("-----BEGIN {label}-----\n");
    for _ in 0..4 {
        let line = dice.fill("{64?}");
        writeln!(out, "{line}").unwrap();
    }
    write!(out, "-----END {label}-----").unwrap();
    out
}

pub(super) fn national_id(dice: &mut Dice) -> String {
    use super::super::detect::checksum as check;
    let day = |dice: &mut Dice| format!("{:02}", 1 + dice.below(28));
    let month = |dice: &mut Dice| format!("{:02}", 1 + dice.below(12));
    let (day, month) = (day(dice), month(dice));
    type Check = fn(&[u8]) -> bool;
    let forms: [(String, Check); 14] = [
        ("###.###.###-##".to_owned(), check::cpf),
        ("##.###.###/####-##".to_owned(), check::cnpj),
        (format!("##{month}{day}-####"), check::personnummer),
        (format!("1 ## {month} ## ### ### ##"), check::nir),
        ("!### #### ####".to_owned(), check::aadhaar),
        ("756.####.####.##".to_owned(), check::ahv),
        (format!("##{month}{day}/####"), check::rodne_cislo),
        (format!("##.{month}.{day}-###.##"), check::belgian),
        ("20-########-#".to_owned(), check::cuit),
        (format!("##{month}{day}-1######"), check::korean),
        (format!("AB {day} {month} {day} C"), check::nino),
        ("########Z".to_owned(), check::dni),
        ("X#######L".to_owned(), check::dni),
        ("1-####-#####-##-#".to_owned(), check::thai),
    ];
    let (form, check) = &forms[dice.below(forms.len())];
    dice.checked(form, check)
}

/// What resembles a value and is none.
pub(super) fn innocent(dice: &mut Dice) -> String {
    let forms = [
        "{8%}-{4%}-4{3%}-a{3%}-{12%}",
        "17{11#}",
        "17{14#}",
        "17{17#}",
        "{40%}",
        "{64%}",
        "ORD-{10#}",
        "PO-{6#}",
        "INV/2026/{5#}",
        "#.##.#",
        "v#.#.##",
        "2026-0!-1#T1#:2#:3#Z",
        "{5#}.{2#}",
        "{7%}",
        "tok_email_{26&}",
        "JIRA-{4#}",
        "{24%}",
        "s3://{6&}/{5&}/{4#}.json",
        "#{6%}",
        "{6#}",
        "{2#}%",
        "/v1/{5&}/{6#}",
        "{4&}_{5&}_{3#}",
        "req_{8%}",
        "1#:##:##",
        "{3#},{3#}.{2#}",
        "{5&}-{3&}-{2#}",
        "sha256:{64%}",
        "{9&} {6&} {4&}",
        "{4#}x{3#}",
        "99{3#}{4&}",
        "2026-W1#",
        "build {4#}",
    ];
    let form = dice.pick(&forms);
    dice.fill(form)
}
