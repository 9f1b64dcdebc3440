//! What the archive says afterwards, and what it must not say.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use countersign_audit_query::output::{self, Format};
use countersign_audit_query::{Archive, QueryLimits, Settings};
use serde_json::Value;

use super::{Failed, Running, Story};

/// How often the archive is looked at until everything is in it.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Intents of the story, each with one end.
const INTENTS: u64 = 5;

/// The questions that every audit begins with.
const QUESTIONS: [(&str, &str); 3] = [
    (
        "Who asked?",
        "SELECT requested_at, requester_id, requester_proof AS proof, agent_id, tool_name\n\
         FROM actions ORDER BY requested_at",
    ),
    (
        "Who decided, who acted, and how did it end?",
        "SELECT tool_name, decision, decided_by_kind AS by, decided_by, agent_id, state\n\
         FROM actions ORDER BY requested_at",
    ),
    (
        "What changed?",
        "SELECT agent_id, resource, regexp_replace(c, '.*\"field\":\"([^\"]*)\".*', '\\1') AS field,\n\
         \x20      regexp_replace(c, '.*\"after\":\"([^\"]*)\".*', '\\1') AS after\n\
         FROM (SELECT agent_id, resource, requested_at, unnest(string_to_array(changes, '},{')) AS c\n\
         \x20     FROM actions WHERE changes IS NOT NULL)\n\
         ORDER BY requested_at",
    ),
];

/// What must not be in the archive.
pub(super) struct Planted {
    /// The intent whose input held the secrets.
    pub(super) intent: String,
    /// Each value, with a name for it.
    pub(super) values: Vec<(&'static str, String)>,
}

/// An open archive.
struct Reader {
    archive: Archive,
    limits: QueryLimits,
}

impl Reader {
    fn open(settings: &Settings) -> anyhow::Result<Self> {
        Ok(Self {
            archive: Archive::open(&settings.place, settings.pinned.clone())?,
            limits: settings.limits,
        })
    }

    async fn answer(&self, sql: &str, format: Format) -> anyhow::Result<String> {
        let answer = self.archive.query(sql, self.limits).await?;
        Ok(String::from_utf8(output::write(&answer, format)?)?)
    }

