//! The sample policy bundle that `countersign init` leaves, part of the program.

use std::collections::BTreeMap;

macro_rules! bundle {
    ($($path:literal),+ $(,)?) => {
        /// The files of the sample, by their path in the bundle.
        const FILES: &[(&str, &str)] = &[
            $(($path, include_str!(concat!("../policy/", $path)))),+
        ];
    };
}

bundle!(
    "README.md",
    "catalog/crm.toml",
    "catalog/mail.toml",
    "catalog/office.toml",
    "entities.json",
    "policies/billing.cedar",
    "policies/support.cedar",
    "tests/billing.toml",
    "tests/support.toml",
);

/// The files of the sample, by their path in the bundle.
pub(crate) fn files() -> BTreeMap<String, Vec<u8>> {
    FILES
        .iter()
        .map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::{Path, PathBuf};

    fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => walk(&path, found),
                false => found.push(path),
            }
        }
    }

    #[test]
    fn every_file_of_the_folder_is_in_the_program() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("policy");
        let mut found = Vec::new();
        walk(&root, &mut found);
        let mut found: Vec<String> = found
            .iter()
            .map(|path| path.strip_prefix(&root).unwrap().display().to_string())
            .collect();
        found.sort();
        let held: Vec<&str> = FILES.iter().map(|(path, _)| *path).collect();
        assert_eq!(found, held);
    }
}
