//! `cs.policy.push.<operator>`: a bundle is uploaded in parts, checked as a whole, kept,
//! and put in force by one compare-and-set. Whatever fails changes nothing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use countersign_domain::policy::protocol::{KeptBundle, PushReply, PushRequest, Refused};
use countersign_domain::policy::{
    Bundle, LintFinding, LintLevel, LintLimits, Problem, lint, unpack,
};
use countersign_runtime::policy::shelf::{Kept, PART_BYTES_MAX, PARTS_MAX, Published, ShelfError};
use countersign_schemas::{Digest, PersonId, json};

use crate::checker::Checker;
use crate::desk::Refusal;

/// Bytes of one request: a part as base64, and a little around it.
const REQUEST_BYTES_MAX: usize = PART_BYTES_MAX / 3 * 4 + 8 * 1024;
/// Problems in one answer: it must fit a message, and nobody mends more at a time.
const PROBLEMS_MAX: usize = 500;

/// A bundle that passed every check.
struct Sound {
    tests: usize,
}

/// A sound bundle that is to be put in force.
struct Next {
    kept: Kept,
    packed: Vec<u8>,
    tests: usize,
}

impl Checker {
    /// Answers one operator.
    pub(crate) async fn push(&self, request: &async_nats::Message) -> Result<PushReply, Refusal> {
        let operator: PersonId = request
            .subject
            .as_str()
            .rsplit('.')
            .next()
            .and_then(|token| token.parse().ok())
            .ok_or_else(|| Refusal::bad("the subject names no operator"))?;
        match read(&request.payload)? {
            PushRequest::Status {} => self.status().await,
            PushRequest::Part { data } => self.part(&data).await,
            PushRequest::Publish {
                digest,
                parts,
                replaces,
            } => self.publish(operator, digest, &parts, replaces).await,
            PushRequest::Rollback { digest, replaces } => {
                self.roll_back(operator, digest, replaces).await
            }
            PushRequest::Read { digest, number } => self.read_part(digest, number).await,
        }
    }

    async fn status(&self) -> Result<PushReply, Refusal> {
        let shelf = self.policy().shelf();
        let published = shelf.current().await.map_err(refused)?;
        let published = published.map(|(_, published)| published);
        let kept = shelf.kept().await.map_err(refused)?;
        let one = |kept: Kept| KeptBundle {
            digest: kept.digest,
            bytes: kept.bytes,
            operator: kept.operator,
            at: kept.at,
        };
        let now = self.policy().now();
        Ok(PushReply::Status {
            in_force: now.bundle().ok().map(Bundle::digest),
            at: published.as_ref().map(|published| published.at),
            published: published.as_ref().map(|published| published.digest),
            operator: published.map(|published| published.operator),
            kept: kept.into_iter().map(one).collect(),
        })
    }

    async fn part(&self, data: &str) -> Result<PushReply, Refusal> {
        let bytes = STANDARD
            .decode(data)
            .map_err(|_| Refusal::bad("the part is not base64"))?;
        if bytes.is_empty() || bytes.len() > PART_BYTES_MAX {
            let message = format!("a part has 1 to {PART_BYTES_MAX} bytes");
            return Err(Refusal::new("413", message));
        }
        let stored = self.policy().shelf().upload(Bytes::from(bytes)).await;
        let digest = stored.map_err(refused)?;
        Ok(PushReply::Part { digest })
    }

    async fn publish(
        &self,
        operator: PersonId,
        digest: Digest,
        parts: &[Digest],
        replaces: Option<Digest>,
    ) -> Result<PushReply, Refusal> {
        if parts.is_empty() || parts.len() > PARTS_MAX {
            return Err(Refusal::bad(format!("a bundle has 1 to {PARTS_MAX} parts")));
        }
        let _one_at_a_time = self.pushing().lock().await;
        let shelf = self.policy().shelf();
        let before = self.before().await?;
        replaceable(before.as_ref(), replaces)?;
        let packed = shelf.uploaded(parts).await.map_err(refused)?;
        let (sound, packed) = examined(packed, digest, self.limits()).await?;
        let kept = Kept {
            digest,
            parts: packed.len().div_ceil(PART_BYTES_MAX),
            bytes: packed.len(),
            operator: operator.clone(),
            at: self.now(),
            leaving: false,
        };
        let next = Next {
            kept,
            packed,
            tests: sound.tests,
        };
        self.put_in_force(next, operator, before).await
    }

