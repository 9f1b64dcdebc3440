//! A bundle's files as one text, to be sent and kept.

use std::collections::BTreeMap;

use countersign_schemas::json;

/// Bytes of a packed bundle: the largest bundle with every line end and quote escaped.
pub const PACKED_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Why files cannot be packed, or bytes are no packed bundle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// A file is not text.
    #[error("`{file}` is not UTF-8 text; save it as UTF-8")]
    NotText {
        /// Which, inside the bundle.
        file: String,
    },
    /// It is larger than any that is kept.
    #[error("the bundle has more than {PACKED_BYTES_MAX} bytes when packed; split the deployment")]
    TooLarge,
    /// The bytes are something else.
    #[error("this is no packed bundle: a JSON object of paths and texts")]
    NotPacked,
}

/// The files of a bundle, by relative path, as one JSON object.
///
/// # Errors
/// When a file is not UTF-8 text, or it becomes too large.
pub fn pack(files: &BTreeMap<String, Vec<u8>>) -> Result<Vec<u8>, PackError> {
    let text = |(path, bytes): (&String, &Vec<u8>)| match std::str::from_utf8(bytes) {
        Ok(text) => Ok((path.clone(), text.to_owned())),
        Err(_) => Err(PackError::NotText { file: path.clone() }),
    };
    let texts: BTreeMap<String, String> = files.iter().map(text).collect::<Result<_, _>>()?;
    let packed = serde_json::to_vec(&texts).map_err(|_| PackError::NotPacked)?;
    match packed.len() <= PACKED_BYTES_MAX {
        true => Ok(packed),
        false => Err(PackError::TooLarge),
    }
}

/// The files in a packed bundle. They are not judged: [`super::Bundle::from_files`] does.
///
/// # Errors
/// When the bytes are too many, or not an object of texts; a path that stands twice is
/// refused, since readers would differ about which one counts.
pub fn unpack(packed: &[u8]) -> Result<BTreeMap<String, Vec<u8>>, PackError> {
    if packed.len() > PACKED_BYTES_MAX {
        return Err(PackError::TooLarge);
    }
    json::check_strict(packed).map_err(|_| PackError::NotPacked)?;
    let texts: BTreeMap<String, String> =
        serde_json::from_slice(packed).map_err(|_| PackError::NotPacked)?;
    let files = texts.into_iter();
    Ok(files
        .map(|(path, text)| (path, text.into_bytes()))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_packed_comes_out_byte_for_byte(
            files in prop::collection::btree_map("[a-z/.]{1,12}", ".{0,40}", 0..8)
        ) {
            let files: BTreeMap<String, Vec<u8>> = files
                .into_iter()
                .map(|(path, text)| (path, text.into_bytes()))
                .collect();
            prop_assert_eq!(unpack(&pack(&files).unwrap()).unwrap(), files);
        }

        #[test]
        fn other_bytes_are_refused_and_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if serde_json::from_slice::<BTreeMap<String, String>>(&bytes).is_err() {
                prop_assert_eq!(unpack(&bytes), Err(PackError::NotPacked));
            }
        }
    }

    #[test]
    fn doubled_paths_other_shapes_and_files_that_are_no_text_are_refused() {
        for bad in [
            &br#"{"a":"x","a":"y"}"#[..],
            br#"{"a":1}"#,
            br#"["a"]"#,
            b"",
            b"\xff",
        ] {
            assert_eq!(unpack(bad), Err(PackError::NotPacked));
        }
        let broken = BTreeMap::from([("policies/a.cedar".to_owned(), vec![0xff])]);
        let error = pack(&broken).unwrap_err();
        assert!(error.to_string().contains("policies/a.cedar"), "{error}");
        let large = BTreeMap::from([("a.md".to_owned(), vec![b'x'; PACKED_BYTES_MAX])]);
        assert_eq!(pack(&large), Err(PackError::TooLarge));
        assert_eq!(
            unpack(&vec![b' '; PACKED_BYTES_MAX + 1]),
            Err(PackError::TooLarge)
        );
    }
}
