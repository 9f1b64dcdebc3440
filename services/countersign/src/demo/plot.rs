//! What happens, in order.

use countersign_runtime::identity::Role;
use countersign_runtime::nats_server::Progress;

use super::cast::{Agent, Approver};
use super::checks::{self, Planted};
use super::company::{self, CRM, Company};
use super::prepare::Place;
use super::scenes::{around, drafting, forbidden, letter, reading, secret};
use super::{Failed, Running, Story};
use crate::stack::{Stack, StackOptions};

/// Size of each stream: room for a day of trying out, on a disk that is nearly full.
const STREAM_BYTES_MAX: i64 = 256 * 1024 * 1024;

/// Everybody on the stage.
pub(super) struct Cast {
    pub(super) support: Agent,
    pub(super) billing: Agent,
    pub(super) ops: Agent,
    pub(super) lee: Approver,
    pub(super) mara: Approver,
}

/// Plays every scene.
pub(super) async fn play(place: Place, story: &Story) -> Result<Running, Failed> {
    story.part("A small company lets three agents use its tools.");
    story.line(
        "init",
        &format!(
            "{} files in {}: settings, keys, one credential each, the sample policy",
            place.files,
            place.dir().display()
        ),
    );
    let listening = story.step("open the CRM's port", company::listen()).await?;
    let stack = story
        .long_step(
            "start nats-server and the services",
            start(&place, &listening),
        )
        .await?;
    told_of_start(&stack, story);
    let running = Running {
        company: story
            .step("open the company's tools", open(&place, &stack, listening))
            .await?,
        stack,
        place,
    };
    story.line(
        "company",
        &format!(
            "a CRM at {} and an office worker on NATS; both refuse whoever has no permit and \
             no fresh claim token",
            running.company.crm_url()
        ),
    );
    let mut cast = story
        .step("connect agents and people", gather(&running))
        .await?;
    let planted = scenes(&mut cast, &running, story).await?;
    checks::archive(&running, &planted, story).await?;
    Ok(running)
}

async fn start(place: &Place, listening: &company::Listening) -> anyhow::Result<Stack> {
    let settings = [
        format!("tool_executor.http={{ {CRM} = \"{}\" }}", listening.url()),
        "audit_archiver.batch_ms=200".to_owned(),
    ];
    let options = StackOptions {
        file: &place.deployment.config(),
        settings: &settings,
        progress: Progress::Stderr,
        stream_bytes_max: STREAM_BYTES_MAX,
    };
    Ok(Stack::start(options).await?)
}

fn told_of_start(stack: &Stack, story: &Story) {
    story.line(
        "up",
        &format!("nats-server {} at {}", stack.server_version(), stack.url()),
    );
    story.line(
        "up",
        &format!(
            "{} services, each with a connection and a key of its own",
            stack.services()
        ),
    );
}

async fn open(
    place: &Place,
    stack: &Stack,
    listening: company::Listening,
) -> anyhow::Result<Company> {
    Company::open(stack.config(), listening, place).await
}

async fn gather(running: &Running) -> anyhow::Result<Cast> {
    let url = running.stack.url();
    let agent = async |name: &str| {
        let seed = running.place.seed(Role::Agent, name)?;
        Agent::connect(&url, name, seed).await
    };
    let person = async |name: &str| {
        let seed = running.place.seed(Role::Approver, name)?;
        Approver::connect(&url, name, seed).await
    };
    Ok(Cast {
        support: agent("support").await?,
        billing: agent("billing").await?,
        ops: agent("ops").await?,
        lee: person("lee").await?,
        mara: person("mara").await?,
    })
}

async fn scenes(cast: &mut Cast, running: &Running, story: &Story) -> Result<Planted, Failed> {
    story.part("1  Reading and drafting: policy allows it, nobody is asked.");
    story
        .step("a read is allowed at once", reading(cast, running, story))
        .await?;
    story
        .step("a draft is allowed at once", drafting(cast, running, story))
        .await?;
    story.part("2  A letter to an unknown domain: a person decides.");
    story
        .step("a person approves a letter", letter(cast, running, story))
        .await?;
    story.part("3  A field outside of the agent's tier: blocked, in words.");
    story
        .step(
            "a forbidden update is blocked",
            forbidden(cast, running, story),
        )
        .await?;
    story.part("4  A secret in an input: the tool gets it, nobody else does.");
    let planted = story
        .step("a secret reaches its tool", secret(cast, running, story))
        .await?;
    story.part("5  Around the path: without proofs the tools do nothing.");
    story
        .step(
            "the tools refuse calls without proofs",
            around(running, story),
        )
        .await?;
    Ok(planted)
}
