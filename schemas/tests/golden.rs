//! Golden bytes of every event in both encodings, and compatibility between versions.
//!
//! The golden files are a promise to readers that exist: a test that fails here says that
//! the wire form changed. `COUNTERSIGN_WRITE_GOLDEN=1 cargo test --test golden` writes the
//! files anew; the difference belongs into review.

#[cfg(test)]
#[path = "golden/samples/mod.rs"]
mod samples;

#[cfg(test)]
mod checks {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    use apache_avro::Schema;
    use apache_avro::schema_compatibility::{Compatibility, SchemaCompatibility};
    use countersign_schemas::events::ALL;

    use super::samples::{Sample, all};

    fn crate_dir() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR"))
    }

    fn golden(sample: &Sample, extension: &str) -> PathBuf {
        crate_dir().join(format!("golden/{}/v1.{extension}", sample.event))
    }

    fn compare(sample: &Sample, extension: &str, written: &[u8]) {
        let path = golden(sample, extension);
        if std::env::var_os("COUNTERSIGN_WRITE_GOLDEN").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, written).unwrap();
        }
        let stored = std::fs::read(&path)
            .unwrap_or_else(|error| panic!("{} cannot be read: {error}", path.display()));
        let shown = String::from_utf8_lossy(written).into_owned();
        assert!(stored == written, "{} is not {shown}", path.display());
        (sample.check)(&stored);
    }

    #[test]
    fn every_event_has_a_sample() {
        let sampled: BTreeSet<_> = all().iter().map(|sample| sample.event).collect();
        let known: BTreeSet<_> = ALL.iter().map(|(event, _)| *event).collect();
        assert_eq!(sampled, known);
    }

    #[test]
    fn samples_equal_their_golden_json() {
        for sample in all() {
            compare(&sample, "json", &sample.json);
        }
    }

    #[test]
    fn samples_equal_their_golden_avro() {
        for sample in all() {
            compare(&sample, "avro", &sample.avro);
        }
    }

    #[test]
    fn samples_are_full() {
        for sample in all() {
            let text = String::from_utf8(sample.json).unwrap();
            let body: serde_json::Value = serde_json::from_str(&text).unwrap();
            let (_, avsc) = ALL
                .iter()
                .find(|(event, _)| *event == sample.event)
                .unwrap();
            let schema: serde_json::Value = serde_json::from_str(avsc).unwrap();
            for field in schema["fields"].as_array().unwrap() {
                let name = field["name"].as_str().unwrap();
                assert!(
                    body.get(name).is_some(),
                    "{}: `{name}` is absent",
                    sample.event
                );
            }
            let fields = schema["fields"].as_array().unwrap().len();
            assert_eq!(body.as_object().unwrap().len(), fields, "{}", sample.event);
        }
    }

    /// Every stored version of an event's schema.
    fn versions(event: &str) -> Vec<Schema> {
        let folder = crate_dir().join("avro").join(event);
        let mut files: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        files
            .iter()
            .map(|file| Schema::parse_str(&std::fs::read_to_string(file).unwrap()).unwrap())
            .collect()
    }

    #[test]
    fn every_version_reads_every_other() {
        for (event, _) in ALL {
            let versions = versions(event);
            assert!(!versions.is_empty(), "{event}");
            for writer in &versions {
                for reader in &versions {
                    let verdict = SchemaCompatibility::can_read(writer, reader);
                    assert!(
                        matches!(verdict, Ok(Compatibility::Full | Compatibility::Partial)),
                        "{event}: {verdict:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_compatibility_check_sees_a_field_without_default() {
        let schema = |fields: &str| {
            let text = format!(r#"{{"type":"record","name":"R","fields":[{fields}]}}"#);
            Schema::parse_str(&text).unwrap()
        };
        let old = schema(r#"{"name":"a","type":"string"}"#);
        let fine = schema(
            r#"{"name":"a","type":"string"},{"name":"b","type":["null","long"],"default":null}"#,
        );
        let broken = schema(r#"{"name":"a","type":"string"},{"name":"b","type":"long"}"#);
        assert!(SchemaCompatibility::mutual_read(&old, &fine).is_ok());
        assert!(SchemaCompatibility::mutual_read(&old, &broken).is_err());
    }

    #[test]
    fn the_schemas_and_the_events_are_the_same_set() {
        let folders: BTreeSet<String> = std::fs::read_dir(crate_dir().join("avro"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        let events: BTreeSet<String> = ALL.iter().map(|(event, _)| (*event).to_owned()).collect();
        assert_eq!(folders, events);
    }
}
