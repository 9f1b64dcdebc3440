//! Every service as an operator starts it: what it says when it cannot start, and how it
//! ends.

use std::path::Path;
use std::process::{Command, Output};

use countersign_tests::process::{QUERY, SERVICES, program};

fn start(service: &str, config: &Path) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = Command::new(program(&format!("countersign-{service}")))
        .arg("--config")
        .arg(config)
        .output()
        .unwrap();
    (status.code(), String::from_utf8_lossy(&stderr).into_owned())
}

#[test]
fn bad_configuration_ends_every_service_with_64_and_names_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("countersign.toml");
    std::fs::write(&config, "[nats]\nurll = \"nats://127.0.0.1:4222\"\n").unwrap();
    let missing = dir.path().join("nowhere.toml");
    for service in SERVICES.iter().chain([&QUERY]) {
        let (code, said) = start(service, &config);
        assert_eq!(code, Some(64), "{service}: {said}");
        assert!(
            said.contains("urll") && said.contains("nats.url"),
            "{service}: {said}"
        );
        let (code, said) = start(service, &missing);
        assert_eq!(code, Some(64), "{service}: {said}");
        assert!(said.contains("nowhere.toml"), "{service}: {said}");
    }
}