    async fn rows(&self, sql: &str) -> anyhow::Result<Vec<Value>> {
        Ok(serde_json::from_str(
            &self.answer(sql, Format::Json).await?,
        )?)
    }
}

/// Waits for the archive, searches it for what was planted, and asks it three questions.
pub(super) async fn archive(
    running: &Running,
    planted: &Planted,
    story: &Story,
) -> Result<(), Failed> {
    story.part("6  The archive: everything that happened, and nothing that must not be there.");
    let reader = story
        .step("everything is archived", all_archived(running, story))
        .await?;
    let root = running.stack.config().audit_archiver.dir.clone();
    story
        .step(
            "no planted value is in the archive",
            searched(&reader, &root, planted, story),
        )
        .await?;
    for (question, sql) in QUESTIONS {
        story.part(question);
        story.command(sql);
        let table = story
            .step(question, reader.answer(sql, Format::Table))
            .await?;
        story.plain(&table);
    }
    Ok(())
}

async fn all_archived(running: &Running, story: &Story) -> anyhow::Result<Reader> {
    let settings = Settings::from_config(running.stack.config())?;
    let sql = "SELECT count(*) AS n FROM events \
               WHERE event IN ('tool.completed', 'tool.blocked')";
    loop {
        if let Ok(reader) = Reader::open(&settings) {
            let rows = reader.rows(sql).await?;
            let ends = rows.first().and_then(|row| row.get("n"));
            let ends = ends.and_then(Value::as_u64).unwrap_or_default();
            ensure!(
                ends <= INTENTS,
                "{ends} ends of {INTENTS} intents are archived"
            );
            if ends == INTENTS {
                told_of_rows(&reader, story).await?;
                return Ok(reader);
            }
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

async fn told_of_rows(reader: &Reader, story: &Story) -> anyhow::Result<()> {
    let sql = "SELECT count(*) AS n, count(DISTINCT stream || incarnation || \
               CAST(seq AS VARCHAR)) AS d FROM events";
    let rows = reader.rows(sql).await?;
    let row = rows
        .first()
        .context("the archive does not count its rows")?;
    let count = |name: &str| row.get(name).and_then(Value::as_u64);
    ensure!(
        count("n") == count("d"),
        "an event is archived twice: {row}"
    );
    let n = count("n").unwrap_or_default();
    story.line(
        "archiver",
        &format!("{n} events as redacted Parquet, each exactly once, under a signed manifest"),
    );
    Ok(())
}

/// Looks for every planted value in every cell and in every raw byte.
async fn searched(
    reader: &Reader,
    root: &Path,
    planted: &Planted,
    story: &Story,
) -> anyhow::Result<()> {
    let cells = reader.answer("SELECT * FROM events", Format::Json).await?;
    let files = files_below(root)?;
    let mut bytes = 0;
    for file in &files {
        let raw = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        bytes += raw.len();
        if let Some(name) = found(&raw, planted) {
            bail!("{name} is in {}", file.display());
        }
    }
    if let Some(name) = found(cells.as_bytes(), planted) {
        bail!("{name} is in a cell of the archive");
    }
    story.checked(&format!(
        "{} planted values (PIN, token, names, addresses) searched in every cell of SQL and \
         in {bytes} raw bytes of {} files: none found",
        planted.values.len(),
        files.len()
    ));
    shown_redacted(reader, planted, story).await
}

/// A search that finds nothing proves nothing unless the row is there, redacted.
async fn shown_redacted(reader: &Reader, planted: &Planted, story: &Story) -> anyhow::Result<()> {
    let sql = format!(
        "SELECT input_redacted FROM actions WHERE intent_id = '{}'",
        planted.intent
    );
    let rows = reader.rows(&sql).await?;
    let input = rows.first().and_then(|row| row.get("input_redacted"));
    let input = input.and_then(Value::as_str);
    let input = input.context("the input with the secrets is not in the archive")?;
    ensure!(
        input.matches("[secret:").count() == 2 && input.contains("[phone:"),
        "the secrets were not replaced: {input}"
    );
    story.checked(&format!("what stands there instead: {input}"));
    Ok(())
}

fn found(haystack: &[u8], planted: &Planted) -> Option<&'static str> {
    let holds = |needle: &[u8]| {
        haystack
            .windows(needle.len())
            .any(|window| window == needle)
    };
    planted
        .values
        .iter()
        .find(|(_, value)| holds(value.as_bytes()))
        .map(|(name, _)| *name)
}

fn files_below(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        let entries = std::fs::read_dir(&dir);
        for entry in entries.with_context(|| format!("cannot read {}", dir.display()))? {
            let entry = entry?;
            match entry.file_type()?.is_dir() {
                true => open.push(entry.path()),
                false => files.push(entry.path()),
            }
        }
    }
    ensure!(
        !files.is_empty(),
        "there is no file below {}",
        dir.display()
    );
    Ok(files)
}

/// Where everything lies and how to go on from here.
pub(super) fn closing_words(running: &Running, keep: bool, story: &Story) {
    let dir = running.place.dir().display().to_string();
    let archive = running.stack.config().audit_archiver.dir.display();
    let archive = archive.to_string();
    let seconds = story.elapsed().as_secs_f64();
    story.part(&format!("Every step went as told, in {seconds:.1} s."));
    story.plain(&format!(
        "Parquet and manifest  {archive}\n\
         policy, keys, creds   {dir}\n\
         log of nats-server    {}",
        running.stack.server_log().display()
    ));
    story.part("To look further:");
    for command in looking(&dir, &archive) {
        story.command(&command);
    }
    if keep {
        story.part("It keeps running until Ctrl-C. In another terminal:");
        for command in trying(&dir) {
            story.command(&command);
        }
    } else {
        story.command("countersign demo --keep            # leaves it running, to try more");
        story.command(&format!("rm -r {dir}"));
    }
}

fn looking(dir: &str, archive: &str) -> [String; 2] {
    [
        format!("countersign audit query --archive {archive} \"SELECT * FROM actions\""),
        format!("countersign audit verify --dir {dir}"),
    ]
}

fn trying(dir: &str) -> [String; 5] {
    [
        format!(
            "countersign request --dir {dir} --agent ops --tool docs.search \\\n    \
             --input '{{\"query\":\"returns\"}}' --requester dana --wait 10"
        ),
        format!(
            "countersign request --dir {dir} --agent support --tool mail.send \\\n    \
             --input '{{\"to\":[\"you@elsewhere.example\"],\"subject\":\"Hello\",\"body\":\"Hi\"}}' \\\n    \
             --requester dana --wait 60"
        ),
        format!("countersign approvals list --dir {dir} --as lee"),
        format!("countersign approvals approve --dir {dir} --as lee ID"),
        format!("countersign doctor --dir {dir}"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planted() -> Planted {
        Planted {
            intent: "i".to_owned(),
            values: vec![("the PIN", "123456789012".to_owned())],
        }
    }

    #[test]
    fn a_planted_value_is_found_wherever_it_stands() {
        for (bytes, expected) in [
            (&b"..123456789012.."[..], Some("the PIN")),
            (b"123456789012", Some("the PIN")),
            (b"12345678901", None),
            (b"", None),
            (b"\xff\x00123456789012", Some("the PIN")),
        ] {
            assert_eq!(found(bytes, &planted()), expected);
        }
    }

    #[test]
    fn every_file_is_read_and_an_empty_archive_is_no_proof() {
        let dir = tempfile::tempdir().unwrap();
        assert!(files_below(dir.path()).is_err());
        let deep = dir.path().join("a/b");
        std::fs::create_dir_all(&deep).unwrap();
        std::fs::write(deep.join("x.parquet"), "x").unwrap();
        std::fs::write(dir.path().join("manifest"), "x").unwrap();
        assert_eq!(files_below(dir.path()).unwrap().len(), 2);
        assert!(files_below(&dir.path().join("none")).is_err());
    }
}
