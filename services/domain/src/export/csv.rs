//! Fields of a CSV file as RFC 4180 has them, none of which a spreadsheet takes for a
//! formula.

/// What ends a line.
pub const LINE_END: &str = "\r\n";
/// What stands before a text that a spreadsheet would run or change, and before a text
/// that begins with this mark itself: taking one off gives every text back.
pub const MARK: char = '\'';

/// A text as a field. An empty text is quoted, so that it is not an absent value, which is
/// nothing at all.
#[must_use]
pub fn text(text: &str) -> String {
    let marked = text.starts_with(is_formula);
    let quoted = marked || text.is_empty() || text.contains(['"', ',', '\r', '\n']);
    if !quoted {
        return text.to_owned();
    }
    let mark = if marked { "'" } else { "" };
    format!("\"{mark}{}\"", text.replace('"', "\"\""))
}

/// With what spreadsheets begin a formula, wide forms included, and what they skip before
/// one; and the mark.
fn is_formula(first: char) -> bool {
    matches!(
        first,
        '=' | '+' | '-' | '@' | '＝' | '＋' | '－' | '＠' | '\t' | '\r' | '\n' | MARK
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a reader of RFC 4180 makes of a field.
    fn read(field: &str) -> String {
        let inner = field
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'));
        let told = inner.map_or_else(|| field.to_owned(), |inner| inner.replace("\"\"", "\""));
        told.strip_prefix(MARK).map(str::to_owned).unwrap_or(told)
    }

    #[test]
    fn what_a_spreadsheet_would_run_is_a_text() {
        for (given, field) in [
            ("plain", "plain"),
            ("", "\"\""),
            ("a,b", "\"a,b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("two\nlines", "\"two\nlines\""),
            ("=1+1", "\"'=1+1\""),
            ("+49 30", "\"'+49 30\""),
            ("-1", "\"'-1\""),
            ("@SUM(A1)", "\"'@SUM(A1)\""),
            ("\t=1", "\"'\t=1\""),
            ("＝cmd", "\"'＝cmd\""),
            ("'quoted", "\"''quoted\""),
            ("a=1", "a=1"),
        ] {
            assert_eq!(text(given), field);
            assert_eq!(read(field), given);
        }
    }

    proptest! {
        #[test]
        fn every_text_comes_back(given in any::<String>()) {
            let field = text(&given);
            prop_assert_eq!(read(&field), given);
            let bare = field.strip_prefix('"').unwrap_or(&field);
            prop_assert!(!bare.starts_with(['=', '+', '-', '@', '\t', '\r']));
        }
    }
}