    async fn roll_back(
        &self,
        operator: PersonId,
        digest: Digest,
        replaces: Option<Digest>,
    ) -> Result<PushReply, Refusal> {
        let _one_at_a_time = self.pushing().lock().await;
        let shelf = self.policy().shelf();
        let before = self.before().await?;
        replaceable(before.as_ref(), replaces)?;
        let kept = shelf.kept().await.map_err(refused)?;
        let kept = kept.into_iter().find(|kept| kept.digest == digest);
        let kept = kept.ok_or_else(|| {
            Refusal::new("404", "that bundle is not kept; push its folder instead")
        })?;
        let packed = shelf.packed_kept(&kept).await.map_err(refused)?;
        let (sound, packed) = examined(packed, digest, self.limits()).await?;
        let next = Next {
            kept,
            packed,
            tests: sound.tests,
        };
        self.put_in_force(next, operator, before).await
    }

    /// What lint compares a bundle with.
    fn limits(&self) -> LintLimits {
        LintLimits {
            raw_retention: self.raw_retention(),
        }
    }

    /// What is published now. It is put on record first: once it is replaced, nobody could.
    async fn before(&self) -> Result<Option<(u64, Published)>, Refusal> {
        // Whatever is wrong with it is about to be replaced.
        drop(self.policy().refresh().await);
        let shelf = self.policy().shelf();
        if let Err(error) = shelf.clear().await {
            tracing::warn!(%error, "bundles that are no longer kept are not removed yet");
        }
        self.record().await
    }

    /// Puts the publication in force on record and gives it. Where another checker does so
    /// at the same time, looking again finds it.
    async fn record(&self) -> Result<Option<(u64, Published)>, Refusal> {
        let first = self.announce().await;
        let told = match first {
            Ok(told) => Ok(told),
            Err(_) => self.announce().await,
        };
        told.map_err(|failure| {
            tracing::warn!(%failure, "a publication is not on record yet");
            Refusal::unavailable("what is in force cannot be put on record now; try again")
        })
    }

    /// Writes a bundle down and puts it in force, if it is not.
    async fn put_in_force(
        &self,
        next: Next,
        operator: PersonId,
        before: Option<(u64, Published)>,
    ) -> Result<PushReply, Refusal> {
        let digest = next.kept.digest;
        let previous = before.as_ref().map(|(_, published)| published.digest);
        let unchanged = previous == Some(digest);
        if !unchanged {
            let revision = before.map_or(0, |(revision, _)| revision);
            self.replace(&next, operator, previous, revision).await?;
        }
        let in_force = self.policy().refresh().await;
        let in_force = in_force
            .ok()
            .and_then(|by| by.bundle().ok().map(Bundle::digest));
        if in_force != Some(digest) {
            return Err(Refusal::new(
                "503",
                "the bundle is published, but this checker could not put it in force; \
                 `countersign doctor` and the health of the services say more",
            ));
        }
        // It is in force; if the record must wait, `announce::follow` sees to it.
        self.record().await.ok();
        Ok(PushReply::Published {
            digest,
            previous,
            tests: next.tests,
            unchanged,
        })
    }

    /// The one moment in which something changes, with what comes before and after it.
    async fn replace(
        &self,
        next: &Next,
        operator: PersonId,
        previous: Option<Digest>,
        revision: u64,
    ) -> Result<(), Refusal> {
        let shelf = self.policy().shelf();
        // Also of a kept bundle: its parts may be on their way out.
        let kept = shelf.keep(&next.kept, &next.packed).await;
        kept.map_err(refused)?;
        let published = Published {
            digest: next.kept.digest,
            parts: next.kept.parts,
            bytes: next.kept.bytes,
            previous,
            operator,
            at: self.now(),
        };
        shelf.publish(&published, revision).await.map_err(refused)?;
        tracing::info!(policy = %published.digest, operator = %published.operator, "policy bundle published");
        if let Err(error) = shelf.clear().await {
            tracing::warn!(%error, "bundles that are no longer kept are not removed yet");
        }
        Ok(())
    }

    async fn read_part(&self, digest: Option<Digest>, number: usize) -> Result<PushReply, Refusal> {
        let shelf = self.policy().shelf();
        let kept = shelf.kept().await.map_err(refused)?;
        let wanted = match digest {
            Some(digest) => Some(digest),
            None => {
                let current = shelf.current().await.map_err(refused)?;
                current.map(|(_, published)| published.digest)
            }
        };
        let wanted = wanted.ok_or_else(|| {
            Refusal::new(
                "404",
                "no bundle was published yet; the configured folder is in force",
            )
        })?;
        let kept = kept.into_iter().find(|kept| kept.digest == wanted);
        let missing = || Refusal::new("404", "that bundle is not kept");
        let kept = kept.ok_or_else(missing)?;
        let part = shelf.part(wanted, number).await.map_err(refused)?;
        Ok(PushReply::Read {
            digest: wanted,
            parts: kept.parts,
            data: STANDARD.encode(part.ok_or_else(missing)?),
        })
    }
}

