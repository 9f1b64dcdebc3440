//! The demo and `up` as a reader meets them: the program, a real server, real services.

#[cfg(test)]
mod checks {
    use std::path::Path;
    use std::process::{Output, Stdio};
    use std::sync::atomic::{AtomicU16, Ordering};
    use std::time::Duration;

    use serde_json::Value;
    use tokio::io::{AsyncBufReadExt as _, BufReader};
    use tokio::process::{Child, Command};

    /// The demo takes seconds; a loaded machine may take its time.
    const PATIENCE: Duration = Duration::from_secs(120);

    fn countersign(args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
        command
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    async fn ended(mut command: Command) -> Output {
        let output = command.output();
        tokio::time::timeout(PATIENCE, output)
            .await
            .unwrap()
            .unwrap()
    }

    /// Reads lines until one holds `text`; all of them.
    async fn told(child: &mut Child, text: &str) -> Vec<String> {
        let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
        let mut seen = Vec::new();
        let reading = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                seen.push(line);
                if seen.last().unwrap().contains(text) {
                    return;
                }
            }
            panic!("it ended before it said `{text}`: {seen:#?}");
        };
        tokio::time::timeout(PATIENCE, reading).await.unwrap();
        seen
    }

    async fn stopped(mut child: Child) -> Option<i32> {
        let id = i32::try_from(child.id().unwrap()).unwrap();
        let id = rustix::process::Pid::from_raw(id).unwrap();
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        let ended = tokio::time::timeout(PATIENCE, child.wait()).await;
        ended.unwrap().unwrap().code()
    }

    fn path(dir: &Path) -> &str {
        dir.to_str().unwrap()
    }

    #[tokio::test]
    async fn every_step_goes_as_told_and_the_archive_answers_afterwards() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("demo");
        let output = ended(countersign(&["demo", "--dir", path(&dir)])).await;
        let told = String::from_utf8(output.stdout).unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{told}\n{errors}");
        assert!(errors.is_empty(), "{errors}");
        assert!(!told.contains('\u{1b}'), "colour in a plain log");
        for expected in [
            "approved: policy allows it (tier.reader.crm)",
            "approved: lee approved it",
            "blocked (policy_denied)",
            "support was stopped from using crm.update_contact",
            "403 permit_missing",
            "403 claim_replayed",
            "none found",
            "Who asked?",
            "| mail.send ",
            "credit-limit-is-finance",
            "What changed?",
            "portal_pin",
            "Every step went as told",
        ] {
            assert!(
                told.contains(expected),
                "`{expected}` is missing in\n{told}"
            );
        }
        let archive = dir.join("archive");
        let sql = "SELECT count(*) AS n FROM actions";
        let args = [
            "audit",
            "query",
            sql,
            "--archive",
            path(&archive),
            "--format",
            "json",
        ];
        let output = ended(countersign(&args)).await;
        assert_eq!(
            String::from_utf8(output.stdout).unwrap().trim(),
            r#"[{"n":5}]"#
        );
        let output = ended(countersign(&["audit", "verify", "--dir", path(&dir)])).await;
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        the_record_teaches(&archive).await;
    }

    /// The bundle that judged the demo changes none of its verdicts, and whatever the archive
    /// cannot show is counted.
    async fn the_record_teaches(archive: &Path) {
        let policy = concat!(env!("CARGO_MANIFEST_DIR"), "/policy");
        let learn = async |args: &[&str]| -> serde_json::Value {
            let all = [&["policy"], args, &["--archive", path(archive), "--json"]].concat();
            let output = ended(countersign(&all)).await;
            assert_eq!(output.status.code(), Some(0), "{output:?}");
            serde_json::from_slice(&output.stdout).unwrap()
        };
        let found = learn(&["replay", "--since", "1d", "--with", policy]).await;
        assert_eq!(found["unreadable"], 0, "{found}");
        let replay = &found["replay"];
        assert_eq!(replay["rows"], 5, "{found}");
        assert_eq!(replay["same"], replay["judged"], "{found}");
        let not_judged = replay["not_judged"].as_object().unwrap();
        let not_judged: u64 = not_judged.values().filter_map(|n| n.as_u64()).sum();
        assert_eq!(replay["judged"].as_u64().unwrap() + not_judged, 5);
        assert!(not_judged > 0 && not_judged < 5, "{found}");

        let found = learn(&[
            "suggest",
            "--since",
            "1d",
            "--dir",
            policy,
            "--at-least",
            "1",
        ])
        .await;
        assert_eq!(found["verdicts"], 5, "{found}");
        let granted = found["always_granted"].as_array().unwrap();
        assert!(granted.is_empty(), "a guardrail asked, no rule: {found}");
        let unused = found["unused"].to_string();
        assert!(!unused.contains("tier.reader.crm\""), "{found}");
    }

    #[tokio::test]
    async fn a_demo_that_cannot_be_played_says_which_step_failed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("mine"), "x").unwrap();
        let output = ended(countersign(&["demo", "--dir", path(dir.path())])).await;
        assert_eq!(output.status.code(), Some(1));
        let told = String::from_utf8(output.stdout).unwrap();
        assert!(
            told.contains("the step “make a deployment” failed"),
            "{told}"
        );
    }

    #[tokio::test]
    async fn a_kept_demo_answers_until_it_is_stopped() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("demo");
        let mut demo = countersign(&["demo", "--keep", "--dir", path(&dir)])
            .spawn()
            .unwrap();
        told(&mut demo, "It keeps running until Ctrl-C").await;
        let input = r#"{"query":"returns"}"#;
        let output = ended(countersign(&[
            "request",
            "--agent",
            "ops",
            "--tool",
            "docs.search",
            "--requester",
            "dana",
            "--input",
            input,
            "--wait",
            "30",
            "--json",
            "--dir",
            path(&dir),
        ]))
        .await;
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert!(said.contains("tool.completed"), "{said}");
        assert_eq!(stopped(demo).await, Some(0));
    }

    /// A port that is free, and that the system gives to nobody who asks for any: it gives
    /// those from 32,768 on. No other test of this process is given it again, for it is free
    /// for a moment before the server has it.
    fn free_port() -> std::net::TcpListener {
        static GIVEN: AtomicU16 = AtomicU16::new(0);
        // Tests that run at once begin at different places.
        let begin = 20_000 + u16::try_from(std::process::id() % 12_000).unwrap();
        std::iter::repeat_with(|| begin + GIVEN.fetch_add(1, Ordering::Relaxed))
            .find_map(|port| std::net::TcpListener::bind(("127.0.0.1", port)).ok())
            .unwrap()
    }

    /// A new deployment in `dir`, running.
    async fn up(dir: &Path) -> Child {
        let free = free_port();
        let listen = free.local_addr().unwrap().to_string();
        let init = ["init", path(dir), "--listen", &listen, "--operator", "kim"];
        let output = ended(countersign(&init)).await;
        assert_eq!(output.status.code(), Some(0));
        drop(free);
        let mut up = countersign(&["up", "--dir", path(dir)])
            .env("COUNTERSIGN_TELEMETRY__LEVEL", "error")
            .spawn()
            .unwrap();
        let said = told(&mut up, "Ctrl-C ends them").await.join("\n");
        assert!(said.contains(&listen), "{said}");
        assert!(said.contains("5 services"), "{said}");
        up
    }

    async fn status(dir: &Path, who: &str) -> (Option<i32>, Value) {
        let words = ["status", "--json", "--as", who, "--dir", path(dir)];
        let output = ended(countersign(&words)).await;
        let said = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code(), said)
    }

    async fn every_service_says_how_it_is(dir: &Path) {
        let mut pause = tokio::time::interval(Duration::from_millis(200));
        let ready = async {
            loop {
                pause.tick().await;
                let (code, said) = status(dir, "kim").await;
                if code == Some(0) && said["streams"][3]["full_percent"] == 0 {
                    return said;
                }
                assert!(matches!(code, Some(0 | 69)), "{said}");
            }
        };
        let said = tokio::time::timeout(PATIENCE, ready).await.unwrap();
        let services = said["services"].as_array().unwrap();
        let ready = services.iter().all(|one| one["state"] == "ready");
        assert!(ready && services.len() == 5, "{said}");
        assert!(services.iter().all(|one| one["since"].is_string()));
        assert_eq!(services[0]["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(said["streams"][0]["stream"], "CS_INTENTS");
        assert!(said["streams"][0]["behind"].is_u64(), "{said}");
        assert_eq!(said["freezes"], serde_json::json!([]));
        assert_eq!(said["pending"], 0);
    }

    #[tokio::test]
    async fn up_runs_a_deployment_until_it_is_told_to_stop() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("acme");
        let up = up(&dir).await;
        let output = ended(countersign(&["policy", "push", "--dir", path(&dir)])).await;
        let pushed = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{pushed}");
        assert!(
            pushed.contains("in force") && pushed.contains("7 passed"),
            "{pushed}"
        );
        let input = r#"{"contact_id":"C-1042"}"#;
        let output = ended(countersign(&[
            "request",
            "--agent",
            "billing",
            "--tool",
            "nothing.known",
            "--requester",
            "dana",
            "--input",
            input,
            "--wait",
            "30",
            "--dir",
            path(&dir),
        ]))
        .await;
        assert_eq!(output.status.code(), Some(20), "an unknown tool is blocked");
        every_service_says_how_it_is(&dir).await;
        assert_eq!(stopped(up).await, Some(0));
    }

    /// The process id of a deployment's server, which it writes into a name.
    fn server_of(dir: &Path) -> i32 {
        let mut dirs = vec![dir.join("nats")];
        while let Some(dir) = dirs.pop() {
            for entry in std::fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                let id = name
                    .strip_prefix("nats-server_")
                    .and_then(|rest| rest.strip_suffix(".ports"));
                match id {
                    Some(id) => return id.parse().unwrap(),
                    None if path.is_dir() => dirs.push(path),
                    None => {}
                }
            }
        }
        panic!("no server has said where it listens");
    }

    #[tokio::test]
    async fn up_ends_and_says_why_when_its_server_dies() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("acme");
        let up = up(&dir).await;
        let id = rustix::process::Pid::from_raw(server_of(&dir)).unwrap();
        rustix::process::kill_process(id, rustix::process::Signal::KILL).unwrap();
        let ended = tokio::time::timeout(PATIENCE, up.wait_with_output()).await;
        let ended = ended.unwrap().unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(69), "{said}");
        assert!(said.contains("nats-server ended by itself"), "{said}");
        assert!(said.contains("nats-server.log"), "{said}");
    }
}
