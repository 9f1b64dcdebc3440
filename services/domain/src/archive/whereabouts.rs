//! Where a bad place is, for programs.

use serde::Serialize;

use super::verify::BadPlace;

/// A bad place as a program reads it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Whereabouts {
    /// What is wrong, as a stable word.
    pub kind: &'static str,
    /// The manifest entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entry: Option<u64>,
    /// The file or tile, relative to the archive's root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The row, as it is numbered in the whole archive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub row: Option<u64>,
}

impl BadPlace {
    /// Where it is.
    #[must_use]
    pub fn whereabouts(&self) -> Whereabouts {
        let (kind, entry, path, row) = match self {
            Self::Entry { n, .. } => ("entry", Some(*n), None, None),
            Self::Missing { n, .. } => ("entry_missing", Some(*n), None, None),
            Self::Number { n, .. } => ("entry_number", Some(*n), None, None),
            Self::Link { n, .. } => ("entry_link", Some(*n), None, None),
            Self::Ledger { n, .. } => ("entry_ledger", Some(*n), None, None),
            Self::TailCut { end, .. } | Self::RowsCut { end, .. } => {
                ("tail_cut", Some(end.saturating_add(1)), None, None)
            }
            Self::Rewritten { n, .. } | Self::OtherRows { n, .. } => {
                ("rewritten", Some(*n), None, None)
            }
            Self::Checkpoint { .. } => ("checkpoint", None, Some("checkpoint"), None),
            Self::TileMissing { path } => ("tile_missing", None, Some(path.as_str()), None),
            Self::TileChanged { path } => ("tile_changed", None, Some(path.as_str()), None),
            Self::FileMissing { n, path } => ("file_missing", Some(*n), Some(path.as_str()), None),
            Self::FileChanged { n, path, row, .. } => {
                ("file_changed", Some(*n), Some(path.as_str()), *row)
            }
            Self::Tree { n } => ("tree", Some(*n), None, None),
            Self::Row { leaf, .. } => ("row", None, None, Some(*leaf)),
            Self::FileRows { n, path, .. } => ("file_rows", Some(*n), Some(path.as_str()), None),
        };
        Whereabouts {
            kind,
            entry,
            path: path.map(str::to_owned),
            row,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_told_without_what_it_lacks() {
        let tile = BadPlace::TileChanged {
            path: "tile/0/000".to_owned(),
        };
        assert_eq!(
            serde_json::to_value(tile.whereabouts()).unwrap(),
            serde_json::json!({"kind": "tile_changed", "path": "tile/0/000"})
        );
        let cut = BadPlace::TailCut {
            end: 2,
            n: 5,
            witness: "x".to_owned(),
        };
        let told = cut.whereabouts();
        assert_eq!(
            (told.kind, told.entry, told.row),
            ("tail_cut", Some(3), None)
        );
    }
}