/// Refuses where another bundle is in force than the operator means to replace.
fn replaceable(before: Option<&(u64, Published)>, replaces: Option<Digest>) -> Result<(), Refusal> {
    let current = before.map(|(_, published)| published.digest);
    if replaces.is_none() || replaces == current {
        return Ok(());
    }
    let message = "another bundle is in force than the one to be replaced; look at the \
                   difference and send it again";
    Err(Refusal::new("409", message))
}

fn read(body: &[u8]) -> Result<PushRequest, Refusal> {
    if body.len() > REQUEST_BYTES_MAX {
        return Err(Refusal::new(
            "413",
            format!("a request has at most {REQUEST_BYTES_MAX} bytes"),
        ));
    }
    let forms = r#"ask {"op":"status"}, part, publish, rollback or read"#;
    json::check_strict(body).map_err(|_| Refusal::bad(forms))?;
    serde_json::from_slice(body).map_err(|_| Refusal::bad(forms))
}

/// Every check of a bundle, away from the threads that must not block: its form, its
/// digest, lint, its tests. All that is wrong is told at once.
async fn examined(
    packed: Vec<u8>,
    digest: Digest,
    limits: LintLimits,
) -> Result<(Sound, Vec<u8>), Refusal> {
    let done = tokio::task::spawn_blocking(move || {
        let sound = examine(&packed, digest, &limits);
        sound.map(|sound| (sound, packed))
    });
    done.await
        .unwrap_or_else(|_| Err(Refusal::new("500", "the bundle could not be checked")))
}

fn examine(packed: &[u8], digest: Digest, limits: &LintLimits) -> Result<Sound, Refusal> {
    let files = unpack(packed).map_err(|error| Refusal::bad(error.to_string()))?;
    let bundle = Bundle::from_files(&files)
        .map_err(|errors| broken("the bundle is broken", errors.problems().to_vec()))?;
    if bundle.digest() != digest {
        return Err(Refusal::bad(
            "what was uploaded is not the bundle of that digest",
        ));
    }
    let refused: Vec<Problem> = lint(&bundle, limits)
        .into_iter()
        .filter_map(objection)
        .collect();
    if !refused.is_empty() {
        return Err(broken("lint refuses the bundle", refused));
    }
    let results = bundle
        .run_tests()
        .map_err(|error| Refusal::new("500", error.to_string()))?;
    let failures: Vec<Problem> = results
        .iter()
        .filter_map(|result| result.problem())
        .collect();
    if !failures.is_empty() {
        return Err(broken("tests of the bundle fail", failures));
    }
    Ok(Sound {
        tests: results.len(),
    })
}

/// What lint refuses; what it only points out stops nobody.
fn objection(finding: LintFinding) -> Option<Problem> {
    match finding.level {
        LintLevel::Refused => Some(Problem {
            file: finding.file,
            line: finding.line,
            what: finding.what,
            mend: finding.mend,
        }),
        LintLevel::PointedOut => None,
    }
}

/// A refusal that lists what is wrong with the bundle.
fn broken(what: &str, mut problems: Vec<Problem>) -> Refusal {
    let more = problems.len().saturating_sub(PROBLEMS_MAX);
    let message = format!("{what}: {} problem(s); nothing was changed", problems.len());
    problems.truncate(PROBLEMS_MAX);
    let refused = Refused {
        message: message.clone(),
        problems,
        more,
    };
    Refusal {
        status: "422",
        body: Bytes::from(serde_json::to_vec(&refused).unwrap_or_default()),
        message,
    }
}

fn refused(error: ShelfError) -> Refusal {
    match error {
        ShelfError::Conflict => Refusal::new(
            "409",
            "somebody else published at the same time; look at the difference and push again",
        ),
        ShelfError::Incomplete => {
            Refusal::bad("a part of the bundle is missing or damaged; push it again as a whole")
        }
        ShelfError::Broken => Refusal::bad("what is kept is not a sound bundle; push it again"),
        error @ (ShelfError::Bus(_) | ShelfError::NotStored(_) | ShelfError::Unreadable) => {
            tracing::warn!(%error, "the bucket of policy bundles cannot be used");
            Refusal::unavailable(
                "the bucket of policy bundles cannot be used now; nothing was changed",
            )
        }
        error => {
            tracing::warn!(%error, "the bucket of policy bundles cannot be used");
            Refusal::unavailable("the bundle cannot be stored now; nothing was changed")
        }
    }
}
