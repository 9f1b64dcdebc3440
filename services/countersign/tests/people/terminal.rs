//! The command line on a terminal: what is paged, what is asked, what is drawn anew, and how
//! Ctrl-C ends it.

use std::process::Stdio;

use countersign_runtime::identity::Service;
use countersign_schemas::events::{ApprovalState, VoteChoice};
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::checks::{ID, count, show, shown, votes};
use super::fixture::{Deployment, PATIENCE};

/// Runs a command on a terminal of its own.
const DRIVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/people/terminal.py");
const CTRL_C: &str = "\u{3}";
/// The signal that Ctrl-C sends.
const INTERRUPT: i32 = 2;
/// Clears the screen.
const CLEAR: &str = "\u{1b}[2J";

/// How the program ended on its terminal.
#[derive(Debug, Deserialize)]
struct End {
    code: Option<i32>,
    signal: Option<i32>,
    restored: bool,
}

/// The program on a terminal of its own.
struct Terminal {
    child: Child,
    keys: ChildStdin,
    screen: ChildStdout,
    seen: String,
    /// Everything that was shown.
    all: String,
}

impl Terminal {
    fn start(deployment: &Deployment, args: &[&str], pager: &str) -> Self {
        let mut child = Command::new("python3")
            .args([DRIVER, env!("CARGO_BIN_EXE_countersign")])
            .args(args)
            .args(["--as", "lee", "--dir"])
            .arg(deployment.dir.path())
            .args(["--set", &format!("nats.url={}", deployment.server.url())])
            .env("TERM", "xterm")
            .env("PAGER", pager)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self {
            keys: child.stdin.take().unwrap(),
            screen: child.stdout.take().unwrap(),
            child,
            seen: String::new(),
            all: String::new(),
        }
    }

    /// Reads some more; `false` once nothing is shown any more.
    async fn read(&mut self) -> bool {
        let mut bytes = [0; 4096];
        let count = self.screen.read(&mut bytes).await.unwrap();
        let text = String::from_utf8_lossy(&bytes[..count]);
        self.seen.push_str(&text);
        self.all.push_str(&text);
        count > 0
    }

    /// Waits until `text` is shown, behind what was waited for before.
    async fn shows(&mut self, text: &str) {
        let reading = async {
            loop {
                if let Some(place) = self.seen.find(text) {
                    self.seen.drain(..place + text.len());
                    return;
                }
                assert!(self.read().await, "it ended before `{text}`: {}", self.all);
            }
        };
        let seen = tokio::time::timeout(PATIENCE, reading).await;
        assert!(seen.is_ok(), "`{text}` is not shown: {}", self.all);
    }

