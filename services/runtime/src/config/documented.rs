//! Sections whose documentation, defaults and example cannot drift apart.
//!
//! One macro writes the struct, its default and the list from which the example is
//! generated: a field without a sentence or a default does not compile.

/// One setting, as the example shows it.
pub(super) struct Field {
    pub(super) key: &'static str,
    pub(super) doc: &'static [&'static str],
    /// What to show, commented out, where the default is "not set".
    pub(super) example: Option<&'static str>,
}

/// A section that can be written out with its documentation.
pub(super) trait Section: serde::Serialize + Default {
    const HEAD: &'static [&'static str];
    const FIELDS: &'static [Field];
}

macro_rules! section {
    (
        $(#[doc = $head:literal])+
        $name:ident {
            $(
                $(#[doc = $doc:literal])+
                $field:ident: $type:ty = $default:expr $(, example $example:literal)?;
            )+
        }
    ) => {
        $(#[doc = $head])+
        #[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name {
            $($(#[doc = $doc])+ pub $field: $type,)+
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default),+ }
            }
        }

        impl super::documented::Section for $name {
            const HEAD: &'static [&'static str] = &[$($head),+];
            const FIELDS: &'static [super::documented::Field] = &[$(
                super::documented::Field {
                    key: stringify!($field),
                    doc: &[$($doc),+],
                    example: section!(@example $($example)?),
                }
            ),+];
        }
    };
    (@example) => { None };
    (@example $example:literal) => { Some($example) };
}
pub(super) use section;

/// Writes a section as TOML: each setting under its sentences, the default as its value.
/// With `optional`, the whole section is commented out.
pub(super) fn write_section<S: Section>(name: &str, optional: bool, out: &mut String) {
    for line in S::HEAD {
        push(out, "#", line);
    }
    let off = if optional { "# " } else { "" };
    out.push_str(&format!("{off}[{name}]\n"));
    let defaults = toml::Table::try_from(S::default()).unwrap_or_default();
    for field in S::FIELDS {
        let value = defaults.get(field.key).filter(|value| !value.is_table());
        let line = match (value, field.example) {
            (Some(value), _) => format!("{off}{} = {value}\n", field.key),
            (None, Some(example)) => format!("# {} = {example}\n", field.key),
            // A section of its own.
            (None, None) => continue,
        };
        for sentence in field.doc {
            push(out, "#", sentence);
        }
        out.push_str(&line);
    }
    out.push('\n');
}

fn push(out: &mut String, mark: &str, line: &str) {
    out.push_str(mark);
    out.push_str(line.trim_end());
    out.push('\n');
}
