//! The demo: a small company, three agents, its people and its tools, on the real path.
//!
//! Nothing here stands in for a part of Countersign. The files are made by the code of
//! `init`, the services are those of `up`, the agents and the person speak NATS as any
//! outsider would, and the tools are a real HTTP server and a real NATS worker that refuse
//! whoever has no permit and no claim token. Every step is checked; the first that does
//! not go as told ends the demo.

mod cast;
mod checks;
mod company;
mod desk;
mod plot;
mod prepare;
mod scenes;
mod story;

use std::path::PathBuf;

use crate::stack::Stack;

pub(crate) use story::Story;

/// How to run the demo.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// Where to make the deployment; a temporary directory where none is named.
    pub(crate) dir: Option<PathBuf>,
    /// Leave it running, and its files in place.
    pub(crate) keep: bool,
}

/// A step did not go as told.
#[derive(Debug, thiserror::Error)]
#[error("the step “{step}” failed: {reason:#}")]
pub(crate) struct Failed {
    /// Which.
    step: String,
    /// Why.
    reason: anyhow::Error,
}

/// A demo that went as told and still runs.
pub(crate) struct Running {
    /// Everything that runs.
    pub(crate) stack: Stack,
    /// The company's tools.
    pub(crate) company: company::Company,
    /// The files.
    pub(crate) place: prepare::Place,
}

/// Plays the demo to its end.
///
/// # Errors
/// The first step that did not go as told.
pub(crate) async fn play(options: &Options, story: &Story) -> Result<Running, Failed> {
    let place = story
        .step("make a deployment", prepare::place(options.dir.as_deref()))
        .await?;
    let played = plot::play(place, story).await?;
    checks::closing_words(&played, options.keep, story);
    Ok(played)
}