    async fn types(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).await.unwrap();
        self.keys.flush().await.unwrap();
    }

    /// Its end, with the terminal as it was found: echo, lines, the cursor and the screen.
    async fn ends(mut self) -> (End, String) {
        let reading = async { while self.read().await {} };
        tokio::time::timeout(PATIENCE, reading).await.unwrap();
        let told = self.child.wait_with_output().await.unwrap();
        let told = String::from_utf8_lossy(&told.stderr).into_owned();
        let end: End = serde_json::from_str(told.trim()).expect(&told);
        assert!(end.restored, "the terminal is not as it was: {}", self.all);
        for left in ["\u{1b}[?25l", "\u{1b}[?1049h"] {
            assert!(!self.all.contains(left), "{:?}", self.all);
        }
        (end, self.all)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_approval_is_paged_and_ctrl_c_is_the_pagers() {
    let deployment = Deployment::start().await;
    let coordinator = deployment.service(Service::ApprovalCoordinator).await;
    let answering = show(&coordinator, shown()).await;
    let words = ["approvals", "show", ID];
    let mut terminal = Terminal::start(&deployment, &words, "sed s/^/paged:/");
    terminal.shows("paged:approval:").await;
    let (ended, rest) = terminal.ends().await;
    assert_eq!(ended.code, Some(0), "{rest}");

    // As `less` does: it hears Ctrl-C, and goes on until it is left.
    let script = "trap 'echo still reading' INT\n\
                  cat\n\
                  until read key </dev/tty; do :; done\n\
                  echo left with $key\n";
    let pager = deployment.dir.path().join("pager.sh");
    std::fs::write(&pager, script).unwrap();
    let pager = format!("sh {}", pager.display());
    let mut terminal = Terminal::start(&deployment, &words, &pager);
    terminal.shows("digest: ").await;
    terminal.types(CTRL_C).await;
    terminal.shows("still reading").await;
    terminal.types("q\n").await;
    terminal.shows("left with q").await;
    let (ended, rest) = terminal.ends().await;
    assert_eq!(ended.code, Some(0), "it waits for its pager: {rest}");
    answering.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vote_is_asked_for_once_everything_is_shown() {
    let deployment = Deployment::start().await;
    let coordinator = deployment.service(Service::ApprovalCoordinator).await;
    let setup = deployment.service(Service::Setup).await;
    let answering = show(&coordinator, shown()).await;
    let words = ["approvals", "approve", ID];
    for (keys, code, signal) in [
        ("n\n", Some(2), None),
        ("\n", Some(2), None),
        (CTRL_C, None, Some(INTERRUPT)),
    ] {
        let mut terminal = Terminal::start(&deployment, &words, "false");
        terminal.shows("exact input:").await;
        terminal.shows("approve 1 approval(s)? [y/N]").await;
        terminal.types(keys).await;
        let (ended, rest) = terminal.ends().await;
        assert_eq!((ended.code, ended.signal), (code, signal), "{rest}");
        assert_eq!(votes(&setup).await, 0);
    }
    let mut terminal = Terminal::start(&deployment, &words, "false");
    terminal.shows("[y/N]").await;
    let answer = count(&coordinator, true, ApprovalState::Approved);
    terminal.types("y\n").await;
    let vote = answer.await;
    assert_eq!(vote.vote, VoteChoice::Approve);
    terminal.shows("counted").await;
    let (ended, rest) = terminal.ends().await;
    assert_eq!(ended.code, Some(0), "{rest}");
    answering.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_is_drawn_anew_and_ctrl_c_leaves_the_terminal_as_it_was() {
    let deployment = Deployment::start().await;
    let coordinator = deployment.service(Service::ApprovalCoordinator).await;
    let answering = show(&coordinator, shown()).await;
    let mut terminal = Terminal::start(&deployment, &["approvals", "watch"], "false");
    terminal.shows(CLEAR).await;
    terminal.shows("Ctrl-C ends").await;
    answering.abort();
    assert!(answering.await.unwrap_err().is_cancelled());
    let mut changed = shown();
    changed.listed.asked.items[0].summary = "Another thing".to_owned();
    let answering = show(&coordinator, changed).await;
    terminal.shows(CLEAR).await;
    terminal.shows("Another thing").await;
    terminal.types(CTRL_C).await;
    let (ended, rest) = terminal.ends().await;
    assert_eq!(ended.signal, Some(INTERRUPT), "{rest}");
    answering.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_of_a_hundred_has_a_table_is_paged_and_can_be_decided() {
    let deployment = Deployment::start().await;
    let coordinator = deployment.service(Service::ApprovalCoordinator).await;
    let mut bundle = shown();
    let mut view = bundle.view.take().unwrap();
    let (asked, item) = (&mut bundle.listed.asked, view.items[0].clone());
    let listed = asked.items[0].clone();
    view.items = (0..100).map(|_| item.clone()).collect();
    asked.items = (0..100).map(|_| listed.clone()).collect();
    bundle.digest = view.digest().unwrap();
    bundle.view = Some(view);
    let answering = show(&coordinator, bundle).await;
    let words = ["approvals", "approve", ID];
    let mut terminal = Terminal::start(&deployment, &words, "sed s/^/paged:/");
    terminal.shows("NEEDS").await;
    terminal.shows("paged:approval:").await;
    terminal.shows("100 of 100").await;
    terminal.shows("[y/N]").await;
    terminal.types("n\n").await;
    let (ended, rest) = terminal.ends().await;
    assert_eq!(ended.code, Some(2), "{rest}");
    assert!(rest.lines().count() > 800, "{}", rest.lines().count());

    // Nobody is asked about what no pager shows.
    let terminal = Terminal::start(&deployment, &words, "/nonexistent/pager");
    let (ended, rest) = terminal.ends().await;
    assert_eq!(ended.code, Some(20), "{rest}");
    assert!(
        rest.contains("no pager") && !rest.contains("[y/N]"),
        "{rest}"
    );
    answering.abort();
}
